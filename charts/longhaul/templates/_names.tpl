{{/* Names, labels and the few values that several templates derive in the same way. */}}

{{- define "longhaul.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* At most 55 characters: the longest suffix of a Service, -metrics, must still fit into its name. */}}
{{- define "longhaul.fullname" -}}
{{- $name := include "longhaul.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 55 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 55 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 55 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* For objects that have no namespace, or not the release's: unlike for any two releases. Names have no colon. */}}
{{- define "longhaul.clustername" -}}
{{- printf "longhaul:%s:%s" .Release.Namespace (include "longhaul.fullname" .) }}
{{- end }}

{{- define "longhaul.selector" -}}
app.kubernetes.io/name: {{ include "longhaul.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller
{{- end }}

{{- define "longhaul.labels" -}}
{{- with .Values.commonLabels }}
{{- toYaml . }}
{{ end -}}
{{ include "longhaul.selector" . }}
app.kubernetes.io/part-of: longhaul
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "longhaul.serviceaccount" -}}
{{- default (ternary (include "longhaul.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name }}
{{- end }}

{{- define "longhaul.image" -}}
{{- with .Values.controller.image }}
{{- if .digest }}
{{- printf "%s@%s" .repository .digest }}
{{- else }}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "longhaul.lease" -}}
{{- default (include "longhaul.fullname" .) .Values.controller.electionID }}
{{- end }}

{{- define "longhaul.affinity" -}}
{{- include "longhaul.fullname" . }}-affinity
{{- end }}

{{/* The namespaces that are read, separated by commas; empty: all. */}}
{{- define "longhaul.namespaces" -}}
{{- with .Values.controller.scope }}
{{- if .enabled }}
{{- if and .namespace .namespaces }}
{{- fail "controller.scope: set namespace or namespaces, not both" }}
{{- end }}
{{- join "," (default (list (default $.Release.Namespace .namespace)) .namespaces) }}
{{- end }}
{{- end }}
{{- end }}

{{/* NAMESPACE/NAME of the Service whose addresses are shown in status; empty: none. */}}
{{- define "longhaul.publishedservice" -}}
{{- with .Values.controller }}
{{- if and .publishAddresses .publishNodeAddresses }}
{{- fail "controller: set publishAddresses or publishNodeAddresses, not both" }}
{{- end }}
{{- if not (or .publishAddresses .publishNodeAddresses (not .publishService.enabled)) }}
{{- if .publishService.pathOverride }}
{{- .publishService.pathOverride }}
{{- else if .service.enabled }}
{{- printf "%s/%s" $.Release.Namespace (include "longhaul.fullname" $) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Two pods cannot listen at one port of one node. */}}
{{- define "longhaul.onnode" -}}
{{- if or .Values.controller.hostNetwork .Values.controller.hostPort.enabled }}true{{ end }}
{{- end }}

{{/* Seconds from being told to leave until the kubelet ends a pod. */}}
{{- define "longhaul.graceperiod" -}}
{{- add .Values.proxy.shutdownDelaySeconds .Values.proxy.drainPeriodSeconds 15 }}
{{- end }}

{{/* The port that clients use, of the context (list root "http" or "https"). */}}
{{- define "longhaul.publicport" -}}
{{- $values := (index . 0).Values }}
{{- $scheme := index . 1 }}
{{- $said := index $values.proxy.publicPort $scheme | int }}
{{- if $said }}
{{- $said }}
{{- else if $values.controller.hostNetwork }}
{{- index $values.controller.containerPort $scheme }}
{{- else if $values.controller.hostPort.enabled }}
{{- index $values.controller.hostPort.ports $scheme }}
{{- else }}
{{- index $values.controller.service.ports $scheme }}
{{- end }}
{{- end }}

{{/* Flags of a map, one list item each. Values are text, numbers or booleans; large numbers keep their digits. */}}
{{- define "longhaul.flags" -}}
{{- range $name, $value := . }}
{{- if eq (toString $value) "" }}
- {{ printf "--%s" $name | quote }}
{{- else if kindIs "float64" $value }}
- {{ printf "--%s=%v" $name (ternary (int64 $value) $value (eq (float64 (int64 $value)) $value)) | quote }}
{{- else }}
- {{ printf "--%s=%v" $name $value | quote }}
{{- end }}
{{- end }}
{{- end }}

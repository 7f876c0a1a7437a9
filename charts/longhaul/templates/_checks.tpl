{{/* What no schema can say: settings that read well one by one and make no sense together. Used by the workload. */}}

{{- define "longhaul.checks" -}}
{{- $c := .Values.controller }}
{{- if and $c.hostNetwork $c.hostPort.enabled }}
{{- fail "controller: set hostNetwork or hostPort.enabled, not both: with hostNetwork the node's ports are those of controller.containerPort" }}
{{- end }}
{{- if and $c.hostNetwork $c.sysctls }}
{{- fail "controller.sysctls: a pod with hostNetwork may not set any; set them on the nodes" }}
{{- end }}
{{- $ports := list }}
{{- range $c.containerPort }}
{{- $ports = append $ports (int .) }}
{{- end }}
{{- if ne (len $ports) (len (uniq $ports)) }}
{{- fail "controller.containerPort: each port must be another one" }}
{{- end }}
{{- if not (or $c.service.enableHttp $c.service.enableHttps) }}
{{- fail "controller.service: enableHttp or enableHttps must be true; for no Service at all set enabled to false" }}
{{- end }}
{{- $namespaces := include "longhaul.namespaces" . }}
{{- if and $namespaces $c.publishNodeAddresses (not .Values.rbac.clusterScoped) }}
{{- fail "controller.publishNodeAddresses: needs rbac.clusterScoped, since nodes have no namespace" }}
{{- end }}
{{- if and $namespaces $c.defaultTLSSecret }}
{{- if not (has (splitList "/" $c.defaultTLSSecret | first) (splitList "," $namespaces)) }}
{{- fail (printf "controller.defaultTLSSecret: %s is not in a namespace of controller.scope" $c.defaultTLSSecret) }}
{{- end }}
{{- end }}
{{- if and $namespaces (not .Values.rbac.clusterScoped) (not $c.ingressClassResource.only) }}
{{- fail "controller.ingressClassResource.only: without rbac.clusterScoped classes cannot be read, so there is only the one that is named" }}
{{- end }}
{{- end }}

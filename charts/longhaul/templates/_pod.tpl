{{/* The pod: two containers of one image that meet in one memory-backed folder. */}}

{{- define "longhaul.pod" -}}
{{- $c := .Values.controller -}}
metadata:
  {{- with $c.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  # Only labels that stay: that of the chart's version would roll out, and drain, for nothing.
  labels:
    {{- include "longhaul.selector" . | nindent 4 }}
    {{- range list .Values.commonLabels $c.podLabels }}
    {{- with . }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- end }}
spec:
  serviceAccountName: {{ include "longhaul.serviceaccount" . }}
  # The token is for the controller alone, by the volume `token`: what faces the internet holds no credentials.
  automountServiceAccountToken: false
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  # shutdownDelaySeconds + drainPeriodSeconds + 15 for the last tunnels' closing handshakes.
  terminationGracePeriodSeconds: {{ include "longhaul.graceperiod" . }}
  {{- if $c.hostNetwork }}
  hostNetwork: true
  {{- end }}
  dnsPolicy: {{ default (ternary "ClusterFirstWithHostNet" "ClusterFirst" $c.hostNetwork) $c.dnsPolicy }}
  {{- with $c.dnsConfig }}
  dnsConfig:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $c.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $c.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $c.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $c.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if and (eq $c.kind "Deployment") $c.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- range $c.topologySpreadConstraints }}
    - {{ toYaml . | nindent 6 | trim }}
      {{- if not (hasKey . "labelSelector") }}
      labelSelector:
        matchLabels:
          {{- include "longhaul.selector" $ | nindent 10 }}
      # Each revision is spread by itself; otherwise the pods of a rollout, new and old together, would land askew.
      matchLabelKeys: [pod-template-hash]
      {{- end }}
    {{- end }}
  {{- end }}
  securityContext:
    {{- toYaml $c.podSecurityContext | nindent 4 }}
    {{- with $c.sysctls }}
    sysctls:
      {{- range $name, $value := . }}
      - name: {{ $name }}
        value: {{ $value | quote }}
      {{- end }}
    {{- end }}
  containers:
    {{- include "longhaul.pod.controller" . | nindent 4 }}
    {{- include "longhaul.pod.proxy" . | nindent 4 }}
    {{- with $c.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    # The socket between the two, and the last good routes, private keys and all: memory, never a disk.
    - name: runtime
      emptyDir:
        medium: Memory
        sizeLimit: {{ .Values.proxy.runtimeVolumeSize }}
    # What automountServiceAccountToken would mount, but in one container.
    - name: token
      projected:
        sources:
          - serviceAccountToken:
              path: token
              expirationSeconds: 3607
          - configMap:
              name: kube-root-ca.crt
              items:
                - key: ca.crt
                  path: ca.crt
          - downwardAPI:
              items:
                - path: namespace
                  fieldRef:
                    fieldPath: metadata.namespace
    {{- with $c.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{/*
The controller. Its process 1 is a supervisor that restarts its worker and ends only when told to: a pod is Ready only
while all its containers run, so that an object that crashed every controller would otherwise empty the Service. When
the pod is told to end, both stay until the proxy has left their socket: routes and endpoints go on changing for the
handshakes and tunnels that it still serves, and no container that has ended makes the pod unready before its time.
*/}}
{{- define "longhaul.pod.controller" -}}
{{- $c := .Values.controller -}}
- name: controller
  image: {{ include "longhaul.image" . }}
  imagePullPolicy: {{ $c.image.pullPolicy }}
  command: [longhaul-controller]
  args:
    - supervise
    # Not sooner than the kubelet: a worker that was told to stop feeds the proxy until that has left.
    - --stop-within={{ include "longhaul.graceperiod" . }}s
    - --
    - run
    - --source=cluster
    - --socket=/run/longhaul/controller.sock
    - --outstay-proxies
    - --admin=127.0.0.1:{{ $c.containerPort.admin }}
    - --observe={{ $c.listenAddress }}:{{ $c.containerPort.observe }}
    - --controller-name={{ $c.ingressClassResource.controllerValue }}
    {{- if $c.ingressClassResource.only }}
    - --ingress-class={{ $c.ingressClassResource.name }}
    {{- end }}
    {{- if $c.watchIngressWithoutClass }}
    - --watch-without-class
    {{- end }}
    {{- with $c.alsoClasses }}
    - --also-class={{ join "," . }}
    - --also-class-status={{ $c.alsoClassStatus }}
    {{- end }}
    {{- with include "longhaul.namespaces" . }}
    - --watch-namespaces={{ . }}
    {{- end }}
    - --lease={{ include "longhaul.lease" . }}
    - --peers-service={{ include "longhaul.fullname" . }}-peers
    - --affinity-key-secret={{ include "longhaul.affinity" . }}
    {{- with include "longhaul.publishedservice" . }}
    - --publish-service={{ . }}
    {{- end }}
    {{- with $c.publishAddresses }}
    - --publish-address={{ join "," . }}
    {{- end }}
    {{- if $c.publishNodeAddresses }}
    - --publish-node-addresses
    {{- end }}
    {{- with $c.trustedProxies }}
    - --trusted-proxies={{ join "," . }}
    {{- end }}
    {{- with $c.proxyProtocolFrom }}
    - --proxy-protocol-from={{ join "," . }}
    {{- end }}
    {{- with $c.defaultTLSSecret }}
    - --default-tls-secret={{ . }}
    {{- end }}
    - --nginx-annotations={{ $c.nginxAnnotations }}
    - --auth-urls={{ $c.authURLs }}
    - --log-format={{ .Values.logging.format }}
    - --log-level={{ .Values.logging.level }}
    {{- with include "longhaul.flags" $c.extraArgs | trim }}
    {{- . | nindent 4 }}
    {{- end }}
  env:
    - name: POD_NAME
      valueFrom: {fieldRef: {fieldPath: metadata.name}}
    - name: POD_NAMESPACE
      valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
    {{- with $c.extraEnvs }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    - name: observe
      containerPort: {{ $c.containerPort.observe }}
  # No probes. Readiness is the proxy's: it serves what it has while this one is away. Liveness is the supervisor's
  # care, and an API server that cannot be reached must never be a reason to restart anything.
  securityContext:
    {{- toYaml $c.containerSecurityContext | nindent 4 }}
  {{- with $c.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  volumeMounts:
    - name: runtime
      mountPath: /run/longhaul
    - name: token
      mountPath: /var/run/secrets/kubernetes.io/serviceaccount
      readOnly: true
    {{- with $c.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{- define "longhaul.pod.proxy" -}}
{{- $c := .Values.controller -}}
- name: proxy
  image: {{ include "longhaul.image" . }}
  imagePullPolicy: {{ $c.image.pullPolicy }}
  command: [longhaul-proxy]
  args:
    - --socket=/run/longhaul/controller.sock
    - --last-good=/run/longhaul/last-good
    - --http={{ $c.listenAddress }}:{{ $c.containerPort.http }}
    - --https={{ $c.listenAddress }}:{{ $c.containerPort.https }}
    - --public-http-port={{ include "longhaul.publicport" (list . "http") }}
    - --public-https-port={{ include "longhaul.publicport" (list . "https") }}
    - --admin={{ $c.listenAddress }}:{{ $c.containerPort.health }}
    - --shutdown-delay={{ .Values.proxy.shutdownDelaySeconds }}s
    - --drain-period={{ .Values.proxy.drainPeriodSeconds }}s
    - --log-format={{ .Values.logging.format }}
    - --log-level={{ .Values.logging.level }}
    {{- with include "longhaul.flags" .Values.proxy.extraArgs | trim }}
    {{- . | nindent 4 }}
    {{- end }}
  {{- with .Values.proxy.extraEnvs }}
  env:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  ports:
    - name: http
      containerPort: {{ $c.containerPort.http }}
      {{- if $c.hostPort.enabled }}
      hostPort: {{ $c.hostPort.ports.http }}
      {{- end }}
    - name: https
      containerPort: {{ $c.containerPort.https }}
      {{- if $c.hostPort.enabled }}
      hostPort: {{ $c.hostPort.ports.https }}
      {{- end }}
    - name: health
      containerPort: {{ $c.containerPort.health }}
  startupProbe:
    httpGet: {path: /livez, port: health}
    periodSeconds: 1
    timeoutSeconds: 5
    failureThreshold: 120
  # Has routes, from the controller or kept from before, and accepts. Quick both ways: only new connections depend on
  # it.
  readinessProbe:
    httpGet: {path: /readyz, port: health}
    periodSeconds: 2
    timeoutSeconds: 5
    failureThreshold: 3
  # Slow on purpose: a false alarm costs every tunnel of the pod. Six answers in a row must be missing, each for 20 s,
  # so that a minute without CPU passes; meanwhile the readiness probe keeps new connections away.
  livenessProbe:
    httpGet: {path: /livez, port: health}
    periodSeconds: 20
    timeoutSeconds: 20
    failureThreshold: 6
  securityContext:
    {{- toYaml $c.containerSecurityContext | nindent 4 }}
  {{- with .Values.proxy.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  volumeMounts:
    - name: runtime
      mountPath: /run/longhaul
    {{- with .Values.proxy.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

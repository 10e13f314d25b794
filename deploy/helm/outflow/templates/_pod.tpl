{{/* What a pod may do: nothing but run. */}}
{{- define "outflow.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{- define "outflow.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{/* What every process is told of its admin server. Takes root. */}}
{{- define "outflow.adminEnv" -}}
- name: OUTFLOW_ADMIN__LISTEN
  value: {{ printf "%s:%d" .Values.admin.address (int .Values.admin.port) | quote }}
- name: OUTFLOW_ADMIN__TOKEN_FILE
  value: /run/secrets/outflow/admin-token
{{- end }}

{{/* What a sink's process is told. Takes root, name, sink, and podName for a pod that isn't the StatefulSet's. */}}
{{- define "outflow.sinkEnv" -}}
{{ include "outflow.adminEnv" .root }}
- name: OUTFLOW_STATE_DIR
  value: /var/lib/outflow
- name: OUTFLOW_SHUTDOWN_TIMEOUT
  value: {{ printf "%ds" (int .sink.shutdownTimeoutSeconds) }}
- name: OUTFLOW_MEMORY
  value: {{ include "outflow.memory" (dict "sink" .sink "name" .name) }}
- name: POD_NAME
{{- if .podName }}
  value: {{ .podName }}
{{- else }}
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- end }}
{{- if .sink.staticMembership }}
- name: OUTFLOW_KAFKA__GROUP_INSTANCE_ID
  value: {{ printf "%s-%s-{ordinal}" (include "outflow.fullname" .root) .name | quote }}
{{- end }}
{{- with .sink.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Liveness asks whether a restart would help, readiness whether a person is needed. */}}
{{- define "outflow.probes" -}}
startupProbe:
  httpGet:
    path: /livez
    port: admin
  periodSeconds: 2
  failureThreshold: 30
livenessProbe:
  httpGet:
    path: /livez
    port: admin
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet:
    path: /readyz
    port: admin
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
{{- end }}

{{- define "outflow.mounts" -}}
- name: config
  mountPath: /etc/outflow
  readOnly: true
- name: secrets
  mountPath: /run/secrets/outflow
  readOnly: true
- name: tmp
  mountPath: /tmp
{{- end }}

{{/* Takes root, configMap and secrets. */}}
{{- define "outflow.volumes" -}}
- name: config
  configMap:
    name: {{ .configMap }}
- name: secrets
  projected:
    defaultMode: 0400
    sources:
      - secret:
          name: {{ include "outflow.tokenSecret" .root }}
          items:
            - key: {{ .root.Values.admin.tokenSecret.key }}
              path: admin-token
{{- range $file, $from := .secrets }}
      - secret:
          name: {{ $from.secret }}
          items:
            - key: {{ $from.key }}
              path: {{ $file }}
{{- end }}
- name: tmp
  emptyDir:
    sizeLimit: 64Mi
{{- end }}

{{/* Where pods may run. Takes what has these keys. */}}
{{- define "outflow.scheduling" -}}
{{- range $key := list "nodeSelector" "tolerations" "affinity" "priorityClassName" }}
{{- with get $ $key }}
{{ dict $key . | toYaml }}
{{- end }}
{{- end }}
{{- end }}

{{- define "outflow.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* The release, with "outflow" in it. */}}
{{- define "outflow.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 30 | trimSuffix "-" }}
{{- else }}
{{- $name := include "outflow.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 30 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 30 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* Of one process. Takes root and component. */}}
{{- define "outflow.selector" -}}
app.kubernetes.io/name: {{ include "outflow.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "outflow.labels" -}}
{{ include "outflow.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Of what all processes share. */}}
{{- define "outflow.commonSelector" -}}
app.kubernetes.io/name: {{ include "outflow.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "outflow.commonLabels" -}}
{{ include "outflow.commonSelector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "outflow.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{- define "outflow.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "outflow.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "outflow.tokenSecret" -}}
{{- default (printf "%s-admin" (include "outflow.fullname" .)) .Values.admin.tokenSecret.name }}
{{- end }}

{{/* A sink's values over the defaults, as YAML. Takes root and name. */}}
{{- define "outflow.sink" -}}
{{- $sink := get .root.Values.sinks .name }}
{{- if eq .name "monitor" }}
{{- fail "sinks.monitor: the monitor has that name: call the sink otherwise" }}
{{- end }}
{{- $sink = mergeOverwrite (deepCopy .root.Values.defaults) (deepCopy $sink) }}
{{- if and (regexMatch "(?m)^\\s*assign\\s*=" $sink.config) (or $sink.staticMembership (gt (int $sink.replicas) 1) $sink.autoscaling.enabled) }}
{{- fail (printf "sinks.%s: fixed partitions (kafka.assign) have no group: set replicas to 1, staticMembership to false, and no autoscaling" .name) }}
{{- end }}
{{- toYaml $sink }}
{{- end }}

{{/* outflow's budget: what is set, or 55 % of the memory limit. Takes sink and name. */}}
{{- define "outflow.memory" -}}
{{- if .sink.memory }}
{{- .sink.memory }}
{{- else }}
{{- $limit := toString (dig "resources" "limits" "memory" "" .sink) }}
{{- if regexMatch "^[0-9]+Mi$" $limit }}
{{- printf "%dMiB" (div (mul (trimSuffix "Mi" $limit | int) 55) 100) }}
{{- else if regexMatch "^[0-9]+Gi$" $limit }}
{{- printf "%dMiB" (div (mul (trimSuffix "Gi" $limit | int) 1024 55) 100) }}
{{- else }}
{{- fail (printf "sinks.%s: the memory limit %q isn't a number of Mi or Gi: write it so, or set memory" .name $limit) }}
{{- end }}
{{- end }}
{{- end }}

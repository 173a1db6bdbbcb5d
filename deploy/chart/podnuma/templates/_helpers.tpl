{{- define "podnuma.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels of every object. */}}
{{- define "podnuma.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
app.kubernetes.io/name: podnuma
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: podnuma
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels that find the pods of one part; they never change. Argument: list of context and part. */}}
{{- define "podnuma.selector" -}}
{{- $ := index . 0 -}}
app.kubernetes.io/name: podnuma
app.kubernetes.io/instance: {{ $.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "podnuma.operator" -}}
{{ include "podnuma.name" . }}-operator
{{- end -}}

{{- define "podnuma.agent" -}}
{{ include "podnuma.name" . }}-agent
{{- end -}}

{{- define "podnuma.cleanup" -}}
{{ include "podnuma.name" . }}-cleanup
{{- end -}}

{{/* Cluster-scoped names carry the namespace unless it is the usual one, so that two releases do not collide. */}}
{{- define "podnuma.cluster" -}}
{{- $ := index . 0 -}}
{{- if eq $.Release.Namespace "podnuma-system" -}}
{{ index . 1 }}
{{- else -}}
{{ printf "%s-%s" $.Release.Namespace (index . 1) | trunc 63 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- define "podnuma.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What no container may do. */}}
{{- define "podnuma.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Probes of both processes: one port for them and the metrics. Patient: a node that starts many pods at
once has little time for this one, and killing it would not help. */}}
{{- define "podnuma.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: metrics}
  periodSeconds: 2
  failureThreshold: 150
livenessProbe:
  httpGet: {path: /healthz, port: metrics}
  periodSeconds: 20
  timeoutSeconds: 10
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: metrics}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end -}}

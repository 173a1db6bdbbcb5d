{{- define "podnuma.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* What all names start with: the release, followed by the chart's name unless it is part of it. */}}
{{- define "podnuma.fullname" -}}
{{- $name := include "podnuma.name" . -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride }}
{{- else if contains $name .Release.Name -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{/* Labels of every object. */}}
{{- define "podnuma.labels" -}}
{{- $own := dict
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63)
  "app.kubernetes.io/name" (include "podnuma.name" .)
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/version" .Chart.AppVersion
  "app.kubernetes.io/part-of" "podnuma"
  "app.kubernetes.io/managed-by" .Release.Service
-}}
{{ toYaml (merge $own .Values.commonLabels) }}
{{- end -}}

{{/* Labels of the pods of one part. Argument: list of context, part and the values' podLabels. */}}
{{- define "podnuma.podLabels" -}}
{{- $own := include "podnuma.labels" (index . 0) | fromYaml -}}
{{ toYaml (merge (dict "app.kubernetes.io/component" (index . 1)) $own (index . 2)) }}
{{- end -}}

{{/* With these service meshes put no proxy into a pod. One runs on when the container of a Job has ended, so that the
Job never does. */}}
{{- define "podnuma.withoutMeshLabels" -}}
sidecar.istio.io/inject: "false"
kuma.io/sidecar-injection: disabled
{{- end -}}
{{- define "podnuma.withoutMeshAnnotations" -}}
sidecar.istio.io/inject: "false"
linkerd.io/inject: disabled
{{- end -}}

{{/* Labels that find the pods of one part; they never change. Argument: list of context and part. */}}
{{- define "podnuma.selector" -}}
{{- $ := index . 0 -}}
app.kubernetes.io/name: {{ include "podnuma.name" $ | toYaml }}
app.kubernetes.io/instance: {{ $.Release.Name | toYaml }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "podnuma.operator" -}}
{{ include "podnuma.fullname" . }}-operator
{{- end -}}

{{- define "podnuma.agent" -}}
{{ include "podnuma.fullname" . }}-agent
{{- end -}}

{{- define "podnuma.cleanup" -}}
{{ include "podnuma.fullname" . }}-cleanup
{{- end -}}

{{/* The service account of a part. Argument: list of context and part. */}}
{{- define "podnuma.account" -}}
{{- $ := index . 0 -}}
{{- $part := index . 1 -}}
{{- $account := (index $.Values $part).serviceAccount -}}
{{- if not (or $account.create $account.name) -}}
{{- fail (printf "%s.serviceAccount.create is false: name the account to use in %s.serviceAccount.name" $part $part) -}}
{{- end -}}
{{ $account.name | default (include (printf "podnuma.%s" $part) $) }}
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
{{- $missing := printf "image.repository is not set: build the image (`make image` in podnuma's sources), push it where your nodes find it, and name it without its tag, as in --set image.repository=registry.example/%s" .Chart.Name -}}
{{- $repository := required $missing .Values.image.repository -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ $repository }}@{{ .digest }}
{{- else -}}
{{ $repository }}:{{ .tag | default $.Chart.AppVersion }}
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

{{/* Arguments of a port with TLS. */}}
{{- define "podnuma.secureArgs" -}}
{{- with .Values.monitoring.secure -}}
{{- if .enabled -}}
- --metrics-secure
{{- if .secretName }}
- --metrics-cert-dir=/etc/podnuma/serving
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Where a monitor asks one part, and as whom. Argument: list of context and kind of the monitor. */}}
{{- define "podnuma.endpoint" -}}
{{- $ := index . 0 -}}
{{- $kind := index . 1 -}}
port: metrics
{{- with $.Values.monitoring.secure }}
{{- if .enabled }}
scheme: https
{{- if eq $kind "ServiceMonitor" }}
bearerTokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token
{{- else }}
authorization:
  credentials:
    name: {{ required "monitoring.secure with monitoring.podMonitor: name the secret with Prometheus' token in monitoring.secure.tokenSecret, or use monitoring.serviceMonitor" .tokenSecret.name | toYaml }}
    key: {{ .tokenSecret.key | toYaml }}
{{- end }}
tlsConfig:
  {{- if .secretName }}
  ca:
    secret: {name: {{ .secretName | toYaml }}, key: ca.crt}
  serverName: {{ .serverName | default (printf "%s-metrics.%s.svc" (include "podnuma.fullname" $) $.Release.Namespace) | toYaml }}
  {{- else }}
  # Each process has made its own certificate.
  insecureSkipVerify: true
  {{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Probes of both processes: one port for them and the metrics. Patient: a node that starts many pods at
once has little time for this one, and killing it would not help. */}}
{{- define "podnuma.probes" -}}
{{- $scheme := .Values.monitoring.secure.enabled | ternary ", scheme: HTTPS" "" -}}
startupProbe:
  httpGet: {path: /healthz, port: metrics{{ $scheme }}}
  periodSeconds: 2
  failureThreshold: 150
livenessProbe:
  httpGet: {path: /healthz, port: metrics{{ $scheme }}}
  periodSeconds: 20
  timeoutSeconds: 10
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: metrics{{ $scheme }}}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end -}}

{{/* Affinity of the agents: on every Linux node with a kernel of its own, and what the values ask for beside.
The terms of a node affinity are alternatives, so each one gets the conditions. */}}
{{- define "podnuma.agentAffinity" -}}
{{- $conditions := list (dict "key" "kubernetes.io/os" "operator" "In" "values" (list "linux")) -}}
{{- range $label, $values := .Values.agent.excludedNodes -}}
{{- if $values -}}
{{- $conditions = append $conditions (dict "key" $label "operator" "NotIn" "values" $values) -}}
{{- end -}}
{{- end -}}
{{- $affinity := deepCopy .Values.agent.affinity -}}
{{- $node := $affinity.nodeAffinity | default dict -}}
{{- $required := $node.requiredDuringSchedulingIgnoredDuringExecution | default dict -}}
{{- $terms := list -}}
{{- range $required.nodeSelectorTerms | default (list dict) -}}
{{- $terms = append $terms (set . "matchExpressions" (concat $conditions (.matchExpressions | default list))) -}}
{{- end -}}
{{- $_ := set $node "requiredDuringSchedulingIgnoredDuringExecution" (dict "nodeSelectorTerms" $terms) -}}
{{ toYaml (set $affinity "nodeAffinity" $node) }}
{{- end -}}

{{/* Annotations of what `helm test` needs. Argument: its place in the order. */}}
{{- define "podnuma.testHook" -}}
helm.sh/hook: test
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{/* Fail where podnuma already runs as another release. The definitions carry the name of the release that they
belong to; what stayed of one that was uninstalled does not count. Nothing can be looked up without a cluster. */}}
{{- define "podnuma.alone" -}}
{{- $definition := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" "nodeprofiles.podnuma.dev" | default dict -}}
{{- $marks := dig "metadata" "annotations" dict $definition -}}
{{- $name := get $marks "meta.helm.sh/release-name" -}}
{{- $namespace := get $marks "meta.helm.sh/release-namespace" -}}
{{- if and $name (ne (list $name $namespace | join "/") (list .Release.Name .Release.Namespace | join "/")) -}}
{{- range (lookup "apps/v1" "Deployment" $namespace "").items -}}
{{- $labels := .metadata.labels | default dict -}}
{{- if and (eq (get $labels "app.kubernetes.io/instance") $name) (eq (get $labels "app.kubernetes.io/part-of") "podnuma") -}}
{{- fail (printf "podnuma already runs in this cluster, as release %s of namespace %s, and two operators would both decide; first run: helm uninstall %s --namespace %s" $name $namespace $name $namespace) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The admission policy that gates pods, and its binding. */}}
{{- define "podnuma.placement" -}}
{{- include "podnuma.cluster" (list . (printf "%s-placement" (include "podnuma.operator" .))) -}}
{{- end }}

{{/*
Names and labels. The operator builds the names of its Services, its Lease and its CA from --release, so they follow the
release's name and cannot be overridden. The longest suffix has 10 characters, as a release's name has 53 at most.
*/}}

{{- define "splittraining.release" -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" .Release.Name) -}}
{{- fail (printf "release name %q is not allowed: Services are named after it, so it is a DNS label that starts with a letter" .Release.Name) -}}
{{- end -}}
{{- .Release.Name -}}
{{- end -}}

{{- define "splittraining.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (printf "%s-operator" (include "splittraining.release" .)) -}}
{{- end -}}

{{/* What selects the operator's pods. Policies of parties let them out to these two labels' first one. */}}
{{- define "splittraining.selector" -}}
app.kubernetes.io/name: splittraining-operator
app.kubernetes.io/instance: {{ include "splittraining.release" . | quote }}
{{- end -}}

{{- define "splittraining.labels" -}}
{{ include "splittraining.selector" . }}
app.kubernetes.io/part-of: splittraining
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") }}
{{- end -}}

{{/* An image's reference, from [values of the image, root]. */}}
{{- define "splittraining.image" -}}
{{- $image := index . 0 -}}
{{- $root := index . 1 -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository ($image.tag | default $root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* The subject of every binding. */}}
{{- define "splittraining.subjects" -}}
- kind: ServiceAccount
  name: {{ include "splittraining.serviceAccount" . | quote }}
  namespace: {{ .Release.Namespace | quote }}
{{- end -}}

{{/* Labels as a flag takes them: KEY=VALUE,KEY=VALUE, in the order of their keys. */}}
{{- define "splittraining.pairs" -}}
{{- $pairs := list -}}
{{- range $key, $value := . }}{{ $pairs = append $pairs (printf "%s=%s" $key $value) }}{{ end -}}
{{- join "," $pairs -}}
{{- end -}}

{{- define "splittraining.dnsLabels" -}}
{{- .Values.dns.podLabels | default (dict "k8s-app" "kube-dns") | toYaml -}}
{{- end -}}

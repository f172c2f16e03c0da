{{- define "tombolo-agent.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "tombolo-agent.labels" -}}
app.kubernetes.io/name: tombolo-agent
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "tombolo-agent.selector" -}}
app.kubernetes.io/name: tombolo-agent
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "tombolo-agent.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "tombolo-agent.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "tombolo-agent.name" .) }}
{{- end -}}

{{- /* Where jobs run: one namespace on each line, none twice. */ -}}
{{- define "tombolo-agent.namespaces" -}}
{{- $namespaces := list (.Values.jobs.namespace | default .Release.Namespace) -}}
{{- range .Values.jobs.projects -}}
{{- with .namespace -}}{{- $namespaces = append $namespaces . -}}{{- end -}}
{{- end -}}
{{- join "\n" (uniq $namespaces) -}}
{{- end -}}

{{- /* What contradicts itself must not be installed. */ -}}
{{- define "tombolo-agent.validate" -}}
{{- if and .Values.invite.value .Values.invite.existingSecret -}}
{{- fail "give either `invite.value` or `invite.existingSecret`, not both" -}}
{{- end -}}
{{- if and .Values.rbac.pods (not .Values.rbac.nodes) -}}
{{- fail "`rbac.pods` is of no use without `rbac.nodes`" -}}
{{- end -}}
{{- if and (eq .Values.jobs.podSecurity "restricted") (eq (toString .Values.jobs.runAsUser) "0") -}}
{{- fail "`jobs.runAsUser` is root, which `jobs.podSecurity: restricted` forbids" -}}
{{- end -}}
{{- range $project, $settings := .Values.jobs.projects -}}
{{- $user := $settings.runAsUser -}}
{{- if kindIs "invalid" $user -}}{{- $user = $.Values.jobs.runAsUser -}}{{- end -}}
{{- if and (eq ($settings.podSecurity | default $.Values.jobs.podSecurity) "restricted") (not (kindIs "invalid" $user)) (eq (toString $user) "0") -}}
{{- fail (printf "`jobs.projects.%s.runAsUser` is root, which `podSecurity: restricted` forbids" $project) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The settings of one kind of claim, as TOML. */}}
{{- define "tombolo-agent.claim" -}}
size = {{ toJson .size }}, access_mode = {{ toJson .accessMode }}{{ with .storageClass }}, storage_class = {{ toJson . }}{{ end }}
{{- end }}

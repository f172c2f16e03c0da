{{- define "tombolo-master.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "tombolo-master.labels" -}}
app.kubernetes.io/name: tombolo-master
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "tombolo-master.selector" -}}
app.kubernetes.io/name: tombolo-master
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- /* Where agents reach the master: what was given, or the host of `publicUrl`. */ -}}
{{- define "tombolo-master.addresses" -}}
{{- $host := (urlParse .Values.publicUrl).host | regexFind "^(\\[[^]]*\\]|[^:]*)" -}}
{{- $own := list (printf "%s:%d" $host (int64 .Values.service.agents.port)) -}}
{{- toJson (.Values.agents.addresses | default $own) -}}
{{- end -}}

{{- /* What cannot work must not be installed. */ -}}
{{- define "tombolo-master.validate" -}}
{{- if not .Values.publicUrl -}}
{{- fail "give `publicUrl`: where users see the master, `https://host[:port]`" -}}
{{- end -}}
{{- if not .Values.adminToken.existingSecret -}}
{{- fail "give `adminToken.existingSecret`: the Secret with the first admin's token; values.yaml says how to make it" -}}
{{- end -}}
{{- if and .Values.database.existingSecret (not .Values.database.url) -}}
{{- fail "`database.existingSecret` is of no use without `database.url`" -}}
{{- end -}}
{{- if and .Values.database.authorityKey (not .Values.database.existingSecret) -}}
{{- fail "`database.authorityKey` is a key of the Secret `database.existingSecret`, which is not given" -}}
{{- end -}}
{{- if gt (int64 .Values.replicas) 1 -}}
{{- if not .Values.database.url -}}
{{- fail "`replicas` above 1 need `database.url`: several masters share a Postgres database" -}}
{{- end -}}
{{- if not (and .Values.authority.existingSecret .Values.authority.grantKey) -}}
{{- fail "`replicas` above 1 need `authority.existingSecret` and `authority.grantKey`: all masters have the same authority" -}}
{{- end -}}
{{- if not .Values.secretsKey.existingSecret -}}
{{- fail "`replicas` above 1 need `secretsKey.existingSecret`: all masters have the same keys" -}}
{{- end -}}
{{- if not (regexMatch "(?m)^\\s*\\[sources\\." .Values.extraSections) -}}
{{- fail "`replicas` above 1 need a bucket for sources in `extraSections` (`[sources.s3]`, `[sources.azure]` or `[sources.gcs]`)" -}}
{{- end -}}
{{- end -}}
{{- if and (ne .Values.service.type "NodePort") (or .Values.service.agents.nodePort .Values.service.users.nodePort) -}}
{{- fail "ports of nodes are for `service.type: NodePort` only" -}}
{{- end -}}
{{- end -}}

{{- define "portreeve.labels" -}}
app.kubernetes.io/name: portreeve
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- define "portreeve.selector" -}}
app.kubernetes.io/name: portreeve
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "portreeve.image" -}}
{{- with .Values.image }}{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}{{ end }}
{{- end }}

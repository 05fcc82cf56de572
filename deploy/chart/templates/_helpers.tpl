{{- define "kubevitals.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{/* Prefix of all names: the release's, unless it says kubevitals already. */}}
{{- define "kubevitals.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "kubevitals.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "kubevitals.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "kubevitals.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{- define "kubevitals.aggregator" -}}
{{- include "kubevitals.fullname" . }}-aggregator
{{- end }}

{{- define "kubevitals.agent" -}}
{{- include "kubevitals.fullname" . }}-agent
{{- end }}

{{- define "kubevitals.ingest" -}}
{{- include "kubevitals.fullname" . }}-ingest
{{- end }}

{{- define "kubevitals.query" -}}
{{- include "kubevitals.fullname" . }}-query
{{- end }}

{{/* The account whose token scrapers of the exporter show. */}}
{{- define "kubevitals.scraper" -}}
{{- include "kubevitals.fullname" . }}-scraper
{{- end }}

{{/* Name of the authority's Secret and ConfigMap. */}}
{{- define "kubevitals.ca" -}}
{{- include "kubevitals.fullname" . }}-ca
{{- end }}

{{/* Name of the Secret with given serving certificates. */}}
{{- define "kubevitals.servingSecret" -}}
{{- if eq .Values.tls.type "existingSecret" }}
{{- required "tls.existingSecret.name is required with tls.type=existingSecret" .Values.tls.existingSecret.name }}
{{- else }}
{{- include "kubevitals.fullname" . }}-serving
{{- end }}
{{- end }}

{{- define "kubevitals.aggregatorAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "kubevitals.aggregator" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name is required when serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "kubevitals.agentAccount" -}}
{{- if .Values.agent.serviceAccount.create }}
{{- default (include "kubevitals.agent" .) .Values.agent.serviceAccount.name }}
{{- else }}
{{- required "agent.serviceAccount.name is required when agent.serviceAccount.create is false" .Values.agent.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "kubevitals.image" -}}
{{- with .Values.image }}
{{- if .digest }}
{{- printf "%s@%s" .repository .digest }}
{{- else }}
{{- printf "%s:%s" .repository (default (printf "v%s" $.Chart.AppVersion) .tag) }}
{{- end }}
{{- end }}
{{- end }}

{{/* What selects pods of a component: (dict "root" . "component" "agent"). */}}
{{- define "kubevitals.selector" -}}
app.kubernetes.io/name: {{ include "kubevitals.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Labels of an object; component may be empty. */}}
{{- define "kubevitals.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ include "kubevitals.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Whether the aggregator writes its authority into the APIServices. */}}
{{- define "kubevitals.publishes" -}}
{{- if not (or .Values.apiService.insecureSkipTLSVerify .Values.apiService.caBundle) }}yes{{ end }}
{{- end }}

{{/* Values that contradict each other. */}}
{{- define "kubevitals.check" -}}
{{- if not (or .Values.agent.enabled .Values.kubeletFallback.enabled) }}
{{- fail "nothing would be measured: agent.enabled and kubeletFallback.enabled are both false" }}
{{- end }}
{{- if and .Values.hostNetwork.enabled (eq (int .Values.containerPort) 10250) }}
{{- fail "hostNetwork.enabled needs another containerPort, such as 4443: 10250 is the kubelet's" }}
{{- end }}
{{- if and .Values.apiService.insecureSkipTLSVerify .Values.apiService.caBundle }}
{{- fail "apiService.caBundle does not go with apiService.insecureSkipTLSVerify" }}
{{- end }}
{{- end }}

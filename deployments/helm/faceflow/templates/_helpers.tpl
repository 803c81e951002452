{{- define "faceflow.labels" -}}
app.kubernetes.io/name: faceflow
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "faceflow.image" -}}
{{- if .Values.image.registry }}{{ .Values.image.registry }}/{{ end }}{{ .Values.image.name }}
{{- end }}

{{- define "faceflow.apiUrl" -}}
{{- if .Values.server.enabled -}}
http://{{ .Release.Name }}-server.{{ .Release.Namespace }}.svc:4200/api
{{- else -}}
{{ required "server.apiUrl is needed where server.enabled is false" .Values.server.apiUrl }}
{{- end -}}
{{- end }}

{{- define "faceflow.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "faceflow.containerSecurity" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Of a worker, which hands it on to its jobs. */}}
{{- define "faceflow.workerApiUrl" -}}
{{- $worker := index . 1 -}}
{{- with index . 0 -}}
{{- if and (eq ($worker.type | default "kubernetes") "ecs") .Values.server.enabled -}}
{{- $why := "outside of this cluster its service has no name" -}}
{{ required (printf "apiUrl is needed for the worker %s: where its jobs reach the server (%s)" $worker.pool $why) $worker.apiUrl }}
{{- else -}}
{{ $worker.apiUrl | default (include "faceflow.apiUrl" .) }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Variables of everything that talks to the server; PREFECT_API_URL, which differs, stands beside them. The home is the pod's own, because the root is read-only. */}}
{{- define "faceflow.environment" -}}
- {name: HOME, value: /scratch}
- {name: PREFECT_HOME, value: /scratch/prefect}
- {name: PREFECT_PROFILES_PATH, value: /scratch/prefect/profiles.toml}
- {name: PREFECT_SERVER_ALLOW_EPHEMERAL_MODE, value: "false"}
- {name: PREFECT_SERVER_ANALYTICS_ENABLED, value: "false"}
- {name: FACEFLOW_PATHS__STATE, value: /scratch/state}
- {name: FACEFLOW_PATHS__SCRATCH, value: /scratch}
- {name: FACEFLOW_LOG__FORMAT, value: json}
{{- if .Values.authSecret }}
- name: PREFECT_API_AUTH_STRING
  valueFrom: {secretKeyRef: {name: {{ .Values.authSecret }}, key: PREFECT_API_AUTH_STRING}}
{{- end }}
{{- end }}

{{/* Of workers: the kubelet asks for their health at the pod's address. */}}
{{- define "faceflow.workerEnvironment" -}}
{{ include "faceflow.environment" . }}
- {name: PREFECT_WORKER_WEBSERVER_HOST, value: 0.0.0.0}
- {name: PREFECT_WORKER_WEBSERVER_PORT, value: "8080"}
{{- end }}

{{- define "faceflow.imagePullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{- define "faceflow.scratch" -}}
- {name: scratch, emptyDir: {sizeLimit: 2Gi}}
- {name: temporary, emptyDir: {sizeLimit: 1Gi}}
{{- end }}

{{- define "faceflow.scratchMounts" -}}
- {name: scratch, mountPath: /scratch}
- {name: temporary, mountPath: /tmp}
{{- end }}

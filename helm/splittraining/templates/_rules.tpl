{{/*
The operator's rights, each in the one place where it stands; tests/chart holds them against the calls that it makes.
No wildcard, no exec, no Secret but the one that it makes itself.
*/}}

{{/* Sees, everywhere it looks, and writes nothing but the status of our kinds. */}}
{{- define "splittraining.rules.watch" -}}
- apiGroups: [splitlearning.dev]
  resources: [splittrainings, splitparticipations]
  verbs: [get, list, watch]
- apiGroups: [splitlearning.dev]
  resources: [splittrainings/status, splitparticipations/status]
  verbs: [patch]
# The intake looks at them once more before it signs.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [services, serviceaccounts, persistentvolumeclaims]
  verbs: [list, watch]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [list, watch]
{{- end -}}

{{/* Works: in namespaces that invite it. Server-side apply needs create and patch, and a look comes before it. */}}
{{- define "splittraining.rules.workloads" -}}
- apiGroups: [splitlearning.dev]
  resources: [splitparticipations]
  verbs: [get, create, patch]
# When its ttlSecondsAfterFinished has passed.
- apiGroups: [splitlearning.dev]
  resources: [splittrainings]
  verbs: [delete]
# Some clusters ask for this of whoever sets blockOwnerDeletion; no finalizer is ever written.
- apiGroups: [splitlearning.dev]
  resources: [splittrainings/finalizers, splitparticipations/finalizers]
  verbs: [update]
# The model's source is a ConfigMap too, which is copied.
- apiGroups: [""]
  resources: [configmaps, services, serviceaccounts, persistentvolumeclaims]
  verbs: [get, create, patch]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, create, patch]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
# Why a Job's pod was refused.
- apiGroups: [""]
  resources: [events]
  verbs: [list]
{{- end -}}

{{/* Its own: the Lease, the CA, the address of the leader. Rights to create cannot name what does not exist yet. */}}
{{- define "splittraining.rules.own" -}}
{{- $release := include "splittraining.release" . -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ $release }}-controller]
  verbs: [get, update]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ $release }}-ca]
  verbs: [get]
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  resourceNames: [{{ $release }}-reports]
  verbs: [get, create, patch]
{{- end -}}

#!/usr/bin/env bash
# Example 01 in a test cluster, with the commands that its users would type: each is shown before it runs.
# Called by `make demo-cluster`, which has built the images.
set -euo pipefail
cd "$(dirname "$0")/../.."
name=${NAME:-splittraining} form=${CLUSTER:-node} namespace=trial example=examples/01-vanilla-two-hospitals
cluster() { PYTHONPATH=tests:images .venv/bin/python -m cluster --form "$form" --name "$name" "$@"; }
show() { printf '\n$ %s\n' "$*"; "$@"; }

eval "$(cluster up build/images/operator.tar build/images/party-cpu-test.tar)"
export PATH="$PWD/.venv/bin:$PATH"
operator=$(cluster load build/images/operator.tar)
party=$(cluster load build/images/party-cpu-test.tar)
.venv/bin/python "$example/make_data.py"

show helm upgrade --install splittraining helm/splittraining --namespace splittraining-system --create-namespace \
  --set image.repository="${operator%%:*}" --set image.tag="${operator##*:}" \
  --set partyImage.repository="${party%%:*}" --set partyImage.tag="${party##*:}" --wait --timeout 180s
if ! kubectl get namespace "$namespace" >/dev/null 2>&1; then
  show kubectl create namespace "$namespace"
  show kubectl label namespace "$namespace" pod-security.kubernetes.io/enforce=restricted
  # The namespace invites the operator: without this it may look, and make nothing here.
  show kubectl --namespace "$namespace" create rolebinding splittraining-workloads \
    --clusterrole=splittraining-workloads --serviceaccount=splittraining-system:splittraining-operator
fi
for hospital in st-mary st-luke; do # what a hospital's administrator does: a claim with the data behind it
  cluster volume "$namespace" "xrays-$hospital" "$example/data/xrays-$hospital"
done
kubectl --namespace "$namespace" delete splittraining two-hospitals --ignore-not-found >/dev/null
show kubectl --namespace "$namespace" apply -f "$example/training.yaml"
show kubectl splittraining status two-hospitals --namespace "$namespace" --watch
show kubectl --namespace "$namespace" get splittrainings
rm -rf runs/two-hospitals-in-cluster
for party in st-mary st-luke server; do
  show kubectl splittraining fetch two-hospitals "$party" --namespace "$namespace" -o "runs/two-hospitals-in-cluster/$party"
done
printf '\nThe cluster is up. To look around: eval "$(make -s cluster-up)". To remove it: make cluster-down\n'

#!/usr/bin/env bash
# `make e2e-kind`: a kind cluster, podnuma from the chart, the README's commands, the end-to-end scenarios.
# Needs Docker, kind, kubectl, helm and a static busybox. KEEP=1 leaves the cluster, and the next run goes on with
# it and leaves it, too; IMAGE_TAR=file uses an existing image; CLUSTER=file is another description of the cluster;
# PATIENCE=20m lets each step take longer.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cluster=podnuma
namespace=podnuma-system
reference=localhost/podnuma:0.1.0
archive=${IMAGE_TAR:-$root/dist/podnuma-image.tar}
pods=$root/dist/e2e-busybox.tar
patience=${PATIENCE:-3m}

for tool in docker kind kubectl helm busybox; do
  command -v "$tool" >/dev/null || { echo "make e2e-kind needs $tool: install it and put it on PATH" >&2; exit 2; }
done
docker info >/dev/null 2>&1 || { echo "make e2e-kind needs a running Docker: start it, or set DOCKER_HOST" >&2; exit 2; }

# Nothing is deleted that this run has not made.
keep=${KEEP:-0}
if kind get clusters 2>/dev/null | grep -qx "$cluster"; then keep=1; made=0; else made=1; fi

folder=$(mktemp -d)
KUBECONFIG=$folder/kubeconfig
export KUBECONFIG

finish() {
  if [ "$keep" = 1 ]; then
    echo "the cluster is left: export KUBECONFIG=$KUBECONFIG; kind delete cluster --name $cluster"
  else
    kind delete cluster --name "$cluster" >/dev/null 2>&1 || true
    rm -rf "$folder"
  fi
}
trap finish EXIT

[ -f "$archive" ] || make -C "$root" image
python -m testbed.e2e.busybox "$pods"
if [ "$made" = 1 ]; then
  kind create cluster --config "${CLUSTER:-$here/cluster.yaml}" --kubeconfig "$KUBECONFIG" --wait "$patience"
else
  kind export kubeconfig --name "$cluster" --kubeconfig "$KUBECONFIG"
fi
kind load image-archive "$archive" "$pods" --name "$cluster"

# The chart: install it, apply a profile and a pod of the announcement, uninstall it.
helm install podnuma "$root/deploy/chart/podnuma" --namespace "$namespace" --create-namespace \
  --set "image.repository=${reference%:*}" --set "image.tag=${reference##*:}" --wait --timeout "$patience"
helm test podnuma --namespace "$namespace" --timeout "$patience"
kubectl apply -f "$root/examples/profiles/databases.yaml"
kubectl wait --for=condition=Ready nodeprofile/databases --timeout="$patience"
kubectl get nodeprofiles,nodetopologies
kubectl delete -f "$root/examples/profiles/databases.yaml"
helm uninstall podnuma --namespace "$namespace" --timeout "${PATIENCE:-5m}"

# The scenarios of the node agent, which install podnuma from deploy/kustomize/base themselves.
node=$(kubectl get nodes -l node-pool=databases -o 'jsonpath={.items[0].metadata.name}')
make -C "$root" e2e KUBECONFIG="$KUBECONFIG" NODE="$node"

#!/usr/bin/env bash
# Package: Go module `k8s.io/kubernetes` v1.37.2, pkg/kubelet/cm/topologymanager (compiles for minutes at
#   first).
# Question: two NUMA nodes, the kubelet's topology policy is restricted. A pod wants more CPUs than one node
#   has, so both. It is admitted. Is it still, with one GPU of node 0 besides? And with a GPU of each node?
# One would guess: yes, and perhaps no: each is as well aligned as it can be with one GPU, since each
#   provider has a hint it prefers and one lies within the other; two GPUs are harder than one.
# Seen: with one GPU it is refused, with two it is admitted. best-effort takes the same two nodes for the
#   first, as not preferred. A provider without hints (nil) changes nothing, one with an empty list refuses.
# Why: mergePermutation calls a combination preferred only if all the masks that are given are *equal*. A
#   GPU alone prefers one node, its mask of both is not preferred; the CPUs have no other mask than both; so
#   no combination is both equal and preferred. Two GPUs on two nodes prefer just that mask. So a pod that
#   is larger than a node can have, under restricted, only resources that need as many nodes as it does.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOFLAGS=-mod=mod

cat > go.mod <<'E'
module ask

go 1.26.0

require k8s.io/kubernetes v1.37.2
E
for module in api apiextensions-apiserver apimachinery apiserver cli-runtime client-go cloud-provider \
    cluster-bootstrap code-generator component-base component-helpers controller-manager cri-api \
    cri-client cri-streaming csi-translation-lib dynamic-resource-allocation endpointslice \
    externaljwt kms kube-aggregator kube-controller-manager kube-proxy kube-scheduler kubectl \
    kubelet metrics mount-utils pod-security-admission sample-apiserver streaming; do
    echo "replace k8s.io/$module => k8s.io/$module v0.37.2" >> go.mod
done
cat > main.go <<'E'
package main

import (
	"fmt"

	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/kubelet/cm/topologymanager"
	"k8s.io/kubernetes/pkg/kubelet/cm/topologymanager/bitmask"
)

type hints = []topologymanager.TopologyHint

func hint(preferred bool, nodes ...int) topologymanager.TopologyHint {
	mask, err := bitmask.NewBitMask(nodes...)
	if err != nil {
		panic(err)
	}
	return topologymanager.TopologyHint{NUMANodeAffinity: mask, Preferred: preferred}
}

func ask(what string, cpu, device hints) {
	info := &topologymanager.NUMAInfo{Nodes: []int{0, 1}}
	options := topologymanager.PolicyOptions{}
	fmt.Println(what)
	for _, policy := range []topologymanager.Policy{
		topologymanager.NewRestrictedPolicy(info, options),
		topologymanager.NewBestEffortPolicy(info, options),
	} {
		best, admitted := policy.Merge(klog.Background(), []map[string]hints{{"cpu": cpu}, {"example.dev/gpu": device}})
		fmt.Printf("  %s: nodes %v, preferred %t, admitted %t\n",
			policy.Name(), best.NUMANodeAffinity.GetBits(), best.Preferred, admitted)
	}
}

func main() {
	wide := hints{hint(true, 0, 1)} // 24 of 2 x 16 CPUs
	ask("CPUs of both nodes, no devices", wide, nil)
	ask("and one GPU of node 0", wide, hints{hint(true, 0), hint(false, 0, 1)})
	ask("and a GPU of each node", wide, hints{hint(true, 0, 1)})
	ask("and a GPU that no nodes have", wide, hints{})
}
E
go run . 2> log | tee seen || { cat log >&2; exit 1; }

cat > expected <<'E'
CPUs of both nodes, no devices
  restricted: nodes [0 1], preferred true, admitted true
  best-effort: nodes [0 1], preferred true, admitted true
and one GPU of node 0
  restricted: nodes [0 1], preferred false, admitted false
  best-effort: nodes [0 1], preferred false, admitted true
and a GPU of each node
  restricted: nodes [0 1], preferred true, admitted true
  best-effort: nodes [0 1], preferred true, admitted true
and a GPU that no nodes have
  restricted: nodes [0 1], preferred false, admitted false
  best-effort: nodes [0 1], preferred false, admitted true
E
diff -u expected seen

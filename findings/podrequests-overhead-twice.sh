#!/usr/bin/env bash
# Package: Go module `k8s.io/component-helpers` v0.37.2, package resource, as the kubelet calls it for
#   `status.allocatedResources` of a pod, and as kube-scheduler calls it (UseStatusResources) for the pods of a node.
# Question: a pod requests 4 CPUs and has an overhead of 250m of its runtime class. How much does the scheduler
#   count for it, before and after its kubelet has reported on it? Nobody has resized it.
# One would guess: 4250m, before and after. What is allocated is what was asked for.
# Seen: 4250m before and 4500m after, with and without a budget of the pod. Two of them fit on a node with 8500m as
#   long as nothing is reported; then 500m more than the node has count as requested.
# Why: the kubelet's sum has the overhead in it (kubernetes/kubernetes#139627), and the scheduler adds the overhead
#   to the larger of spec and status. So `status.allocatedResources` is no budget, either: 4 CPUs are 4250m there.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOFLAGS=-mod=mod

cat > go.mod <<'E'
module ask

go 1.26.0

require (
	k8s.io/api v0.37.2
	k8s.io/apimachinery v0.37.2
	k8s.io/component-helpers v0.37.2
)
E
cat > main.go <<'E'
package main

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	helpers "k8s.io/component-helpers/resource"
)

func cpus(number string) v1.ResourceList {
	return v1.ResourceList{v1.ResourceCPU: resource.MustParse(number)}
}

func counted(pod *v1.Pod) string {
	cpu := helpers.PodRequests(pod, helpers.PodResourcesOptions{
		UseStatusResources: true,
		InPlacePodLevelResourcesVerticalScalingEnabled: true,
	})[v1.ResourceCPU]
	return cpu.String()
}

func ask(what string, budget *v1.ResourceRequirements, container v1.ResourceList) {
	pod := &v1.Pod{Spec: v1.PodSpec{
		Overhead:   cpus("250m"),
		Resources:  budget,
		Containers: []v1.Container{{Name: "db", Resources: v1.ResourceRequirements{Requests: container}}},
	}}
	before := counted(pod)
	// As generateAPIPodStatus of the kubelet does.
	pod.Status.AllocatedResources = helpers.PodRequests(pod, helpers.PodResourcesOptions{})
	pod.Status.Resources = &v1.ResourceRequirements{Requests: pod.Status.AllocatedResources.DeepCopy()}
	told := pod.Status.AllocatedResources[v1.ResourceCPU]
	fmt.Printf("%s: %s, the status says %s, then %s\n", what, before, told.String(), counted(pod))
}

func main() {
	ask("a container of 4 CPUs", nil, cpus("4"))
	ask("a budget of 4 CPUs", &v1.ResourceRequirements{Requests: cpus("4")}, nil)
}
E
go run . 2> log | tee seen || { cat log >&2; exit 1; }

cat > expected <<'E'
a container of 4 CPUs: 4250m, the status says 4250m, then 4500m
a budget of 4 CPUs: 4250m, the status says 4250m, then 4500m
E
diff -u expected seen

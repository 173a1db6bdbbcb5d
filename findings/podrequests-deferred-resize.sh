#!/usr/bin/env bash
# Package: Go module `k8s.io/component-helpers` v0.37.2, package resource, as kube-scheduler calls it
#   (UseStatusResources) for the pods that a node has.
# Question: a pod runs with 4 CPUs, as its status says, and was resized to 8. The kubelet has not accepted that:
#   condition PodResizePending with reason Deferred, or with reason Infeasible. How many CPUs does the scheduler
#   take as requested?
# One would guess: 4 in both cases. Nothing was allocated, and what is pending takes no room from others.
# Seen: 8 while it is Deferred, 4 while it is Infeasible. A resize that waits for room thus keeps other pods off
#   the room it waits for, and the node may be counted as requested beyond what it can allocate. One that shrinks
#   counts with its old size until the status has the new one.
# Why: the larger of spec and status counts, unless the resize is Infeasible; then the status alone does. Who adds
#   up specs, or statuses, is wrong for one of the three.
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

func ask(what, asked, has, reason string) {
	pod := &v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{
		{Name: "db", Resources: v1.ResourceRequirements{Requests: cpus(asked)}},
	}}}
	pod.Status.ContainerStatuses = []v1.ContainerStatus{{
		Name:               "db",
		AllocatedResources: cpus(has),
		Resources:          &v1.ResourceRequirements{Requests: cpus(has)},
	}}
	if reason != "" {
		pod.Status.Conditions = []v1.PodCondition{
			{Type: v1.PodResizePending, Status: v1.ConditionTrue, Reason: reason},
		}
	}
	requests := helpers.PodRequests(pod, helpers.PodResourcesOptions{UseStatusResources: true})
	cpu := requests[v1.ResourceCPU]
	fmt.Printf("%s: %s\n", what, cpu.String())
}

func main() {
	ask("4 to 8, Deferred", "8", "4", v1.PodReasonDeferred)
	ask("4 to 8, Infeasible", "8", "4", v1.PodReasonInfeasible)
	ask("4 to 2, not done yet", "2", "4", "")
}
E
go run . 2> log | tee seen || { cat log >&2; exit 1; }

cat > expected <<'E'
4 to 8, Deferred: 8
4 to 8, Infeasible: 4
4 to 2, not done yet: 4
E
diff -u expected seen

#!/usr/bin/env bash
# Package: Go module `k8s.io/component-helpers` v0.37.2, package resource (the kubelet, the quota controller
#   and `kubectl describe` add with it).
# Question: container a requests 1 CPU and is limited to 2, container b requests 4 and has no limit. What
#   are PodRequests and PodLimits of the pod?
# One would guess: 5, and no limit: the pod can take the whole node, and a limit below the request would be
#   absurd.
# Seen: 5 and 2, though the API server refuses such a pair in any one container. A pod's overhead is added
#   to that sum, yet not where there is no sum; a limited init container beside an unlimited main one makes
#   the pod limited to its number. What one derives from it is thus wrong for every pod limited in part; the
#   kubelet itself looks at each container's limit before it believes the sum.
# Why: AggregateContainerLimits sums and maximises whatever entries there are; a missing limit is a missing
#   key, which the sum of lists takes as nothing to add, not as infinity.
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
	if number == "" {
		return nil
	}
	return v1.ResourceList{v1.ResourceCPU: resource.MustParse(number)}
}

func container(request, limit string) v1.Container {
	return v1.Container{Resources: v1.ResourceRequirements{Requests: cpus(request), Limits: cpus(limit)}}
}

func of(list v1.ResourceList) string {
	cpu, found := list[v1.ResourceCPU]
	if !found {
		return "none"
	}
	return cpu.String()
}

func ask(what string, spec v1.PodSpec) {
	pod := &v1.Pod{Spec: spec}
	options := helpers.PodResourcesOptions{}
	requests, limits := helpers.PodRequests(pod, options), helpers.PodLimits(pod, options)
	fmt.Printf("%s: requests %s, limits %s\n", what, of(requests), of(limits))
}

func main() {
	both := []v1.Container{container("1", "2"), container("4", "")}
	none := []v1.Container{container("4", "")}
	ask("no limit", v1.PodSpec{Containers: none})
	ask("one of two limited", v1.PodSpec{Containers: both})
	ask("one of two limited, overhead", v1.PodSpec{Containers: both, Overhead: cpus("1")})
	ask("no limit, overhead", v1.PodSpec{Containers: none, Overhead: cpus("1")})
	ask("init container limited", v1.PodSpec{Containers: none, InitContainers: []v1.Container{container("1", "2")}})
}
E
go run . 2> log | tee seen || { cat log >&2; exit 1; }

cat > expected <<'E'
no limit: requests 4, limits none
one of two limited: requests 5, limits 2
one of two limited, overhead: requests 6, limits 3
no limit, overhead: requests 5, limits none
init container limited: requests 4, limits 2
E
diff -u expected seen

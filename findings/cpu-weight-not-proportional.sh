#!/usr/bin/env bash
# Package: Go module `github.com/opencontainers/cgroups` v0.1.0, beside v0.0.2 (runc's, and the kubelet's
#   own, cgroup code).
# Question: on cgroup v2, does a container that requests twice the CPUs of another get twice its weight, as
#   its cpu.shares are twice the other's?
# One would guess: yes: shares are made of requests in proportion, both files are relative weights, and up
#   to v0.0.2 it was so within rounding: 39 and 79 for 1 and 2 CPUs.
# Seen: 100 and 174; a quarter of a CPU has 35 and not a quarter of 100, 16 CPUs have 942 and not 1,600.
#   Small requests win what large ones lose whenever CPUs are scarce. The same request has had another
#   weight since v0.0.3, and two runtimes on either side of it differ by up to 4 times for the same pod.
# Why: ConvertCPUSharesToCgroupV2Value no longer maps the ranges [2, 262144] and [1, 10000] linearly but by
#   10 to the power of a quadratic function of log2(shares), made to hit the two ends and the two defaults,
#   1024 and 100. The kubelet's own conversion for a pod's cgroup (pkg/kubelet/cm of 1.37.2) is still the
#   linear one (read, not run here), so a pod of one container of 1 CPU has 39 among pods, and the container
#   in it 100.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOFLAGS=-mod=mod

cat > main.go <<'E'
package main

import (
	"fmt"

	"github.com/opencontainers/cgroups"
)

func main() {
	for _, milli := range []uint64{100, 250, 1000, 2000, 16000} {
		fmt.Printf("%dm: %d\n", milli, cgroups.ConvertCPUSharesToCgroupV2Value(milli*1024/1000))
	}
}
E
for version in v0.0.2 v0.1.0; do
    printf 'module ask\n\ngo 1.26.0\n\nrequire github.com/opencontainers/cgroups %s\n' "$version" > go.mod
    rm -f go.sum
    echo "$version"
    go run . 2> log || { cat log >&2; exit 1; }
done | tee seen

cat > expected <<'E'
v0.0.2
100m: 4
250m: 10
1000m: 39
2000m: 79
16000m: 625
v0.1.0
100m: 17
250m: 35
1000m: 100
2000m: 174
16000m: 942
E
diff -u expected seen

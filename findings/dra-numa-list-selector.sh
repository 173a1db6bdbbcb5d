#!/usr/bin/env bash
# Package: Go module `k8s.io/dynamic-resource-allocation` v0.37.2, cel (evaluates the selectors of device requests).
# Question: a DRA driver publishes the standard attribute resource.kubernetes.io/numaNode. With
#   DRAListTypeAttributes (alpha in v1.37) it may be a list, a device's own NUMA node first. Which selectors still
#   mean the same?
# One would guess: those written for the number fail with an error, or count for one of the nodes, as
#   matchAttribute's comparison does, which takes a number for a list of one.
# Seen: `== 0` and `in [0, 1]` are false without an error, so the device is never taken; `!= 1` is true for [1],
#   so the selector that should keep a node's devices out lets all of them in. `< 2` is an error, as are
#   `0 in numaNode` and `numaNode[0]` where a driver publishes the number, and by its source the allocator gives up
#   at an error, whatever other devices there are. includes() alone is right for number and list.
# Why: the attribute's type is dyn, so nothing is checked when the object is stored, and CEL compares values of
#   different types as unequal, where it has no overload of `<` or `in` for them. includes() is Kubernetes' own
#   function for both forms; it was added to the DRA environment with lists.
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
	k8s.io/dynamic-resource-allocation v0.37.2
)
E
cat > main.go <<'E'
package main

import (
	"context"
	"fmt"
	"strings"

	resourceapi "k8s.io/api/resource/v1"
	"k8s.io/dynamic-resource-allocation/cel"
	"k8s.io/dynamic-resource-allocation/deviceattribute"
)

var selectors = []string{
	"NUMA == 0", "NUMA != 1", "NUMA in [0, 1]", "NUMA < 2", "0 in NUMA", "NUMA[0] == 0", "NUMA.includes(0)",
	"!NUMA.includes(1)",
}

func number(node int64) resourceapi.DeviceAttribute { return resourceapi.DeviceAttribute{IntValue: &node} }

func list(nodes ...int64) resourceapi.DeviceAttribute { return resourceapi.DeviceAttribute{IntValues: nodes} }

func answer(selector string, numa resourceapi.DeviceAttribute) string {
	expression := strings.ReplaceAll(selector, "NUMA", `device.attributes["resource.kubernetes.io"].numaNode`)
	compiled := cel.GetCompiler(cel.Features{EnableListTypeAttributes: true}).CompileCELExpression(
		expression, cel.Options{})
	if compiled.Error != nil {
		return "does not compile"
	}
	matches, _, err := compiled.DeviceMatches(context.Background(), cel.Device{
		Driver: "gpu.example.com",
		Attributes: map[resourceapi.QualifiedName]resourceapi.DeviceAttribute{
			deviceattribute.StandardDeviceAttributeNUMANode: numa,
		},
	})
	if err != nil {
		return "error"
	}
	return fmt.Sprint(matches)
}

func main() {
	const row = "%-18s %-6s %-6s %-6s %-6s %s\n"
	fmt.Printf(row, "", "0", "1", "[0]", "[1]", "[0, 1]")
	for _, selector := range selectors {
		fmt.Printf(row, selector, answer(selector, number(0)), answer(selector, number(1)), answer(selector, list(0)),
			answer(selector, list(1)), answer(selector, list(0, 1)))
	}
}
E
go build -o ask . 2> log || { cat log >&2; exit 1; }
./ask | tee seen

cat > expected <<'E'
                   0      1      [0]    [1]    [0, 1]
NUMA == 0          true   false  false  false  false
NUMA != 1          true   false  true   true   true
NUMA in [0, 1]     true   true   false  false  false
NUMA < 2           true   true   error  error  error
0 in NUMA          error  error  true   false  true
NUMA[0] == 0       error  error  true   false  true
NUMA.includes(0)   true   false  true   false  true
!NUMA.includes(1)  true   false  true   false  false
E
diff -u expected seen

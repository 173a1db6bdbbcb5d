#!/usr/bin/env bash
# Package: Go module `k8s.io/dynamic-resource-allocation` v0.37.2, structured (the scheduler's allocator), with
#   consumable capacity (DRAConsumableCapacity, on by default since v1.36).
# Question: a GPU has allowMultipleAllocations and 40Gi of memory, of which each share takes 10Gi. A claim asks for
#   two shares: with one request of count 2, or with two requests of count 1. On which GPUs are they, if the node
#   has one such GPU, or two?
# One would guess: the two ways of writing it are the same, as they are for devices that are not shared; both shares
#   are on the one GPU, where there is room for four.
# Seen: count 2 needs two GPUs and fails on a node with one, however much memory that has. Two requests are both on
#   the first GPU, with a second one idle beside it. So count gives different devices always, and requests give
#   the same one as long as it has room; who wants two requests on two GPUs needs the constraint distinctAttribute.
# Why: within one request the search goes on behind the device it has just taken, so that it does not try the same
#   set in two orders. The next request begins again with the first device.
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
	k8s.io/dynamic-resource-allocation v0.37.2
)
E
cat > main.go <<'E'
package main

import (
	"context"
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	resourceapi "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/dynamic-resource-allocation/cel"
	"k8s.io/dynamic-resource-allocation/structured"
)

const driver = "example.com"

type class struct{ *resourceapi.DeviceClass }

func (c class) Get(string) (*resourceapi.DeviceClass, error) { return c.DeviceClass, nil }

func (c class) List() ([]*resourceapi.DeviceClass, error) {
	return []*resourceapi.DeviceClass{c.DeviceClass}, nil
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func gpu(number int, shared bool) resourceapi.Device {
	name, uuid, share := fmt.Sprintf("gpu-%d", number), fmt.Sprint(number), resource.MustParse("10Gi")
	one := resourceapi.Device{Name: name, Attributes: map[resourceapi.QualifiedName]resourceapi.DeviceAttribute{
		"uuid": {StringValue: &uuid},
	}}
	if shared {
		one.AllowMultipleAllocations = &shared
		one.Capacity = map[resourceapi.QualifiedName]resourceapi.DeviceCapacity{"memory": {
			Value: resource.MustParse("40Gi"),
			RequestPolicy: &resourceapi.CapacityRequestPolicy{
				Default: &share, ValidValues: []resource.Quantity{share},
			},
		}}
	}
	return one
}

// allocated tells the GPUs of each request of a claim.
func allocated(gpus []resourceapi.Device, distinct bool, counts ...int64) string {
	name := "here"
	slice := &resourceapi.ResourceSlice{Spec: resourceapi.ResourceSliceSpec{
		Driver: driver, NodeName: &name, Pool: resourceapi.ResourcePool{Name: name, ResourceSliceCount: 1},
		Devices: gpus,
	}}
	claim := &resourceapi.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Name: "claim", Namespace: "default"}}
	for i, count := range counts {
		claim.Spec.Devices.Requests = append(claim.Spec.Devices.Requests, resourceapi.DeviceRequest{
			Name: fmt.Sprintf("request-%d", i),
			Exactly: &resourceapi.ExactDeviceRequest{
				DeviceClassName: "any", AllocationMode: resourceapi.DeviceAllocationModeExactCount, Count: count,
			},
		})
	}
	if distinct {
		attribute := resourceapi.FullyQualifiedName(driver + "/uuid")
		claim.Spec.Devices.Constraints = []resourceapi.DeviceConstraint{{DistinctAttribute: &attribute}}
	}
	ctx := context.Background()
	allocator, err := structured.NewAllocator(ctx, structured.Features{ConsumableCapacity: true},
		structured.AllocatedState{AllocatedDevices: sets.New[structured.DeviceID]()},
		class{&resourceapi.DeviceClass{ObjectMeta: metav1.ObjectMeta{Name: "any"}}},
		[]*resourceapi.ResourceSlice{slice}, cel.NewCache(1, cel.Features{}))
	check(err)
	node := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	results, err := allocator.Allocate(ctx, node, []*resourceapi.ResourceClaim{claim})
	check(err)
	if len(results) == 0 {
		return "fails"
	}
	var devices []string
	for _, result := range results[0].Devices.Results {
		devices = append(devices, result.Device)
	}
	return strings.Join(devices, " and ")
}

func main() {
	for _, shared := range []bool{true, false} {
		one := []resourceapi.Device{gpu(0, shared)}
		two := append(one, gpu(1, shared))
		fmt.Println("shared:", shared)
		fmt.Println("  one GPU: count 2", allocated(one, false, 2)+", two requests", allocated(one, false, 1, 1))
		fmt.Println("  two GPUs: count 2", allocated(two, false, 2)+", two requests", allocated(two, false, 1, 1)+
			", distinct", allocated(two, true, 1, 1))
	}
}
E
go build -o ask . 2> log || { cat log >&2; exit 1; }
./ask | tee seen

cat > expected <<'E'
shared: true
  one GPU: count 2 fails, two requests gpu-0 and gpu-0
  two GPUs: count 2 gpu-0 and gpu-1, two requests gpu-0 and gpu-0, distinct gpu-0 and gpu-1
shared: false
  one GPU: count 2 fails, two requests fails
  two GPUs: count 2 gpu-0 and gpu-1, two requests gpu-0 and gpu-1, distinct gpu-0 and gpu-1
E
diff -u expected seen

#!/usr/bin/env bash
# Package: Go module `k8s.io/dynamic-resource-allocation` v0.37.2, deviceattribute (makes the standard attributes of
#   a driver's devices) and structured (the scheduler's allocator).
# Question: a claim asks for a GPU and a NIC with matchAttribute resource.kubernetes.io/numaNode. The drivers publish
#   it as a list (DRAListTypeAttributes, alpha in v1.37): the device's NUMA node and the nearest of the same socket.
#   A socket has three nodes, as Granite Rapids with SNC-3: 0 and 1 are 15 apart, 1 and 2 also, 0 and 2 are 17.
#   Which pairs match?
# One would guess: those on one node or on neighbours, so not 0 and 2, as neither has the other in its list.
# Seen: 0 and 2 match as well. Together with a third device of node 0 they still do; if that one's driver
#   publishes the number 0, all three are refused, though it is on the GPU's very node.
# Why: the constraint intersects the lists as sets, and [0, 1] and [2, 1] have 1 in common, where no device is. That
#   a device's own node comes first counts nowhere. A number is a set of one, and the set that three devices share is
#   smaller than the sets that any two of them do.
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
	"testing/fstest"

	v1 "k8s.io/api/core/v1"
	resourceapi "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/dynamic-resource-allocation/cel"
	"k8s.io/dynamic-resource-allocation/deviceattribute"
	"k8s.io/dynamic-resource-allocation/structured"
)

var distances = []string{
	"10 15 17 21 28 26", "15 10 15 23 26 23", "17 15 10 26 23 21", "21 28 26 10 15 17", "23 26 23 15 10 15",
	"26 23 21 17 15 10",
}

const driver, list, number = "example.com", deviceattribute.ListAttribute, deviceattribute.ScalarAttribute

type device struct {
	node int
	form deviceattribute.AttributeForm
}

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

func numa(of device) resourceapi.DeviceAttribute {
	sysfs := fstest.MapFS{}
	for node, row := range distances {
		cpu := fmt.Sprintf("devices/system/cpu/cpu%d/topology/physical_package_id", node)
		sysfs[cpu] = &fstest.MapFile{Data: fmt.Appendln(nil, node/3)}
		folder := fmt.Sprintf("devices/system/node/node%d/", node)
		sysfs[folder+"cpulist"] = &fstest.MapFile{Data: fmt.Appendln(nil, node)}
		sysfs[folder+"distance"] = &fstest.MapFile{Data: []byte(row + "\n")}
	}
	attribute, err := deviceattribute.GetNUMANodeAttribute(of.node, of.form, deviceattribute.WithFS(sysfs))
	check(err)
	return attribute.Value
}

// together tells whether a claim for all of the devices, with one numaNode, is allocated.
func together(devices ...device) bool {
	name, attribute := "here", resourceapi.FullyQualifiedName(deviceattribute.StandardDeviceAttributeNUMANode)
	slice := &resourceapi.ResourceSlice{Spec: resourceapi.ResourceSliceSpec{
		Driver: driver, NodeName: &name, Pool: resourceapi.ResourcePool{Name: name, ResourceSliceCount: 1},
	}}
	claim := &resourceapi.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Name: "claim", Namespace: "default"}}
	claim.Spec.Devices.Constraints = []resourceapi.DeviceConstraint{{MatchAttribute: &attribute}}
	for i, one := range devices {
		slice.Spec.Devices = append(slice.Spec.Devices, resourceapi.Device{
			Name: fmt.Sprintf("device-%d", i),
			Attributes: map[resourceapi.QualifiedName]resourceapi.DeviceAttribute{
				deviceattribute.StandardDeviceAttributeNUMANode: numa(one),
			},
		})
		claim.Spec.Devices.Requests = append(claim.Spec.Devices.Requests, resourceapi.DeviceRequest{
			Name: fmt.Sprintf("request-%d", i),
			Exactly: &resourceapi.ExactDeviceRequest{
				DeviceClassName: "any", AllocationMode: resourceapi.DeviceAllocationModeExactCount, Count: 1,
			},
		})
	}
	ctx := context.Background()
	allocator, err := structured.NewAllocator(ctx, structured.Features{ListTypeAttributes: true},
		structured.AllocatedState{AllocatedDevices: sets.New[structured.DeviceID]()},
		class{&resourceapi.DeviceClass{ObjectMeta: metav1.ObjectMeta{Name: "any"}}},
		[]*resourceapi.ResourceSlice{slice}, cel.NewCache(1, cel.Features{EnableListTypeAttributes: true}))
	check(err)
	node := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	results, err := allocator.Allocate(ctx, node, []*resourceapi.ResourceClaim{claim})
	check(err)
	return len(results) == 1
}

func main() {
	for node := range 4 {
		fmt.Println("node", node, "is published as", numa(device{node, list}).IntValues)
	}
	for _, other := range []int{0, 1, 2, 3} {
		fmt.Println("0 and", other, together(device{0, list}, device{other, list}))
	}
	fmt.Println("0, 2 and 0", together(device{0, list}, device{2, list}, device{0, list}))
	fmt.Println("0, 2 and the number 0", together(device{0, list}, device{2, list}, device{0, number}))
	fmt.Println("0 and the number 0", together(device{0, list}, device{0, number}))
}
E
go build -o ask . 2> log || { cat log >&2; exit 1; }
./ask | tee seen

cat > expected <<'E'
node 0 is published as [0 1]
node 1 is published as [1 0 2]
node 2 is published as [2 1]
node 3 is published as [3 4]
0 and 0 true
0 and 1 true
0 and 2 true
0 and 3 false
0, 2 and 0 true
0, 2 and the number 0 false
0 and the number 0 true
E
diff -u expected seen

#!/usr/bin/env bash
# Package: Go module `k8s.io/dynamic-resource-allocation` v0.37.2, deviceclass/extendedresourcecache (by which the
#   scheduler, the kubelet and quotas know the DeviceClass of an extended resource; on by default since v1.36).
# Question: two DeviceClasses name one extendedResourceName, as while one replaces the other. The newer counts, says
#   the package. What counts when the older one is deleted, changed, or met last?
# One would guess: still the newer one; and each class has the resource deviceclass.resource.kubernetes.io/NAME.
# Seen: once the older class is deleted no class serves the resource, though the newer one is there. Met after the
#   newer one, the older class has not even the resource of its own name. And a class that is updated stays what it
#   was before: it meets itself, as old as itself, and gives way.
# Why: deleting takes the name out of the map whoever has it, and what gives way returns before its own name is
#   put in.
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
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	resourceapi "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/dynamic-resource-allocation/deviceclass/extendedresourcecache"
	"k8s.io/klog/v2"
)

const gpu = "example.com/gpu"

func class(name string, minute int, driver string) *resourceapi.DeviceClass {
	resource, expression := gpu, fmt.Sprintf("device.driver == %q", driver)
	return &resourceapi.DeviceClass{
		ObjectMeta: metav1.ObjectMeta{
			Name:              name,
			CreationTimestamp: metav1.NewTime(time.Date(2026, 11, 30, 12, minute, 0, 0, time.UTC)),
		},
		Spec: resourceapi.DeviceClassSpec{
			ExtendedResourceName: &resource,
			Selectors: []resourceapi.DeviceSelector{
				{CEL: &resourceapi.CELDeviceSelector{Expression: expression}},
			},
		},
	}
}

func known(classes ...*resourceapi.DeviceClass) *extendedresourcecache.ExtendedResourceCache {
	made := extendedresourcecache.NewExtendedResourceCache(klog.Logger{})
	for _, one := range classes {
		made.OnAdd(one, true)
	}
	return made
}

func show(what string, cache *extendedresourcecache.ExtendedResourceCache) {
	served := func(resource string) string {
		found := cache.GetDeviceClass(v1.ResourceName(resource))
		if found == nil {
			return "nobody"
		}
		return found.Name + ", " + found.Spec.Selectors[0].CEL.Expression
	}
	own := served(resourceapi.ResourceDeviceClassPrefix + "older")
	fmt.Printf("%s\n  %s: %s\n  the older one's own: %s\n", what, gpu, served(gpu), own)
}

func main() {
	older, newer := class("older", 1, "a"), class("newer", 2, "a")
	cache := known(older, newer)
	show("both", cache)
	cache.OnDelete(older)
	show("the older one deleted", cache)
	show("both, the older one met last", known(newer, older))
	cache = known(older, newer)
	cache.OnUpdate(newer, class("newer", 2, "b"))
	show("the newer one selects driver b now", cache)
}
E
go build -o ask . 2> log || { cat log >&2; exit 1; }
./ask | tee seen

cat > expected <<'E'
both
  example.com/gpu: newer, device.driver == "a"
  the older one's own: older, device.driver == "a"
the older one deleted
  example.com/gpu: nobody
  the older one's own: nobody
both, the older one met last
  example.com/gpu: newer, device.driver == "a"
  the older one's own: nobody
the newer one selects driver b now
  example.com/gpu: newer, device.driver == "a"
  the older one's own: older, device.driver == "a"
E
diff -u expected seen

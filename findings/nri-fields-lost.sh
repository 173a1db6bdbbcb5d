#!/usr/bin/env bash
# Package: Go module `github.com/containerd/nri` v0.12.5, pkg/adaptation (collects what plugins want) and
#   pkg/runtime-tools/generate (writes it to the OCI spec), both of the runtime's side.
# Question: a plugin sets resources of a container: in CreateContainer, and for a running one in UpdateContainer. NRI
#   has a setter for each field in both. Which arrive?
# One would guess: all of them, or an error for what the runtime cannot do.
# Seen: of the memory fields the limit alone reaches the OCI spec of a new container, and it sets the swap limit, too,
#   to the same number, even if the plugin asks for another. Reservation, swap and swappiness are dropped without a
#   word; yet a second plugin that sets swap as well is refused for a conflict. In an update it is the other way
#   round: all memory fields arrive, and the limit for PIDs, which a new container gets, is dropped.
# Why: the adaptation collects all fields and their owners, but the generator's AdjustResources reads of Memory only
#   the limit, and its interface has no method for the others. The code that merges updates looks for PIDs in the
#   resources it has collected so far, where none can be, and not in what the plugin sent.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOFLAGS=-mod=mod

cat > go.mod <<'E'
module ask

go 1.26.0

require (
	github.com/containerd/nri v0.12.5
	github.com/opencontainers/runtime-spec v1.3.0
)
E
cat > main.go <<'E'
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/containerd/nri/pkg/adaptation"
	"github.com/containerd/nri/pkg/adaptation/builtin"
	"github.com/containerd/nri/pkg/api"
	"github.com/containerd/nri/pkg/runtime-tools/generate"
	oci "github.com/opencontainers/runtime-spec/specs-go"
)

// resources are what ContainerAdjustment and ContainerUpdate can both set.
type resources interface {
	SetLinuxMemoryLimit(int64)
	SetLinuxMemoryReservation(int64)
	SetLinuxMemorySwap(int64)
	SetLinuxMemorySwappiness(uint64)
	SetLinuxPidLimits(int64)
	SetLinuxCPUQuota(int64)
	SetLinuxCPUSetCPUs(string)
}

type change func(resources)

// written stands for the runtime's own generator, with the methods that are of use here.
type written struct {
	generate.UnderlyingGenerator
	spec *oci.Spec
}

func (w written) Spec() *oci.Spec { return w.spec }

func (w written) SetLinuxResourcesCPUQuota(quota int64) { w.spec.Linux.Resources.CPU.Quota = &quota }

func (w written) SetLinuxResourcesCPUCpus(cpus string) { w.spec.Linux.Resources.CPU.Cpus = cpus }

func (w written) SetLinuxResourcesMemoryLimit(limit int64) {
	w.spec.Linux.Resources.Memory.Limit = &limit
}

func (w written) SetLinuxResourcesMemorySwap(swap int64) { w.spec.Linux.Resources.Memory.Swap = &swap }

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func plugin(index string, change change) *builtin.BuiltinPlugin {
	create := func(context.Context, *api.CreateContainerRequest) (*api.CreateContainerResponse, error) {
		adjustment := &api.ContainerAdjustment{}
		change(adjustment)
		return &api.CreateContainerResponse{Adjust: adjustment}, nil
	}
	update := func(_ context.Context, request *api.UpdateContainerRequest) (*api.UpdateContainerResponse, error) {
		update := &api.ContainerUpdate{}
		update.SetContainerId(request.Container.Id)
		change(update)
		return &api.UpdateContainerResponse{Update: []*api.ContainerUpdate{update}}, nil
	}
	return &builtin.BuiltinPlugin{Base: "plugin", Index: index, Handlers: builtin.BuiltinHandlers{
		CreateContainer: create, UpdateContainer: update,
	}}
}

func text(value any) string {
	content, err := json.Marshal(value)
	must(err)
	return string(content)
}

func created(runtime *adaptation.Adaptation) string {
	response, err := runtime.CreateContainer(context.Background(), &adaptation.CreateContainerRequest{
		Pod: &api.PodSandbox{Id: "pod"}, Container: &api.Container{Id: "new"},
	})
	if err != nil {
		return "refused"
	}
	resources := &oci.LinuxResources{CPU: &oci.LinuxCPU{}, Memory: &oci.LinuxMemory{}}
	spec := &oci.Spec{Linux: &oci.Linux{Resources: resources}}
	must(generate.SpecGenerator(written{spec: spec}).Adjust(response.Adjust))
	return text(resources)
}

func updated(runtime *adaptation.Adaptation) string {
	response, err := runtime.UpdateContainer(context.Background(), &adaptation.UpdateContainerRequest{
		Pod: &api.PodSandbox{Id: "pod"}, Container: &api.Container{Id: "old"},
	})
	if err != nil {
		return "refused"
	}
	return text(response.Update[0].Linux.Resources.ToOCI())
}

func ask(what string, changes ...change) {
	folder, err := os.MkdirTemp("", "nri")
	must(err)
	defer os.RemoveAll(folder)
	var plugins []*builtin.BuiltinPlugin
	for i, change := range changes {
		plugins = append(plugins, plugin(fmt.Sprintf("%d0", i+1), change))
	}
	runtime, err := adaptation.New("ask", "v1", func(ctx context.Context, synchronize adaptation.SyncCB) error {
		_, err := synchronize(ctx, nil, nil)
		return err
	}, func(context.Context, []*adaptation.ContainerUpdate) ([]*adaptation.ContainerUpdate, error) {
		return nil, nil
	}, adaptation.WithBuiltinPlugins(plugins...), adaptation.WithDisabledExternalConnections(),
		adaptation.WithPluginPath(folder), adaptation.WithPluginConfigPath(folder))
	must(err)
	must(runtime.Start())
	defer runtime.Stop()
	fmt.Printf("%s\n  new: %s\n  old: %s\n", what, created(runtime), updated(runtime))
}

func main() {
	swap := func(r resources) { r.SetLinuxMemorySwap(3000) }
	ask("CPU", func(r resources) { r.SetLinuxCPUQuota(50000); r.SetLinuxCPUSetCPUs("0-3") })
	ask("memory limit 1000", func(r resources) { r.SetLinuxMemoryLimit(1000) })
	ask("memory limit 1000, swap 3000", func(r resources) { r.SetLinuxMemoryLimit(1000); swap(r) })
	ask("reservation 500, swappiness 0", func(r resources) {
		r.SetLinuxMemoryReservation(500)
		r.SetLinuxMemorySwappiness(0)
	})
	ask("swap 3000 by two plugins", swap, swap)
	ask("PIDs 100", func(r resources) { r.SetLinuxPidLimits(100) })
}
E
go build -o ask -tags nri_no_wasm . 2> log || { cat log >&2; exit 1; }
./ask 2> log | tee seen || { cat log >&2; exit 1; }

cat > expected <<'E'
CPU
  new: {"memory":{},"cpu":{"quota":50000,"cpus":"0-3"}}
  old: {"memory":{},"cpu":{"quota":50000,"cpus":"0-3"}}
memory limit 1000
  new: {"memory":{"limit":1000,"swap":1000},"cpu":{}}
  old: {"memory":{"limit":1000},"cpu":{}}
memory limit 1000, swap 3000
  new: {"memory":{"limit":1000,"swap":1000},"cpu":{}}
  old: {"memory":{"limit":1000,"swap":3000},"cpu":{}}
reservation 500, swappiness 0
  new: {"memory":{},"cpu":{}}
  old: {"memory":{"reservation":500,"swappiness":0},"cpu":{}}
swap 3000 by two plugins
  new: refused
  old: refused
PIDs 100
  new: {"memory":{},"cpu":{},"pids":{"limit":100}}
  old: {"memory":{},"cpu":{}}
E
diff -u expected seen

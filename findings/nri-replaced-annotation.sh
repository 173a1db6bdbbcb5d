#!/usr/bin/env bash
# Package: Go module `github.com/containerd/nri` v0.12.5, pkg/adaptation (collects what plugins want) and
#   pkg/runtime-tools/generate (writes it to the OCI spec), both of the runtime's side.
# Question: plugin 10 sets an annotation of the container. Plugin 20 wants another value and does what NRI asks of
#   whoever overrides another plugin: RemoveAnnotation, then AddAnnotation. What has the OCI spec?
# One would guess: plugin 20's value, as for a mount that is replaced in the same way.
# Seen: plugin 20's value in about one container of eight, and no annotation at all in the others; the same container,
#   created again, may have the other outcome. Where one plugin alone removes and adds, the odds are the other way
#   round, and a sysctl is lost like an annotation. Without the removal plugin 20 is refused, as it should be.
# Why: the result of the plugins is one map with two keys, "-name" for the removal and "name" for the value, and the
#   generator applies them as it comes upon them. Go iterates over a map in random order, so the removal may come
#   last. Mounts are a list in which the removal of what is added again is left out.
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
	"fmt"
	"os"
	"slices"

	"github.com/containerd/nri/pkg/adaptation"
	"github.com/containerd/nri/pkg/adaptation/builtin"
	"github.com/containerd/nri/pkg/api"
	"github.com/containerd/nri/pkg/runtime-tools/generate"
	oci "github.com/opencontainers/runtime-spec/specs-go"
)

type adjust func(*api.ContainerAdjustment)

// written stands for the runtime's own generator, with the methods that are of use here.
type written struct {
	generate.UnderlyingGenerator
	spec *oci.Spec
}

func (w written) Spec() *oci.Spec { return w.spec }

func (w written) AddAnnotation(key, value string) { w.spec.Annotations[key] = value }

func (w written) RemoveAnnotation(key string) { delete(w.spec.Annotations, key) }

func (w written) AddLinuxSysctl(key, value string) { w.spec.Linux.Sysctl[key] = value }

func (w written) RemoveLinuxSysctl(key string) { delete(w.spec.Linux.Sysctl, key) }

func (w written) AddMount(mount oci.Mount) { w.spec.Mounts = append(w.spec.Mounts, mount) }

func (w written) RemoveMount(destination string) {
	w.spec.Mounts = slices.DeleteFunc(w.spec.Mounts, func(m oci.Mount) bool { return m.Destination == destination })
}

func (w written) Mounts() []oci.Mount { return w.spec.Mounts }

func (w written) ClearMounts() { w.spec.Mounts = nil }

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func plugin(index string, change adjust) *builtin.BuiltinPlugin {
	create := func(context.Context, *api.CreateContainerRequest) (*api.CreateContainerResponse, error) {
		adjustment := &api.ContainerAdjustment{}
		change(adjustment)
		return &api.CreateContainerResponse{Adjust: adjustment}, nil
	}
	return &builtin.BuiltinPlugin{
		Base: "plugin", Index: index, Handlers: builtin.BuiltinHandlers{CreateContainer: create},
	}
}

// ask creates 300 containers with these plugins and says what values they got.
func ask(what string, read func(*oci.Spec) string, changes ...adjust) {
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

	seen := map[string]bool{}
	for range 300 {
		response, err := runtime.CreateContainer(context.Background(), &adaptation.CreateContainerRequest{
			Pod: &api.PodSandbox{Id: "pod"}, Container: &api.Container{Id: "container"},
		})
		if err != nil {
			seen["refused"] = true
			continue
		}
		spec := &oci.Spec{Annotations: map[string]string{}, Linux: &oci.Linux{Sysctl: map[string]string{}}}
		must(generate.SpecGenerator(written{spec: spec}).Adjust(response.Adjust))
		seen[read(spec)] = true
	}
	fmt.Printf("%s: %v\n", what, seen) // fmt prints a map in the order of its keys
}

func annotation(value string, remove bool) adjust {
	return func(a *api.ContainerAdjustment) {
		if remove {
			a.RemoveAnnotation("class")
		}
		a.AddAnnotation("class", value)
	}
}

func sysctl(value string, remove bool) adjust {
	return func(a *api.ContainerAdjustment) {
		a.SetLinuxSysctl("net.core.somaxconn", value)
		if remove {
			a.Linux.Sysctl[api.MarkForRemoval("net.core.somaxconn")] = ""
		}
	}
}

func mount(source string, remove bool) adjust {
	return func(a *api.ContainerAdjustment) {
		if remove {
			a.RemoveMount("/data")
		}
		a.AddMount(&api.Mount{Destination: "/data", Source: source, Type: "bind"})
	}
}

func main() {
	annotations := func(spec *oci.Spec) string { return fmt.Sprint(spec.Annotations) }
	sysctls := func(spec *oci.Spec) string { return fmt.Sprint(spec.Linux.Sysctl) }
	mounts := func(spec *oci.Spec) string { return spec.Mounts[0].Source }
	ask("annotation, set", annotations, annotation("first", false))
	ask("annotation, set twice", annotations, annotation("first", false), annotation("second", false))
	ask("annotation, replaced", annotations, annotation("first", false), annotation("second", true))
	ask("annotation, removed and set by one", annotations, annotation("only", true))
	ask("sysctl, replaced", sysctls, sysctl("1", false), sysctl("2", true))
	ask("mount, replaced", mounts, mount("/first", false), mount("/second", true))
}
E
go build -o ask -tags nri_no_wasm . 2> log || { cat log >&2; exit 1; }
./ask 2> log | tee seen || { cat log >&2; exit 1; }

cat > expected <<'E'
annotation, set: map[map[class:first]:true]
annotation, set twice: map[refused:true]
annotation, replaced: map[map[]:true map[class:second]:true]
annotation, removed and set by one: map[map[]:true map[class:only]:true]
sysctl, replaced: map[map[]:true map[net.core.somaxconn:2]:true]
mount, replaced: map[/second:true]
E
diff -u expected seen

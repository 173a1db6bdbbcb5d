#!/usr/bin/env bash
# Packages: Go modules `github.com/containerd/cgroups/v3` v3.1.3, cgroup2 (ToResources and NewManager), beside
#   `github.com/opencontainers/cgroups` v0.1.0, fs2 (runc's and the kubelet's), both for cgroup v2.
# Question: an agent has resources as the OCI runtime specification writes them and gives them to either library:
#   a quota of 150 ms and no period; then "no limit", -1, for quota, memory and PIDs; then 1 GiB of memory with
#   unlimited swap. What stands in the files?
# One would guess: the same. A period that is not set is the kernel's 100 ms, and -1 is the file's "max".
# Seen: containerd's writes no cpu.max at all for the quota, so it is no limit, without an error. It writes -1 to
#   cpu.max and memory.max, where the kernel takes a number from 0 on or "max", and "max" for PIDs alone. Unlimited
#   swap beside a limit of memory becomes -1073741825 in memory.swap.max. runc's library has the files one expects.
# Why: cpu.max is made only if there is a period, the quota is optional to it. Numbers are formatted as they come, and
#   swap is always the difference of the two limits, as if -1 were a number of bytes.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOFLAGS=-mod=mod

cat > go.mod <<'E'
module ask

go 1.26.0

require (
	github.com/containerd/cgroups/v3 v3.1.3
	github.com/opencontainers/cgroups v0.1.0
)
E
cat > main.go <<'E'
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/cgroups/v3/cgroup2"
	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/fs2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

var files = []string{"cpu.max", "memory.max", "memory.swap.max", "pids.max"}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// folder is a cgroup filesystem of ordinary files.
func folder(names ...string) string {
	path, err := os.MkdirTemp("", "cgroup")
	check(err)
	for _, name := range names {
		check(os.WriteFile(filepath.Join(path, name), nil, 0o644))
	}
	return path
}

func show(whose, path string) {
	fmt.Printf("  %s:", whose)
	for _, name := range files {
		content, err := os.ReadFile(filepath.Join(path, name))
		if err == nil && len(content) > 0 {
			fmt.Printf(" %s %q", name, content)
		}
	}
	fmt.Println()
}

func containerds(oci *specs.LinuxResources) {
	path := folder("cgroup.subtree_control")
	defer os.RemoveAll(path)
	_, err := cgroup2.NewManager(path, "/pod", cgroup2.ToResources(oci))
	check(err)
	show("containerd's", filepath.Join(path, "pod"))
}

func runcs(oci *specs.LinuxResources) {
	path := folder(append(files, "cgroup.controllers")...)
	defer os.RemoveAll(path)
	manager, err := fs2.NewManager(&cgroups.Cgroup{}, path)
	check(err)
	resources := &cgroups.Resources{}
	if cpu := oci.CPU; cpu != nil {
		resources.CpuQuota = *cpu.Quota
		if cpu.Period != nil {
			resources.CpuPeriod = *cpu.Period
		}
	}
	if memory := oci.Memory; memory != nil {
		resources.Memory = *memory.Limit
		if memory.Swap != nil {
			resources.MemorySwap = *memory.Swap
		}
	}
	if oci.Pids != nil {
		resources.PidsLimit = oci.Pids.Limit
	}
	check(manager.Set(resources))
	show("runc's", path)
}

func ask(what string, oci *specs.LinuxResources) {
	fmt.Println(what)
	containerds(oci)
	runcs(oci)
}

func main() {
	cgroups.TestMode = true
	quota, none, gibibyte, period := int64(150000), int64(-1), int64(1<<30), uint64(100000)
	ask("a quota alone", &specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: &quota}})
	ask("with a period", &specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: &quota, Period: &period}})
	ask("no limits", &specs.LinuxResources{
		CPU: &specs.LinuxCPU{Quota: &none, Period: &period}, Memory: &specs.LinuxMemory{Limit: &none},
		Pids: &specs.LinuxPids{Limit: &none},
	})
	ask("memory limited, swap not", &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &gibibyte, Swap: &none}})
}
E
go build -o ask . 2> log || { cat log >&2; exit 1; }
./ask | tee seen

cat > expected <<'E'
a quota alone
  containerd's:
  runc's: cpu.max "150000 100000"
with a period
  containerd's: cpu.max "150000 100000"
  runc's: cpu.max "150000 100000"
no limits
  containerd's: cpu.max "-1 100000" memory.max "-1" pids.max "max"
  runc's: cpu.max "max 100000" memory.max "max" memory.swap.max "max" pids.max "max"
memory limited, swap not
  containerd's: memory.max "1073741824" memory.swap.max "-1073741825"
  runc's: memory.max "1073741824" memory.swap.max "max"
E
diff -u expected seen

#!/usr/bin/env bash
# Package: Go module `github.com/opencontainers/cgroups` v0.1.0 (the kubelet's and runc's cgroup code), the managers
#   of cgroup v2 and v1.
# Question: a cgroup has a quota of 20 ms in a period of 50 ms, 0.4 CPUs. Set is called with the period alone, 25 ms;
#   what is not in the Resources is left as it is elsewhere (weight, CPU set, memory). How many CPUs are allowed now?
# One would guess: 0.8, the quota that it has in the new period; on cgroup v1 it is so.
# Seen: all of them. On v2 cpu.max becomes "max 25000": the limit is gone, without an error. The quota alone, 30 ms,
#   is written with a period of 100 ms and allows 0.3 CPUs, less than before, where v1 allows 0.6.
# Why: v1 has a file for each and writes what is set. v2 has one file for both, and setCPU fills in for what is not
#   set the kernel's defaults, max and 100 ms, instead of what the file holds. So whoever changes one of the two has
#   to send both, as runc's own `update` does from the container's stored configuration (read, not run here).
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOFLAGS=-mod=mod

cat > go.mod <<'E'
module ask

go 1.26.0

require github.com/opencontainers/cgroups v0.1.0
E
cat > main.go <<'E'
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/fs"
	"github.com/opencontainers/cgroups/fs2"
)

var both = cgroups.Resources{CpuQuota: 20000, CpuPeriod: 50000}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// folder is a cgroup's directory of ordinary files, as the module's own tests make it.
func folder(names ...string) string {
	path, err := os.MkdirTemp("", "cgroup")
	check(err)
	for _, name := range names {
		check(os.WriteFile(filepath.Join(path, name), nil, 0o644))
	}
	return path
}

func read(path, name string) string {
	content, err := os.ReadFile(filepath.Join(path, name))
	check(err)
	return strings.TrimSpace(string(content))
}

func v2(update cgroups.Resources) string {
	path := folder("cgroup.controllers", "cpu.max")
	defer os.RemoveAll(path)
	manager, err := fs2.NewManager(&cgroups.Cgroup{}, path)
	check(err)
	for _, resources := range []cgroups.Resources{both, update} {
		check(manager.Set(&resources))
	}
	return "cpu.max " + read(path, "cpu.max")
}

func v1(update cgroups.Resources) string {
	path := folder("cpu.cfs_quota_us", "cpu.cfs_period_us")
	defer os.RemoveAll(path)
	group := &fs.CpuGroup{}
	for _, resources := range []cgroups.Resources{both, update} {
		check(group.Set(path, &resources))
	}
	return "cfs_quota_us " + read(path, "cpu.cfs_quota_us") + ", cfs_period_us " + read(path, "cpu.cfs_period_us")
}

func main() {
	cgroups.TestMode = true
	period, quota := cgroups.Resources{CpuPeriod: 25000}, cgroups.Resources{CpuQuota: 30000}
	fmt.Println("both set:", v2(both))
	fmt.Println("the period alone:", v2(period)+";", v1(period))
	fmt.Println("the quota alone:", v2(quota)+";", v1(quota))
}
E
go run . 2> log | tee seen || { cat log >&2; exit 1; }

cat > expected <<'E'
both set: cpu.max 20000 50000
the period alone: cpu.max max 25000; cfs_quota_us 20000, cfs_period_us 25000
the quota alone: cpu.max 30000 100000; cfs_quota_us 30000, cfs_period_us 50000
E
diff -u expected seen

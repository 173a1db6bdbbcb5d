#!/usr/bin/env bash
# Package: Go module `github.com/jaypipes/ghw` v0.27.0, package topology, on Linux.
# Question: two NUMA nodes, whose cores have 48 KiB of L1 cache for data and 32 KiB for instructions. Node 0 has 512
#   huge pages of 2 MiB, node 1 has none. What do the two nodes' Caches and Memory say?
# One would guess: 48 KiB for the data cache; TotalHugePageBytes of 1 GiB and of 0, for the field is in the node's own
#   Memory.
# Seen: 32 KiB for both L1 caches, and 1 GiB for both nodes: who adds the nodes up takes huge pages of 2 GiB from a
#   machine that has 1. HugePageAmountsBySize is right for each node.
# Why: a cache's size is read from the directory index<level> instead of the cache's own: the L1 data cache has index
#   0, so level 1 is that of the instruction cache, while index 2 and 3 happen to be L2 and L3. And AreaForNode takes
#   `Hugetlb` from /proc/meminfo, since a node's meminfo has no such line.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOFLAGS=-mod=mod

cat > go.mod <<'E'
module ask

go 1.26.0

require github.com/jaypipes/ghw v0.27.0
E
cat > main.go <<'E'
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/jaypipes/ghw/pkg/option"
	"github.com/jaypipes/ghw/pkg/topology"
)

const page = 2 << 20

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func write(path, content string) {
	check(os.MkdirAll(filepath.Dir(path), 0o755))
	check(os.WriteFile(path, []byte(content+"\n"), 0o644))
}

// cpu writes one CPU of the node, with caches of its own.
func cpu(node string, number int) {
	path := filepath.Join(node, fmt.Sprintf("cpu%d", number))
	write(filepath.Join(path, "topology/core_id"), fmt.Sprint(number))
	for index, cache := range []struct {
		level int
		kind  string
		size  string
	}{{1, "Data", "48K"}, {1, "Instruction", "32K"}, {2, "Unified", "2048K"}, {3, "Unified", "8192K"}} {
		folder := filepath.Join(path, fmt.Sprintf("cache/index%d", index))
		write(filepath.Join(folder, "level"), fmt.Sprint(cache.level))
		write(filepath.Join(folder, "type"), cache.kind)
		write(filepath.Join(folder, "size"), cache.size)
		write(filepath.Join(folder, "id"), fmt.Sprint(number))
	}
}

func main() {
	root, err := os.MkdirTemp("", "machine")
	check(err)
	defer os.RemoveAll(root)
	system := filepath.Join(root, "sys/devices/system")
	write(filepath.Join(root, "proc/meminfo"), fmt.Sprintf(
		"MemTotal: 8388608 kB\nHugepagesize: 2048 kB\nHugetlb: %d kB", 512*page/1024))
	write(filepath.Join(system, "memory/block_size_bytes"), "8000000")
	for number, pages := range []int{512, 0} {
		node := filepath.Join(system, fmt.Sprintf("node/node%d", number))
		write(filepath.Join(node, "meminfo"), fmt.Sprintf("Node %d MemTotal: 4194304 kB", number))
		write(filepath.Join(node, "distance"), []string{"10 21", "21 10"}[number])
		write(filepath.Join(node, "hugepages/hugepages-2048kB/nr_hugepages"), fmt.Sprint(pages))
		cpu(node, number)
	}
	info, err := topology.New(option.WithChroot(root))
	check(err)
	for _, node := range info.Nodes {
		fmt.Printf("node %d:", node.ID)
		for _, cache := range node.Caches {
			fmt.Printf(" L%d %s %d KiB,", cache.Level, cache.Type, cache.SizeBytes/1024)
		}
		fmt.Printf(" %d MiB in huge pages, %d pages\n",
			node.Memory.TotalHugePageBytes>>20, node.Memory.HugePageAmountsBySize[page].Total)
	}
}
E
go run . 2> log | tee seen || { cat log >&2; exit 1; }

cat > expected <<'E'
node 0: L1 Instruction 32 KiB, L1 Data 32 KiB, L2 Unified 2048 KiB, L3 Unified 8192 KiB, 1024 MiB in huge pages, 512 pages
node 1: L1 Instruction 32 KiB, L1 Data 32 KiB, L2 Unified 2048 KiB, L3 Unified 8192 KiB, 1024 MiB in huge pages, 0 pages
E
diff -u expected seen

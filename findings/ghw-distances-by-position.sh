#!/usr/bin/env bash
# Package: Go module `github.com/jaypipes/ghw` v0.27.0, package topology, on Linux.
# Question: 12 NUMA nodes, six in each socket (a node per L3 cache, a common firmware setting). Info.Nodes has one
#   entry per node, and each has Distances. How far is it from Nodes[i] to Nodes[j]?
# One would guess: Nodes[i].Distances[j]: both lists have 12 entries, and up to 10 nodes it is so.
# Seen: not with 11 nodes and more. Nodes[2] is node 10, of the other socket, and Nodes[0].Distances[2] is the 12 of
#   node 2, of the same one; the distance of a node to itself, 10, stands at another position in all but two entries.
#   Distances[Nodes[j].ID] is right here, but not where a number is missing: of nodes 0 and 8 each has two distances.
#   So: sort Nodes by ID first, then take the position.
# Why: Nodes come in the order of the directories' names, in which node10 is before node2. The kernel's file
#   `distance` has one column for each node that is online, in the order of their numbers, and is kept as it is.
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
	"strings"

	"github.com/jaypipes/ghw/pkg/option"
	"github.com/jaypipes/ghw/pkg/topology"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func write(path, content string) {
	check(os.MkdirAll(filepath.Dir(path), 0o755))
	check(os.WriteFile(path, []byte(content+"\n"), 0o644))
}

// machine writes what the kernel shows of a machine with these nodes, and reads it with ghw.
func machine(nodes []int, distance func(a, b int) int) []*topology.Node {
	root, err := os.MkdirTemp("", "machine")
	check(err)
	defer os.RemoveAll(root)
	system := filepath.Join(root, "sys/devices/system")
	write(filepath.Join(root, "proc/meminfo"), "MemTotal: 4096 kB\nHugepagesize: 2048 kB\nHugetlb: 0 kB")
	write(filepath.Join(system, "memory/block_size_bytes"), "100000")
	for _, a := range nodes {
		node := filepath.Join(system, fmt.Sprintf("node/node%d", a))
		var row []string
		for _, b := range nodes {
			row = append(row, fmt.Sprint(distance(a, b)))
		}
		write(filepath.Join(node, "distance"), strings.Join(row, " "))
		write(filepath.Join(node, "meminfo"), fmt.Sprintf("Node %d MemTotal: 1024 kB", a))
		write(filepath.Join(node, "hugepages/hugepages-2048kB/nr_hugepages"), "0")
		write(filepath.Join(node, fmt.Sprintf("cpu%d/topology/core_id", a)), fmt.Sprint(a))
	}
	info, err := topology.New(option.WithChroot(root))
	check(err)
	return info.Nodes
}

func sockets(a, b int) int {
	switch {
	case a == b:
		return 10
	case a/6 == b/6:
		return 12
	}
	return 32
}

func main() {
	for _, count := range []int{10, 12} {
		var numbers []int
		for number := range count {
			numbers = append(numbers, number)
		}
		nodes := machine(numbers, sockets)
		var order []int
		right := 0
		for i, a := range nodes {
			order = append(order, a.ID)
			for j, b := range nodes {
				if nodes[i].Distances[j] == sockets(a.ID, b.ID) {
					right++
				}
			}
		}
		fmt.Printf("%d nodes: %v, right by position: %d of %d\n", count, order, right, count*count)
		fmt.Printf("  Nodes[2] is node %d, Nodes[0].Distances[2] is %d\n", nodes[2].ID, nodes[0].Distances[2])
	}
	for _, node := range machine([]int{0, 8}, sockets) {
		fmt.Printf("nodes 0 and 8: node %d has %v\n", node.ID, node.Distances)
	}
}
E
go run . 2> log | tee seen || { cat log >&2; exit 1; }

cat > expected <<'E'
10 nodes: [0 1 2 3 4 5 6 7 8 9], right by position: 100 of 100
  Nodes[2] is node 2, Nodes[0].Distances[2] is 12
12 nodes: [0 1 10 11 2 3 4 5 6 7 8 9], right by position: 84 of 144
  Nodes[2] is node 10, Nodes[0].Distances[2] is 12
nodes 0 and 8: node 0 has [10 32]
nodes 0 and 8: node 8 has [32 10]
E
diff -u expected seen

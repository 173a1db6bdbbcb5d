#!/usr/bin/env bash
# Package: Go module `github.com/intel/goresctrl` v0.14.0, package rdt (containerd and CRI-O give containers their
#   cache classes with it).
# Question: three classes of one partition have the L3 allocations 0-33%, 34-66% and 67-100%, so that none evicts
#   what another one has cached. How many ways of the cache do they share, with 11, 12, 15, 16 or 20 ways?
# One would guess: none. No percent is in two of the ranges, and at most a way more or less is lost by rounding.
# Seen: two of them in each case: every class shares its first way with the class before. Two halves, 0-50% and
#   51-100%, share one if the number of ways is odd. Nothing is refused. Three partitions of 33%, 33% and
#   34% with a class each share none.
# Why: both ends of a range are rounded down to a way, and the last way belongs to the range. Where the border of two
#   ranges falls within a way, the one ends and the other begins with that way. Partitions are counted in ways, one
#   after the other.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOFLAGS=-mod=mod

cat > go.mod <<'E'
module ask

go 1.26.0

require github.com/intel/goresctrl v0.14.0
E
cat > main.go <<'E'
package main

import (
	"fmt"
	"io"
	"log/slog"
	"math/bits"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/intel/goresctrl/pkg/rdt"
)

// Of the directory that stands for the resctrl filesystem, named in the file `mounts`.
const root = "resctrl"

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func write(content string, path ...string) {
	name := filepath.Join(append([]string{root}, path...)...)
	check(os.MkdirAll(filepath.Dir(name), 0o755))
	check(os.WriteFile(name, []byte(content), 0o644))
}

// machine is one with a single L3 cache of so many ways.
func machine(ways int) {
	check(os.RemoveAll(root))
	all := fmt.Sprintf("%x\n", 1<<ways-1)
	write("L3:0="+all, "schemata")
	write("", "tasks")
	write(all, "info", "L3", "cbm_mask")
	write("1\n", "info", "L3", "min_cbm_bits")
	write("0\n", "info", "L3", "shareable_bits")
	write("16\n", "info", "L3", "num_closids")
	check(rdt.Initialize(""))
}

// classes has a class for each range within one partition.
func classes(ranges ...string) (config string) {
	config = "partitions:\n  all:\n    l3Allocation: 100%\n    classes:\n"
	for i, one := range ranges {
		config += fmt.Sprintf("      class%d:\n        l3Allocation: %s\n", i, one)
	}
	return config
}

// partitions has a class with all of a partition for each share.
func partitions(shares ...string) (config string) {
	config = "partitions:\n"
	for i, one := range shares {
		config += fmt.Sprintf("  part%d:\n    l3Allocation: %s\n    classes: {class%d: {}}\n", i, one, i)
	}
	return config
}

func ask(ways int, config string, names []string) {
	machine(ways)
	for _, name := range names {
		write("", name, "tasks") // as the kernel does for a new directory
	}
	check(rdt.SetConfigFromData([]byte(config), false))
	fmt.Printf("  %d ways:", ways)
	taken, shared := uint64(0), uint64(0)
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join(root, name, "schemata"))
		check(err)
		mask, err := strconv.ParseUint(strings.TrimPrefix(strings.TrimSpace(string(content)), "L3:0="), 16, 64)
		check(err)
		fmt.Printf(" %d to %d,", bits.TrailingZeros64(mask), bits.Len64(mask)-1)
		shared |= taken & mask
		taken |= mask
	}
	fmt.Printf(" %d shared\n", bits.OnesCount64(shared))
}

func main() {
	rdt.SetLogger(slog.New(slog.NewTextHandler(io.Discard, nil)))
	names := []string{"class0", "class1", "class2"}
	for _, one := range []struct {
		what, config string
		names        []string
	}{
		{"0-33%, 34-66%, 67-100%", classes("0-33%", "34-66%", "67-100%"), names},
		{"0-50%, 51-100%", classes("0-50%", "51-100%"), names[:2]},
		{"partitions of 33%, 33%, 34%", partitions("33%", "33%", "34%"), names},
	} {
		fmt.Println(one.what)
		for _, ways := range []int{11, 12, 15, 16, 20} {
			ask(ways, one.config, one.names)
		}
	}
}
E
echo "resctrl $tmp/resctrl resctrl rw 0 0" > mounts
mounts="-X github.com/intel/goresctrl/pkg/rdt.mountInfoPath=$tmp/mounts"
go build -ldflags "$mounts" -o ask . 2> log || { cat log >&2; exit 1; }
./ask | tee seen

cat > expected <<'E'
0-33%, 34-66%, 67-100%
  11 ways: 0 to 3, 3 to 7, 7 to 10, 2 shared
  12 ways: 0 to 3, 3 to 7, 7 to 11, 2 shared
  15 ways: 0 to 4, 4 to 9, 9 to 14, 2 shared
  16 ways: 0 to 5, 5 to 10, 10 to 15, 2 shared
  20 ways: 0 to 6, 6 to 13, 13 to 19, 2 shared
0-50%, 51-100%
  11 ways: 0 to 5, 5 to 10, 1 shared
  12 ways: 0 to 5, 6 to 11, 0 shared
  15 ways: 0 to 7, 7 to 14, 1 shared
  16 ways: 0 to 7, 8 to 15, 0 shared
  20 ways: 0 to 9, 10 to 19, 0 shared
partitions of 33%, 33%, 34%
  11 ways: 0 to 2, 3 to 5, 6 to 10, 0 shared
  12 ways: 0 to 2, 3 to 5, 6 to 11, 0 shared
  15 ways: 0 to 3, 4 to 7, 8 to 14, 0 shared
  16 ways: 0 to 4, 5 to 9, 10 to 15, 0 shared
  20 ways: 0 to 5, 6 to 11, 12 to 19, 0 shared
E
diff -u expected seen

#!/usr/bin/env bash
# Package: Go module `k8s.io/apimachinery` v0.37.2, package resource.
# Question: `sum := one; sum.Add(two)` for two amounts of memory, where `one` is a resource.Quantity, a struct with
#   methods that change it in place. Is `one` still what it was?
# One would guess: yes: assignment copies a struct, the linter that warns of copied locks is silent, and the tests,
#   with 1Gi, 64Gi or 1536Mi, show it so.
# Seen: `one` has become the sum if it was written as 1.5Gi, 0.5Ki, 100Ti or 1Pi, while 1Gi, 99Ti and 1.5G keep their
#   value. If it was printed before, it still prints the old amount, also as JSON, while Value() and Cmp() have the
#   new one: the log shows 1536Mi, and the comparison counts 2560Mi. The same holds for a copy of any sum that has
#   once had such an amount in it, but not for the same amount written as 2560Mi.
# Why: a Quantity holds an int64 with a scale, or a pointer to a decimal number for what is written as a fraction of a
#   binary unit or may be too large. Add works on the number behind the pointer, which both copies have, and clears
#   the printed form in the one that it is called on. DeepCopy() is right for both forms.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOFLAGS=-mod=mod

cat > go.mod <<'E'
module ask

go 1.26.0

require k8s.io/apimachinery v0.37.2
E
cat > main.go <<'E'
package main

import (
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/api/resource"
)

var gibibyte = resource.MustParse("1Gi")

func state(of *resource.Quantity) string {
	said, err := json.Marshal(of)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("prints %s, JSON %s, value %d", of.String(), said, of.Value())
}

func ask(what string, one resource.Quantity) {
	before := one.Value()
	sum := one
	sum.Add(gibibyte)
	kept := "keeps its value"
	if one.Value() != before {
		kept = "has changed"
	}
	fmt.Println(what, kept)
}

func main() {
	for _, text := range []string{"1Gi", "1536Mi", "1.5Gi", "1.5G", "0.5Ki", "99Ti", "100Ti", "1Pi"} {
		ask(text, resource.MustParse(text))
	}
	total := gibibyte.DeepCopy()
	total.Add(resource.MustParse("1.5Gi"))
	ask("a sum with 1.5Gi in it", total)
	total = resource.MustParse("2560Mi")
	ask("the same amount, 2560Mi,", total)

	one := resource.MustParse("1.5Gi")
	fmt.Println("before:", state(&one))
	sum := one
	sum.Add(gibibyte)
	fmt.Println("after:", state(&one))
	fmt.Println("more than 2Gi:", one.Cmp(resource.MustParse("2Gi")) > 0)
	one = resource.MustParse("1.5Gi")
	sum = one.DeepCopy()
	sum.Add(gibibyte)
	fmt.Println("with DeepCopy:", state(&one))
}
E
go run . 2> log | tee seen || { cat log >&2; exit 1; }

cat > expected <<'E'
1Gi keeps its value
1536Mi keeps its value
1.5Gi has changed
1.5G keeps its value
0.5Ki has changed
99Ti keeps its value
100Ti has changed
1Pi has changed
a sum with 1.5Gi in it has changed
the same amount, 2560Mi, keeps its value
before: prints 1536Mi, JSON "1536Mi", value 1610612736
after: prints 1536Mi, JSON "1536Mi", value 2684354560
more than 2Gi: true
with DeepCopy: prints 1536Mi, JSON "1536Mi", value 1610612736
E
diff -u expected seen

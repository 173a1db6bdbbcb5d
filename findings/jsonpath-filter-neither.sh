#!/usr/bin/env bash
# Packages: Go modules `k8s.io/client-go` v0.37.2, util/jsonpath (`kubectl get -o jsonpath`, `kubectl wait`, printer
#   columns), and `k8s.io/apimachinery` v0.37.2.
# Question: pod a runs on node n1, b on n2, c on none yet. Which pods does the filter ?(@.spec.nodeName!="n1") give?
#   And of nodes with the loads 3.5, 3 and 1, which ones does ?(@.load>2.5)?
# One would guess: b and c, like the field selector spec.nodeName!=n1 and the label selectors, for which what is not
#   there is not equal; and the nodes with 3.5 and 3.
# Seen: b alone; c, the pod that waits, is found neither by == nor by !=. Where missing keys are errors, it is one
#   missing key that fails the whole expression, for both. The loads fail with "incompatible types for comparison":
#   3.5 can be compared with 2.5 and not with 2, 3 with 2 and not with 2.5, so a literal for the mixed list does not
#   exist, and a filter that has worked fails the day that one value happens to be whole.
# Why: an element for which a side of the comparison is empty is skipped before the operator is looked at. Numbers of
#   an object are int64 or float64 by how they are written, and a 3.0 is stored and written as 3; the comparison,
#   taken from Go's templates, wants both sides of one kind.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOFLAGS=-mod=mod

cat > go.mod <<'E'
module ask

go 1.26.0

require (
	k8s.io/apimachinery v0.37.2
	k8s.io/client-go v0.37.2
)
E
cat > main.go <<'E'
package main

import (
	"bytes"
	"fmt"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/util/jsonpath"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func ask(what, list, filter string, missing bool) {
	var object map[string]any
	check(json.Unmarshal([]byte(`{"items": `+list+`}`), &object)) // int64 and float64, as unstructured objects have
	path := jsonpath.New("ask").AllowMissingKeys(missing)
	check(path.Parse(`{.items[?(` + filter + `)].name}`))
	var out bytes.Buffer
	answer := ""
	if err := path.Execute(&out, object); err != nil {
		answer = "error: " + err.Error()
	} else {
		answer = out.String()
	}
	fmt.Printf("%s, %s: %s\n", what, filter, answer)
}

func main() {
	pods := `[{"name": "a", "spec": {"nodeName": "n1"}}, {"name": "b", "spec": {"nodeName": "n2"}},
		{"name": "c", "spec": {}}]`
	for _, filter := range []string{`@.spec.nodeName=="n1"`, `@.spec.nodeName!="n1"`} {
		ask("pods", pods, filter, true)
	}
	ask("missing keys are errors", pods, `@.spec.nodeName!="n1"`, false)
	waiting := map[string]string{"spec.nodeName": ""}
	fmt.Println("field selector finds c:", fields.ParseSelectorOrDie("spec.nodeName!=n1").Matches(fields.Set(waiting)))
	selector, err := labels.Parse("node!=n1")
	check(err)
	fmt.Println("label selector finds c:", selector.Matches(labels.Set{}))

	mixed := `[{"name": "x", "load": 3.5}, {"name": "y", "load": 3}, {"name": "z", "load": 1}]`
	broken := `[{"name": "x", "load": 3.5}, {"name": "z", "load": 1.5}]`
	ask("fractions", broken, "@.load>2.5", true)
	ask("mixed", mixed, "@.load>2.5", true)
	ask("mixed", mixed, "@.load>2", true)
	var load any
	check(json.Unmarshal([]byte("3.0"), &load))
	stored, err := json.Marshal(load)
	check(err)
	fmt.Println("3.0 is stored as", string(stored))
}
E
go run . 2> log | tee seen || { cat log >&2; exit 1; }

cat > expected <<'E'
pods, @.spec.nodeName=="n1": a
pods, @.spec.nodeName!="n1": b
missing keys are errors, @.spec.nodeName!="n1": error: nodeName is not found
field selector finds c: true
label selector finds c: true
fractions, @.load>2.5: x
mixed, @.load>2.5: error: incompatible types for comparison
mixed, @.load>2: error: incompatible types for comparison
3.0 is stored as 3
E
diff -u expected seen

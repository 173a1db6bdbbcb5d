#!/usr/bin/env bash
# Package: Go module `sigs.k8s.io/kwok` v0.8.0 (the Stage lifecycle that kwok-controller runs).
# Question: a Stage's matchExpressions say `key: .spec.cpus, operator: In, values: ["3"]`. The object has
#   `cpus: 3`. Does the stage apply?
# One would guess: yes. The values can only be written as strings, `pinned: true` is matched by "true", and
#   `.spec.list | length` of three elements is matched by "3".
# Seen: a number that is read from the object never matches In and always matches NotIn, so such a stage
#   never (or always) fires, without an error. A number that jq computes, as length does, matches. `|
#   tostring` mends it.
# Why: pkg/utils/expression compares strings, booleans and Go's int. Objects come as decoded JSON, whose
#   numbers are float64 (and sums of them stay so); only a few of jq's functions give an int. All other
#   types are "not in the values".
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOFLAGS=-mod=mod

cat > go.mod <<'E'
module ask

go 1.26.0

require sigs.k8s.io/kwok v0.8.0
E
cat > main.go <<'E'
package main

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kwok/pkg/apis/internalversion"
	"sigs.k8s.io/kwok/pkg/utils/lifecycle"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func matches(object *unstructured.Unstructured, key, operator string) bool {
	jq := &internalversion.SelectorJQ{
		Key:      key,
		Operator: internalversion.SelectorOperator(operator),
		Values:   []string{"3", "true"},
	}
	stages, err := lifecycle.NewLifecycle([]*internalversion.Stage{{Spec: internalversion.StageSpec{
		Selector: &internalversion.StageSelector{MatchExpressions: []internalversion.MatchExpression{{JQ: jq}}},
	}}})
	check(err)
	stage, err := stages.Match(context.Background(), &lifecycle.Event{Data: object})
	check(err)
	return stage != nil
}

func main() {
	widget := &unstructured.Unstructured{}
	check(widget.UnmarshalJSON([]byte(`{"apiVersion": "example.dev/v1", "kind": "Widget",
		"spec": {"cpus": 3, "text": "3", "pinned": true, "list": [1, 2, 3]}}`)))
	for _, key := range []string{
		".spec.text", ".spec.pinned", ".spec.cpus", ".spec.cpus + 0", ".spec.list[2]",
		".spec.list | length", ".spec.cpus | tostring",
	} {
		fmt.Println(key, "In:", matches(widget, key, "In"), "NotIn:", matches(widget, key, "NotIn"))
	}
}
E
go run . 2> log | tee seen || { cat log >&2; exit 1; }

cat > expected <<'E'
.spec.text In: true NotIn: false
.spec.pinned In: true NotIn: false
.spec.cpus In: false NotIn: true
.spec.cpus + 0 In: false NotIn: true
.spec.list[2] In: false NotIn: true
.spec.list | length In: true NotIn: false
.spec.cpus | tostring In: true NotIn: false
E
diff -u expected seen

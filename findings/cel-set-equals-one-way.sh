#!/usr/bin/env bash
# Package: Go module `k8s.io/apiextensions-apiserver` v0.37.2 (x-kubernetes-validations of custom
#   resources).
# Question: `set` is a list with x-kubernetes-list-type: set and holds [a, b]; `list` is an ordinary one and
#   holds [b, a]. Do the rules self.set == self.list and self.list == self.set agree?
# One would guess: yes, as any two sides of == do; both true, if set semantics win, or both false.
# Seen: the first holds, the second fails. The same with a literal: self.set == ['b', 'a'] holds, ['b', 'a']
#   == self.set fails. And + is a union if the set stands on its left (2 elements) and a concatenation if on
#   its right (4).
# Why: CEL's == and + ask the left operand alone. The set is a value type of its own (its Equal ignores
#   order, its Add drops what it has); the ordinary list and the literal compare element by element,
#   whatever stands opposite.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOFLAGS=-mod=mod

cat > go.mod <<'M'
module ask

go 1.26.0

require (
	k8s.io/apiextensions-apiserver v0.37.2
	k8s.io/apimachinery v0.37.2
	k8s.io/apiserver v0.37.2
)
M
cat > main.go <<'E'
package main

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	v1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
)

const openapi = `{"type": "object", "properties": {
	"set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
	"list": {"type": "array", "items": {"type": "string"}}
}}`

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func holds(rule string, object map[string]any) bool {
	external, internal := &v1.JSONSchemaProps{}, &apiextensions.JSONSchemaProps{}
	check(json.Unmarshal([]byte(openapi), external))
	external.XValidations = v1.ValidationRules{{Rule: rule}}
	check(v1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(external, internal, nil))
	structural, err := schema.NewStructural(internal)
	check(err)
	errors, _ := cel.NewValidator(structural, true, celconfig.PerCallLimit).Validate(
		context.Background(), field.NewPath("spec"), structural, object, nil, celconfig.RuntimeCELCostBudget)
	return len(errors) == 0
}

func main() {
	object := map[string]any{"set": []any{"a", "b"}, "list": []any{"b", "a"}}
	for _, rule := range []string{
		"self.set == self.list",
		"self.list == self.set",
		"self.set == ['b', 'a']",
		"['b', 'a'] == self.set",
		"size(self.set + self.list) == 2",
		"size(self.list + self.set) == 2",
	} {
		fmt.Println(rule, holds(rule, object))
	}
}
E
go run . 2> log | tee seen || { cat log >&2; exit 1; }

cat > expected <<'E'
self.set == self.list true
self.list == self.set false
self.set == ['b', 'a'] true
['b', 'a'] == self.set false
size(self.set + self.list) == 2 true
size(self.list + self.set) == 2 false
E
diff -u expected seen

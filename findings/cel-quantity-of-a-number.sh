#!/usr/bin/env bash
# Package: Go module `k8s.io/apiextensions-apiserver` v0.37.2 (x-kubernetes-validations of custom
#   resources).
# Question: `cpu` is a quantity as controller-gen and the core types write it, x-kubernetes-int-or-string.
#   The rule quantity(self.cpu).isLessThan(quantity('4')) compiles. Does `cpu: 2` pass?
# One would guess: yes: "2" passes, and both spellings are one quantity everywhere else in the API. Or the
#   rule does not compile, if quantity() takes no such type.
# Seen: "2" passes, and 2 is refused as an invalid object with "no such overload: quantity(int)".
#   isQuantity(self.cpu), the test one would put before it, fails in the same way instead of answering
#   false. self.cpu < 4 has it the other way round: right for 2, no such overload for "2".
#   quantity(string(self.cpu)) is right for both.
# Why: an int-or-string field is of type dyn for CEL, so the type check of the definition lets each call
#   pass and the overload is looked for at each object's value; the quantity library has functions of a
#   string alone.
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
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	v1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
)

const openapi = `{"type": "object", "properties": {"cpu": {"x-kubernetes-int-or-string": true}}}`

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func answer(rule string, cpu any) string {
	external, internal := &v1.JSONSchemaProps{}, &apiextensions.JSONSchemaProps{}
	check(json.Unmarshal([]byte(openapi), external))
	external.XValidations = v1.ValidationRules{{Rule: rule}}
	check(v1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(external, internal, nil))
	structural, err := schema.NewStructural(internal)
	check(err)
	errors, _ := cel.NewValidator(structural, true, celconfig.PerCallLimit).Validate(
		context.Background(), field.NewPath("spec"), structural, map[string]any{"cpu": cpu}, nil,
		celconfig.RuntimeCELCostBudget)
	if len(errors) == 0 {
		return "passes"
	}
	if text := errors.ToAggregate().Error(); strings.Contains(text, "no such overload") {
		return "no such overload"
	}
	return "fails the rule"
}

func main() {
	for _, rule := range []string{
		"quantity(self.cpu).isLessThan(quantity('4'))",
		"isQuantity(self.cpu)",
		"self.cpu < 4",
		"quantity(string(self.cpu)).isLessThan(quantity('4'))",
	} {
		fmt.Printf("%s\n  \"2\" %s, 2 %s\n", rule, answer(rule, "2"), answer(rule, int64(2)))
	}
}
E
go run . 2> log | tee seen || { cat log >&2; exit 1; }

cat > expected <<'E'
quantity(self.cpu).isLessThan(quantity('4'))
  "2" passes, 2 no such overload
isQuantity(self.cpu)
  "2" passes, 2 no such overload
self.cpu < 4
  "2" no such overload, 2 passes
quantity(string(self.cpu)).isLessThan(quantity('4'))
  "2" passes, 2 passes
E
diff -u expected seen

#!/usr/bin/env bash
# Packages: PyPI `cel-python` 0.5.0 and `cel-expr-python` 0.1.3, beside Go module `k8s.io/apiserver` v0.37.2, cel
#   (the environment of CRDs' rules, admission policies and match conditions).
# Question: an operator checks rules of CEL over JSON in Python before it puts them into a CRD or a policy. Does
#   cel-python say what the API server says of `d.load < 3` and `3 > d.load`, where load is 2.5, or of
#   `d.shared == 1`, where shared is true?
# One would guess: yes: comparisons are the language's core, and if numbers of two types cannot be compared, then in
#   neither order.
# Seen: of `d.load < 3` yes; `3 > d.load` raises CELEvalError, so does `==` of 2 and 2.0 or of a string and a
#   number, in either order, where the API server has an answer. `d.shared == 1` is true and `1 == d.shared`
#   raises; for the API server both are false. `d.load * 2` is 5.0 and an error there, so a rule that has been tried
#   here may fail for each object there. cel-expr-python has the API server's answer in each case.
# Why: cel-python's values are subclasses of Python's int, float and str. Only some of their operators look at the
#   types, and an IntType that raises keeps Python from asking the other operand; what is left is Python's own
#   arithmetic, in which True is 1 and a float may be multiplied by an int.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOFLAGS=-mod=mod

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check cel-python==0.5.0 cel-expr-python==0.1.3

cat > data.json <<'E'
{"load": 2.5, "half": 2.0, "cpus": 2, "shared": true, "model": "1", "nodes": [0, 1]}
E
cat > rules <<'E'
d.load < 3
3 > d.load
d.load > d.cpus
d.cpus < d.load
d.cpus == d.half
d.half == 2
d.model != 1
d.nodes == 0
d.shared == 1
1 == d.shared
d.shared in [1]
string(d.half)
d.load * 2
E
cat > ask.py <<'E'
import json

import celpy
from cel_expr_python import cel


def answer(evaluate):
    try:
        return evaluate()
    except Exception:
        return 'error'


def celpys(rule):
    return str(program(rule).evaluate({'d': celpy.json_to_cel(data)}))


def program(rule):
    environment = celpy.Environment()
    return environment.program(environment.compile(rule))


def cel_exprs(rule):
    value = str(cel.NewEnv(variables={'d': cel.Type.DYN}).compile(rule).eval(data={'d': data}))
    return 'error' if 'No matching overloads' in value else value.strip('"')


with open('data.json') as file:
    data = json.load(file)
with open('rules') as file:
    for rule in file.read().splitlines():
        print(answer(lambda: celpys(rule)).lower(), answer(lambda: cel_exprs(rule)).lower())
E
cat > go.mod <<'E'
module ask

go 1.26.0

require (
	k8s.io/apimachinery v0.37.2
	k8s.io/apiserver v0.37.2
)
E
cat > main.go <<'E'
package main

import (
	"bufio"
	"fmt"
	"os"

	"github.com/google/cel-go/cel"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/cel/environment"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	content, err := os.ReadFile("data.json")
	check(err)
	var data any
	check(json.Unmarshal(content, &data))
	set, err := environment.MustBaseEnvSet(version.MajorMinor(1, 37)).Extend(environment.VersionedOptions{
		IntroducedVersion: version.MajorMinor(1, 0),
		EnvOptions:        []cel.EnvOption{cel.Variable("d", cel.DynType)},
	})
	check(err)
	env, err := set.Env(environment.StoredExpressions)
	check(err)
	rules := bufio.NewScanner(os.Stdin)
	for rules.Scan() {
		ast, issues := env.Compile(rules.Text())
		check(issues.Err())
		program, err := env.Program(ast)
		check(err)
		if value, _, err := program.Eval(map[string]any{"d": data}); err != nil {
			fmt.Println("error")
		} else {
			fmt.Println(value.Value())
		}
	}
}
E
go build -o ask . 2> log || { cat log >&2; exit 1; }
./ask < rules > apiserver
venv/bin/python ask.py > python
paste -d ' ' apiserver python | paste -d '|' rules - |
  sed 's/|\(.*\) \(.*\) \(.*\)/: API server \1, cel-python \2, cel-expr-python \3/' |
  tee seen

cat > expected <<'E'
d.load < 3: API server true, cel-python true, cel-expr-python true
3 > d.load: API server true, cel-python error, cel-expr-python true
d.load > d.cpus: API server true, cel-python true, cel-expr-python true
d.cpus < d.load: API server true, cel-python error, cel-expr-python true
d.cpus == d.half: API server true, cel-python error, cel-expr-python true
d.half == 2: API server true, cel-python error, cel-expr-python true
d.model != 1: API server true, cel-python error, cel-expr-python true
d.nodes == 0: API server false, cel-python error, cel-expr-python false
d.shared == 1: API server false, cel-python true, cel-expr-python false
1 == d.shared: API server false, cel-python error, cel-expr-python false
d.shared in [1]: API server false, cel-python error, cel-expr-python false
string(d.half): API server 2, cel-python 2.0, cel-expr-python 2
d.load * 2: API server error, cel-python 5.0, cel-expr-python error
E
diff -u expected seen

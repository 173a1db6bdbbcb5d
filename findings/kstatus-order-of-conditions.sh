#!/usr/bin/env bash
# Package: Go module `github.com/fluxcd/cli-utils` v1.2.2, pkg/kstatus (what `helm install --wait` of Helm
#   4.3.2 asks).
# Question: a custom resource has the conditions Stalled=True and Reconciling=True, and Ready. What is its
#   status?
# One would guess: one answer for one set of conditions (they are a list with the key `type`, so order means
#   nothing), say Failed; and surely not Current for an object that no controller has looked at yet.
# Seen: the first of Stalled and Reconciling in the list decides: Failed or InProgress. Ready=False alone is
#   never Failed, but InProgress for ever, and Available=False is Current, as is a fresh object without
#   status: --wait returns before the controller has woken. Only once status.observedGeneration exists does
#   an older generation count, and then before Stalled: a controller that stalls and forgets to write
#   observedGeneration is InProgress.
# Why: checkGenericProperties walks the conditions once and returns at the first of the two types it meets;
#   no condition at all falls through to "current". So a controller for --wait must write
#   status.observedGeneration and Reconciling=True at once, and remove the one condition when it sets the
#   other.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOFLAGS=-mod=mod

cat > go.mod <<'E'
module ask

go 1.26.0

require github.com/fluxcd/cli-utils v1.2.2
E
cat > main.go <<'E'
package main

import (
	"fmt"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func ask(observed int64, conditions ...string) {
	list := []any{}
	for i := 0; i < len(conditions); i += 2 {
		list = append(list, map[string]any{"type": conditions[i], "status": conditions[i+1], "message": "m"})
	}
	object := map[string]any{
		"apiVersion": "example.dev/v1",
		"kind":       "Widget",
		"metadata":   map[string]any{"name": "w", "generation": int64(2)},
	}
	if observed > 0 {
		object["status"] = map[string]any{"conditions": list, "observedGeneration": observed}
	}
	result, err := status.Compute(&unstructured.Unstructured{Object: object})
	if err != nil {
		panic(err)
	}
	fmt.Println(observed, conditions, result.Status)
}

func main() {
	ask(2, "Ready", "False", "Stalled", "True", "Reconciling", "True")
	ask(2, "Ready", "False", "Reconciling", "True", "Stalled", "True")
	ask(2, "Ready", "True", "Stalled", "True")
	ask(1, "Ready", "True", "Stalled", "True")
	ask(2, "Ready", "False")
	ask(2, "Available", "False")
	ask(0)
}
E
go run . 2> log | tee seen || { cat log >&2; exit 1; }

cat > expected <<'E'
2 [Ready False Stalled True Reconciling True] Failed
2 [Ready False Reconciling True Stalled True] InProgress
2 [Ready True Stalled True] Failed
1 [Ready True Stalled True] InProgress
2 [Ready False] InProgress
2 [Available False] Current
0 [] Current
E
diff -u expected seen

#!/usr/bin/env bash
# Package: Go module `sigs.k8s.io/structured-merge-diff/v6` v6.4.2 (server-side apply of Kubernetes 1.37).
# Question: one manager applies a manifest whose lists and map are all empty, then one that fills them, then
#   the first again. Is the object after the third apply equal to the one after the first?
# One would guess: yes: apply is declarative, and nobody else touches the object.
# Seen: the same manifest gives three things, by the kind of field. An atomic list is [] again. A set or a
#   list with keys is gone. A map is there with null for its value, which no manifest ever said.
# Why: fields are owned leaf by leaf. An empty map is a leaf of its own, an empty set or keyed list is none:
#   its elements are the leaves. From filled to empty, the updater first merges (nothing goes) and then
#   prunes what is owned no more. The walker that removes items leaves nil where it has taken the last one
#   away: the map's key is owned, so it stays, with nil; the list's is owned by nobody and goes too. The
#   first apply had nothing to prune and kept the empty values as written, and an atomic list is one leaf,
#   replaced as such.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOFLAGS=-mod=mod

cat > go.mod <<'E'
module ask

go 1.26.0

require sigs.k8s.io/structured-merge-diff/v6 v6.4.2
E
cat > main.go <<'E'
package main

import (
	"fmt"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/merge"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
)

const schema = `types:
- name: widget
  map:
    fields:
    - name: name
      type: {scalar: string}
    - name: atomic
      type: {list: {elementType: {scalar: string}, elementRelationship: atomic}}
    - name: set
      type: {list: {elementType: {scalar: string}, elementRelationship: associative}}
    - name: keyed
      type: {list: {elementType: {namedType: item}, elementRelationship: associative, keys: [name]}}
    - name: map
      type: {map: {elementType: {scalar: string}}}
- name: item
  map:
    fields:
    - name: name
      type: {scalar: string}
`

type oneVersion struct{}

func (oneVersion) Convert(o *typed.TypedValue, _ fieldpath.APIVersion) (*typed.TypedValue, error) {
	return o, nil
}
func (oneVersion) IsMissingVersionError(error) bool { return false }

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	parser, err := typed.NewParser(schema)
	check(err)
	widget := parser.Type("widget")
	updater := (&merge.UpdaterBuilder{Converter: oneVersion{}}).BuildUpdater()
	live, err := widget.FromYAML("{}")
	check(err)
	managers := fieldpath.ManagedFields{}
	empty := `{"name": "w", "atomic": [], "set": [], "keyed": [], "map": {}}`
	full := `{"name": "w", "atomic": ["a"], "set": ["a"], "keyed": [{"name": "a"}], "map": {"a": "1"}}`
	for _, manifest := range []string{empty, full, empty} {
		applied, err := widget.FromYAML(typed.YAMLObject(manifest))
		check(err)
		result, newManagers, err := updater.Apply(live, applied, "v1", managers, "me", false)
		check(err)
		live, managers = result, newManagers
		fmt.Println(live.AsValue().Unstructured())
	}
}
E
go run . 2> log | tee seen || { cat log >&2; exit 1; }

cat > expected <<'E'
map[atomic:[] keyed:[] map:map[] name:w set:[]]
map[atomic:[a] keyed:[map[name:a]] map:map[a:1] name:w set:[a]]
map[atomic:[] map:<nil> name:w]
E
diff -u expected seen

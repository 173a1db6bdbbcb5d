#!/usr/bin/env bash
# Package: Go module `sigs.k8s.io/structured-merge-diff/v6` v6.4.2 (server-side apply of Kubernetes 1.37).
# Question: I apply a pod template with the containers a and b; an autoscaler sets a limit of b. Then I apply the
#   template without b. Is b gone, and does it matter how the autoscaler has written its field?
# One would guess: it does not matter: the field is the autoscaler's either way, and what another manager owns is not
#   taken away from it.
# Seen: it does. If the autoscaler has updated or patched, b goes, its limit too, and no conflict is told of. If it
#   has applied, the name and the limit of b stay and the image goes, as that was mine alone: a container without an
#   image, which an API server's validation refuses (not run here), so my manifest, which does not mention b, cannot
#   be applied. b goes only after the autoscaler has applied without it.
# Why: who applies has to give the key of the item that the field is in, and owns the item and its key, too; who
#   updates owns what has changed, the field alone. Pruning takes the item away, then adds back what others own, and
#   an item that nobody owns any more goes with everything in it.
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
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

const (
	schema = `types:
- name: template
  map:
    fields:
    - name: containers
      type: {list: {elementType: {namedType: container}, elementRelationship: associative, keys: [name]}}
- name: container
  map:
    fields:
    - name: name
      type: {scalar: string}
    - name: image
      type: {scalar: string}
    - name: limits
      type: {map: {elementType: {scalar: string}}}
`
	a, b   = `{"name": "a", "image": "x"}`, `{"name": "b", "image": "y"}`
	scaled = `{"name": "b", "image": "y", "limits": {"cpu": "1"}}`
	limits = `{"name": "b", "limits": {"cpu": "1"}}`
)

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

var parser *typed.Parser

type server struct {
	live     *typed.TypedValue
	managers fieldpath.ManagedFields
	updater  *merge.Updater
}

func template(containers string) *typed.TypedValue {
	object, err := parser.Type("template").FromYAML(typed.YAMLObject(`{"containers": [` + containers + `]}`))
	check(err)
	return object
}

func (s *server) apply(who, containers string) {
	live, managers, err := s.updater.Apply(s.live, template(containers), "v1", s.managers, who, false)
	check(err)
	s.managers = managers
	if live != nil {
		s.live = live
	}
	s.show(who + " applies")
}

func (s *server) update(who, containers string) {
	live, managers, err := s.updater.Update(s.live, template(containers), "v1", s.managers, who)
	check(err)
	s.live, s.managers = live, managers
	s.show(who + " updates")
}

func (s *server) show(what string) {
	content, err := value.ToJSON(s.live.AsValue())
	check(err)
	fmt.Printf("%-18s %s\n", what, content)
}

func ask(scale func(*server)) {
	s := &server{template(""), fieldpath.ManagedFields{},
		(&merge.UpdaterBuilder{Converter: oneVersion{}}).BuildUpdater()}
	s.apply("me", a+", "+b)
	scale(s)
	fmt.Println("owned by it:", s.managers["scaler"].Set())
	s.apply("me", a)
}

func main() {
	var err error
	parser, err = typed.NewParser(schema)
	check(err)
	ask(func(s *server) { s.update("scaler", a+", "+scaled) })
	fmt.Println()
	ask(func(s *server) { s.apply("scaler", limits) })
}
E
go build -o ask . 2> log || { cat log >&2; exit 1; }
./ask | tee seen

cat > expected <<'E'
me applies         {"containers":[{"image":"x","name":"a"},{"image":"y","name":"b"}]}
scaler updates     {"containers":[{"image":"x","name":"a"},{"image":"y","limits":{"cpu":"1"},"name":"b"}]}
owned by it: .containers[name="b"].limits
.containers[name="b"].limits.cpu
me applies         {"containers":[{"image":"x","name":"a"}]}

me applies         {"containers":[{"image":"x","name":"a"},{"image":"y","name":"b"}]}
scaler applies     {"containers":[{"image":"x","name":"a"},{"image":"y","limits":{"cpu":"1"},"name":"b"}]}
owned by it: .containers[name="b"]
.containers[name="b"].name
.containers[name="b"].limits.cpu
me applies         {"containers":[{"image":"x","name":"a"},{"limits":{"cpu":"1"},"name":"b"}]}
E
diff -u expected seen

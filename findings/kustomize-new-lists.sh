#!/usr/bin/env bash
# Package: Go module `sigs.k8s.io/kustomize/api` v0.21.2 (kustomize build), beside what kubectl and the API server do:
#   `k8s.io/apimachinery` v0.37.2, util/strategicpatch.
# Question: a base's pod template has the resource claim gpu and the scheduling gate a; an overlay's patch adds the
#   claim nic and the gate b. Both are keyed by name for a strategic merge, as volumes are. What does the
#   template have then?
# One would guess: both of each, as with volumes, and as `kubectl patch` of the same patch gives.
# Seen: nic and b alone, though the container still refers to gpu, and no warning. An entry that deletes by
#   `$patch: delete` deletes nothing; it becomes the list, with the directive as a field of it.
# Why: kustomize finds merge keys in the OpenAPI schema that it embeds, and that is still Kubernetes v1.21.2's, in
#   v0.21.3, too, which needs Go 1.27. Lists that came later (resourceClaims, schedulingGates and others) are
#   unknown to it, and an unknown list is replaced. `openapi: {path: ...}` in the kustomization can name a newer
#   schema.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOFLAGS=-mod=mod

cat > go.mod <<'E'
module ask

go 1.26.0

require (
	k8s.io/api v0.37.2
	k8s.io/apimachinery v0.37.2
	sigs.k8s.io/kustomize/api v0.21.2
	sigs.k8s.io/kustomize/kyaml v0.21.2
	sigs.k8s.io/yaml v1.6.0
)
E
cat > main.go <<'E'
package main

import (
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const (
	head = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {template: {spec: {%s}}}}\n"
	base = `volumes: [{name: a, emptyDir: {}}], schedulingGates: [{name: a}], resourceClaims: [
		{name: gpu, resourceClaimTemplateName: gpu}], containers: [{name: main, resources: {claims: [{name: gpu}]}}]`
	kustomization = "resources: [base.yaml]\npatches: [{path: patch.yaml}]\n"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func built(patch string) []byte {
	files := filesys.MakeFsInMemory()
	check(files.WriteFile("kustomization.yaml", []byte(kustomization)))
	check(files.WriteFile("base.yaml", fmt.Appendf(nil, head, base)))
	check(files.WriteFile("patch.yaml", fmt.Appendf(nil, head, patch)))
	objects, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(files, ".")
	check(err)
	content, err := objects.Resources()[0].MarshalJSON()
	check(err)
	return content
}

func patched(patch string) []byte {
	before, err := yaml.YAMLToJSON(fmt.Appendf(nil, head, base))
	check(err)
	change, err := yaml.YAMLToJSON(fmt.Appendf(nil, head, patch))
	check(err)
	content, err := strategicpatch.StrategicMergePatch(before, change, appsv1.Deployment{})
	check(err)
	return content
}

func show(what, field string, content []byte) {
	var got struct {
		Spec struct{ Template struct{ Spec map[string]any } }
	}
	check(json.Unmarshal(content, &got))
	value, err := json.Marshal(got.Spec.Template.Spec[field])
	check(err)
	fmt.Printf("  %-9s %s\n", what, value)
}

func ask(field, entry string) {
	patch := field + ": [" + entry + "]"
	fmt.Println(patch)
	show("kustomize", field, built(patch))
	show("kubectl", field, patched(patch))
}

func main() {
	ask("volumes", "{name: b, emptyDir: {}}")
	ask("schedulingGates", "{name: b}")
	ask("resourceClaims", "{name: nic, resourceClaimTemplateName: nic}")
	ask("volumes", "{name: a, $patch: delete}")
	ask("resourceClaims", "{name: gpu, $patch: delete}")
}
E
go build -o ask . 2> log || { cat log >&2; exit 1; }
./ask | tee seen

cat > expected <<'E'
volumes: [{name: b, emptyDir: {}}]
  kustomize [{"emptyDir":{},"name":"b"},{"emptyDir":{},"name":"a"}]
  kubectl   [{"emptyDir":{},"name":"b"},{"emptyDir":{},"name":"a"}]
schedulingGates: [{name: b}]
  kustomize [{"name":"b"}]
  kubectl   [{"name":"b"},{"name":"a"}]
resourceClaims: [{name: nic, resourceClaimTemplateName: nic}]
  kustomize [{"name":"nic","resourceClaimTemplateName":"nic"}]
  kubectl   [{"name":"nic","resourceClaimTemplateName":"nic"},{"name":"gpu","resourceClaimTemplateName":"gpu"}]
volumes: [{name: a, $patch: delete}]
  kustomize []
  kubectl   []
resourceClaims: [{name: gpu, $patch: delete}]
  kustomize [{"$patch":"delete","name":"gpu"}]
  kubectl   []
E
diff -u expected seen

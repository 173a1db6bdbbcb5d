#!/usr/bin/env bash
# Package: Go module `k8s.io/kubernetes` v1.36.3 and v1.37.2, the defaults and the create strategy of pods, as
#   kube-apiserver runs them, with default feature gates.
# Question: a pod asks for a budget by requests alone (spec.resources.requests: 4 CPUs, 8Gi), and each of its two
#   containers has a limit of 2 CPUs and 4Gi. Which QoS class does it have?
# One would guess: Burstable, in both releases. It has no pod-level limit, and nobody changed the manifest.
# Seen: Burstable in v1.36.3, Guaranteed in v1.37.2, which fills in the pod-level limits. A request for CPUs alone
#   gets a request and a limit for memory, too, and is Guaranteed as well. One container without a limit, and it
#   stays Burstable.
# Why: PodLevelResourcesFixDefaulting (v1.37, on by default) takes max(pod-level request, the containers' limits
#   together) where all containers have a limit, and fills in pod-level requests without a pod-level limit, too. So
#   a control plane's upgrade changes the class, cpu.max and OOM score of pods that are created after it, and under
#   static CPU management gives them CPUs of their own. Who computes a pod before it is stored has to know the
#   server's release.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOFLAGS=-mod=mod

cat > main.go <<'E'
package main

import (
	"encoding/json"
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	api "k8s.io/kubernetes/pkg/apis/core"
	corev1 "k8s.io/kubernetes/pkg/apis/core/v1"
	"k8s.io/kubernetes/pkg/registry/core/pod"
)

func amounts(cpu, memory string) v1.ResourceList {
	list := v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu)}
	if memory != "" {
		list[v1.ResourceMemory] = resource.MustParse(memory)
	}
	return list
}

func ask(what string, budget v1.ResourceList, limits ...v1.ResourceList) {
	asked := &v1.Pod{Spec: v1.PodSpec{Resources: &v1.ResourceRequirements{Requests: budget}}}
	for _, one := range limits {
		asked.Spec.Containers = append(asked.Spec.Containers,
			v1.Container{Resources: v1.ResourceRequirements{Limits: one}})
	}
	corev1.SetObjectDefaults_Pod(asked)
	stored := &api.Pod{}
	if err := corev1.Convert_v1_Pod_To_core_Pod(asked, stored, nil); err != nil {
		panic(err)
	}
	pod.Strategy.PrepareForCreate(genericapirequest.NewDefaultContext(), stored)
	said, _ := json.Marshal(stored.Spec.Resources)
	fmt.Printf("%s: %s %s\n", what, stored.Status.QOSClass, said)
}

func main() {
	each := amounts("2", "4Gi")
	ask("requests alone", amounts("4", "8Gi"), each, each)
	ask("request for CPUs alone", amounts("4", ""), each, each)
	ask("one container without a limit", amounts("4", "8Gi"), each, nil)
}
E

for release in 36.3 37.2; do
  module=k8s.io/kubernetes@v1.$release
  # Its staging modules are folders of its own repository.
  staging=$(go mod download -json "$module" | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p' |
    xargs sed -n 's|^[[:space:]]*\(k8s.io/[a-z-]*\) => \./staging/.*|\1|p')
  {
    echo "module ask"
    echo "go 1.26.0"
    echo "require k8s.io/kubernetes v1.$release"
    for one in $staging; do echo "replace $one => $one v0.$release"; done
  } > go.mod
  rm -f go.sum
  echo "v1.$release"
  go run . 2> log || { cat log >&2; exit 1; }
done | tee seen

cat > expected <<'E'
v1.36.3
requests alone: Burstable {"Limits":null,"Requests":{"cpu":"4","memory":"8Gi"},"Claims":null}
request for CPUs alone: Burstable {"Limits":null,"Requests":{"cpu":"4"},"Claims":null}
one container without a limit: Burstable {"Limits":null,"Requests":{"cpu":"4","memory":"8Gi"},"Claims":null}
v1.37.2
requests alone: Guaranteed {"Limits":{"cpu":"4","memory":"8Gi"},"Requests":{"cpu":"4","memory":"8Gi"},"Claims":null}
request for CPUs alone: Guaranteed {"Limits":{"cpu":"4","memory":"8Gi"},"Requests":{"cpu":"4","memory":"8Gi"},"Claims":null}
one container without a limit: Burstable {"Limits":null,"Requests":{"cpu":"4","memory":"8Gi"},"Claims":null}
E
diff -u expected seen

#!/usr/bin/env bash
# Package: Go module `k8s.io/kubernetes` v1.37.2, the admission plugin LimitRanger and the strategy of the pods' resize
#   subresource, as kube-apiserver runs them, with default feature gates (compiles for minutes at first).
# Question: a pod runs with container a, which requests 2 CPUs, and container b, which asks for nothing. Then its
#   namespace gets a LimitRange, and a is resized to 3 CPUs. What has b after that?
# One would guess: nothing, as before: a LimitRange's defaults are filled in when a pod is created, those that run
#   keep what they have, and the request names a alone.
# Seen: b has the defaults: with one of 500m it is cut down to half a CPU, and where the LimitRange has only a maximum
#   of 8 CPUs, which is the default then, b requests 8 from now on. The annotation in which LimitRanger tells what it
#   has set is not stored. a itself is refused if it had no limit and the default one is less than 3. And a pod
#   with a budget of its own cannot be resized to 6 CPUs, since each of its containers would request 8.
# Why: LimitRanger looks at the subresource resize so that its bounds hold there, too, and that switches on both of
#   its halves: the one that fills in all containers of the pod, then the one that checks. The strategy keeps the
#   resources of all containers of the object, whoever has set them, and puts the metadata back.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOFLAGS=-mod=mod

module=k8s.io/kubernetes@v1.37.2
# Its staging modules are folders of its own repository.
staging=$(go mod download -json "$module" | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p' |
  xargs sed -n 's|^[[:space:]]*\(k8s.io/[a-z-]*\) => \./staging/.*|\1|p')
{
  echo "module ask"
  echo "go 1.26.0"
  echo "require k8s.io/kubernetes v1.37.2"
  for one in $staging; do echo "replace $one => $one v0.37.2"; done
} > go.mod
cat > main.go <<'E'
package main

import (
	"context"
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	api "k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	corev1 "k8s.io/kubernetes/pkg/apis/core/v1"
	"k8s.io/kubernetes/pkg/registry/core/pod"
	"k8s.io/kubernetes/plugin/pkg/admission/limitranger"
)

var ctx = genericapirequest.WithRequestInfo(genericapirequest.WithNamespace(context.Background(), "default"),
	&genericapirequest.RequestInfo{
		IsResourceRequest: true, Verb: "update", APIVersion: "v1", Namespace: "default", Resource: "pods",
		Subresource: "resize", Name: "pod",
	})

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func cpus(number string) v1.ResourceList {
	if number == "" {
		return nil
	}
	return v1.ResourceList{v1.ResourceCPU: resource.MustParse(number)}
}

func container(name, request, limit string) v1.Container {
	return v1.Container{Name: name, Image: "image", Resources: v1.ResourceRequirements{
		Requests: cpus(request), Limits: cpus(limit),
	}}
}

// running is a pod that was created without a LimitRange.
func running(budget string, containers ...v1.Container) *api.Pod {
	asked := &v1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: "pod", Namespace: "default", UID: "1", ResourceVersion: "1",
	}}
	asked.Spec.Containers = containers
	if budget != "" {
		asked.Spec.Resources = &v1.ResourceRequirements{Requests: cpus(budget), Limits: cpus(budget)}
	}
	corev1.SetObjectDefaults_Pod(asked)
	stored := &api.Pod{}
	check(corev1.Convert_v1_Pod_To_core_Pod(asked, stored, nil))
	pod.Strategy.PrepareForCreate(ctx, stored)
	stored.Spec.NodeName, stored.Status.Phase = "node", api.PodRunning
	return stored
}

// resize does what the API server does with the object that the client has sent.
func resize(limits v1.LimitRangeItem, old *api.Pod, change func(*api.Pod)) (*api.Pod, error) {
	limits.Type = v1.LimitTypeContainer
	limitRange := &v1.LimitRange{ObjectMeta: metav1.ObjectMeta{Name: "limits", Namespace: "default"}}
	limitRange.Spec.Limits = []v1.LimitRangeItem{limits}
	corev1.SetObjectDefaults_LimitRange(limitRange)
	client := fake.NewClientset(limitRange)
	factory := informers.NewSharedInformerFactory(client, 0)
	plugin, err := limitranger.NewLimitRanger(&limitranger.DefaultLimitRangerActions{})
	check(err)
	plugin.SetExternalKubeClientSet(client)
	plugin.SetExternalKubeInformerFactory(factory)
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())

	sent := old.DeepCopy()
	change(sent)
	attributes := admission.NewAttributesRecord(sent, old, api.Kind("Pod").WithVersion("v1"), "default", "pod",
		api.Resource("pods").WithVersion("v1"), "resize", admission.Update, &metav1.UpdateOptions{}, false, nil)
	check(plugin.Admit(ctx, attributes, nil))
	if err := rest.BeforeUpdate(pod.ResizeStrategy, ctx, sent, old); err != nil {
		return nil, err
	}
	return sent, plugin.Validate(ctx, attributes, nil)
}

func of(list api.ResourceList) string {
	cpu, found := list[api.ResourceCPU]
	if !found {
		return "none"
	}
	return cpu.String()
}

func ask(what string, limits v1.LimitRangeItem, old *api.Pod, change func(*api.Pod)) {
	fmt.Println(what)
	stored, err := resize(limits, old, change)
	if err != nil {
		status := apierrors.APIStatus(nil)
		if !errors.As(err, &status) {
			panic(err)
		}
		cause := status.Status().Details.Causes[0]
		fmt.Printf("  refused: %s: %s\n", cause.Field, cause.Message)
		return
	}
	for _, one := range stored.Spec.Containers {
		fmt.Printf("  %s: request %s, limit %s\n", one.Name, of(one.Resources.Requests), of(one.Resources.Limits))
	}
	fmt.Println("  annotations:", stored.Annotations)
}

func main() {
	greatest, usual := v1.LimitRangeItem{Max: cpus("8")}, v1.LimitRangeItem{Default: cpus("500m")}
	a := func(to *api.Pod) {
		to.Spec.Containers[0].Resources.Requests[api.ResourceCPU] = resource.MustParse("3")
	}
	budget := func(to *api.Pod) {
		six := api.ResourceList{api.ResourceCPU: resource.MustParse("6")}
		to.Spec.Resources.Requests, to.Spec.Resources.Limits = six, six
	}
	b := container("b", "", "")
	ask("a limit of 4, default 500m", usual, running("", container("a", "2", "4"), b), a)
	ask("a limit of 4, maximum 8", greatest, running("", container("a", "2", "4"), b), a)
	ask("no limit, default 500m", usual, running("", container("a", "2", ""), b), a)
	ask("a budget, maximum 8", greatest, running("4", container("a", "", ""), b), budget)
}
E
go build -o ask . 2> log || { cat log >&2; exit 1; }
./ask | tee seen

cat > expected <<'E'
a limit of 4, default 500m
  a: request 3, limit 4
  b: request 500m, limit 500m
  annotations: map[]
a limit of 4, maximum 8
  a: request 3, limit 4
  b: request 8, limit 8
  annotations: map[]
no limit, default 500m
  refused: spec.containers[0].resources.requests: Invalid value: "3": must be less than or equal to cpu limit of 500m
a budget, maximum 8
  refused: spec.resources.requests[cpu]: Invalid value: "6": must be greater than or equal to aggregate container requests of 16
E
diff -u expected seen

"""Manifests are what kubectl sends, what the API server stores, and what controllers make of it.

kubectl itself reads each file here, and the objects that the real API server then has are compared with what
`plan` reads of the same file. Of kinds that others define, the definitions are here and their controllers are
not: what is guessed of them is said to be.
"""

from __future__ import annotations

import json
import textwrap
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from podnuma.allocator.eligibility import qos
from podnuma.api.pod import read_pod
from podnuma.cli.exits import Exit
from podnuma.cli.objects.documents import read_documents
from podnuma.cli.objects.workloads import expand
from podnuma.plumbing.kube.kubectl_yaml import load_all

from testbed.api import ApiStatusError
from testbed.waiting import until
from tests.integration.cli_runs import ROOT, podnuma

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.control_plane import ControlPlane

SPELLINGS = ROOT / "tests" / "unit" / "plumbing" / "kube" / "kubectl_yaml.json"
OTHERS = {
    "Document": ("test.example", "v1"),
    "RayCluster": ("ray.io", "v1"),
    "Rollout": ("argoproj.io", "v1alpha1"),
    "JobSet": ("jobset.x-k8s.io", "v1alpha2"),
    "LeaderWorkerSet": ("leaderworkerset.x-k8s.io", "v1"),
    "StrimziPodSet": ("core.strimzi.io", "v1beta2"),
}


def definition(kind: str) -> dict[str, Any]:
    """A kind that takes anything."""
    group, version = OTHERS[kind]
    plural = f"{kind.lower()}s"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    served = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"},
            "versions": [served],
        },
    }


@pytest.fixture(scope="module")
def others(crds: ControlPlane) -> Iterator[ControlPlane]:
    """The kinds of others, served."""
    for kind in OTHERS:
        crds.api.apply(definition(kind))
    for kind, (group, version) in OTHERS.items():
        path = f"/apis/{group}/{version}/{kind.lower()}s"
        until(lambda path=path: served(crds, path), f"{kind} to be served", 30)  # type: ignore[misc]
    yield crds
    for kind in OTHERS:
        crds.api.delete(
            f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{kind.lower()}s.{OTHERS[kind][0]}"
        )


def served(cluster: ControlPlane, path: str) -> bool:
    try:
        return cluster.api.find(path) is not None
    except ApiStatusError:  # 429 while the storage of a new definition is made
        return False


def test_every_spelling_of_a_value_is_stored_as_it_is_read_here(others, namespace, tmp_path):
    texts = list(json.loads(SPELLINGS.read_text()))
    for number, text in enumerate(texts):
        head = f"apiVersion: test.example/v1\nkind: Document\nmetadata: {{name: d{number}}}\nspec:\n"
        (tmp_path / f"{number}.yaml").write_text(head + textwrap.indent(text, "  "))
    others.kubectl("create", "-n", namespace, "-f", str(tmp_path), check=False)
    path = f"/apis/test.example/v1/namespaces/{namespace}/documents"
    stored = {one["metadata"]["name"]: one["spec"] for one in others.api.items(path)}
    for number, text in enumerate(texts):
        assert shown(stored.get(f"d{number}")) == shown(read_here(tmp_path / f"{number}.yaml")), text
    assert len(stored) > len(texts) * 0.8


def read_here(file: Path) -> Any:
    """The spec of a file; None if the file is refused."""
    try:
        ((_, value),) = load_all(file.read_text())
    except yaml.YAMLError:
        return None
    return value["spec"]


def shown(value: Any) -> str:
    """Write JSON as text, in which 1 is not true; a whole number beyond 64 bits is a fraction to Go."""
    if isinstance(value, dict):
        value = {
            key: float(one) if type(one) is int and abs(one) >= 2**63 else one for key, one in value.items()
        }
    return json.dumps(value, sort_keys=True)


SELECTOR = "nodeSelector: {released: 2026-04-01}"
LABELS = f"""
apiVersion: v1
kind: Pod
metadata:
  name: dated
  labels: {{released: 2026-04-01, version: 1.2.3, octal: 0o17x}}
  annotations: {{op: =, at: 22:30, released: 2026-04-01}}
spec:
  {SELECTOR}
  containers: [{{name: c, image: x, resources: {{limits: {{cpu: 2, memory: 1Gi}}}}}}]
"""


def test_labels_annotations_and_selectors_are_those_that_kubectl_sends(filled, namespace, tmp_path):
    file = tmp_path / "dated.yaml"
    file.write_text(LABELS)
    plan = ("plan", "-f", file, "-n", namespace, "-o", "json")
    done = podnuma(*plan, kubeconfig=filled.kubeconfig)
    assert (done.returncode, json.loads(done.stdout)["items"][0]["result"]) == (Exit.NO, "pending")
    filled.api.merge("/api/v1/nodes/node-a", {"metadata": {"labels": {"released": "2026-04-01"}}})
    done = podnuma(*plan, kubeconfig=filled.kubeconfig)
    assert (done.returncode, json.loads(done.stdout)["items"][0]["node"]) == (Exit.OK, "node-a")
    filled.kubectl("create", "-n", namespace, "-f", str(file))
    stored = filled.api.get(f"/api/v1/namespaces/{namespace}/pods/dated")
    (document,) = read_documents([str(file)])
    sent = document.value
    assert stored["metadata"]["annotations"] == sent["metadata"]["annotations"]
    assert sent["metadata"]["annotations"] == {"op": "=", "at": "22:30", "released": "2026-04-01"}
    assert stored["metadata"]["labels"] == sent["metadata"]["labels"]
    assert stored["spec"]["nodeSelector"] == sent["spec"]["nodeSelector"]


def test_a_label_that_the_api_server_refuses_is_an_error_here_and_no_other(filled, namespace, tmp_path):
    file = tmp_path / "pod.yaml"
    refused = ("yes", "1.10", "2026", "22:30", "=", "~5", "a b", "x" * 64, "{a: b}")
    taken = ("null", "1.2.3", "2026-04-01", "0o17x", "x" * 63, "''")
    for value in (*refused, *taken):
        file.write_text(LABELS.replace("octal: 0o17x", f"octal: {value}").replace(SELECTOR, ""))
        sent = ("create", "--dry-run=server", "-n", namespace, "-f", str(file))
        assert ("created" in filled.kubectl(*sent, check=False)) is (value in taken), value
        documents = read_documents([str(file)])
        assert bool(expand(documents).problems) is (value in refused), value
    done = podnuma("plan", "-f", file, "-n", namespace, kubeconfig=filled.kubeconfig)
    assert done.returncode == Exit.OK, done.stderr
    file.write_text(LABELS.replace("octal: 0o17x", "octal: yes"))
    done = podnuma("plan", "-f", file, "-n", namespace, kubeconfig=filled.kubeconfig)
    assert done.returncode == Exit.INPUT
    assert "metadata.labels[octal]: is true; text belongs here; put it in quotes" in done.stderr


def template() -> dict[str, Any]:
    """A pod with a budget, a container with CPUs of its own, a sidecar, and limits that are requests too."""
    budget, main = {"cpu": "4", "memory": "2Gi"}, {"cpu": "3", "memory": "1Gi"}
    spec = {
        "resources": {"requests": budget, "limits": budget},
        "containers": [
            {"name": "main", "image": "x", "resources": {"limits": main}},
            {"name": "side", "image": "x"},
        ],
        "initContainers": [{"name": "log", "image": "x", "restartPolicy": "Always"}],
    }
    return {"metadata": {"labels": {"app": "web"}}, "spec": spec}


def workloads() -> list[dict[str, Any]]:
    """One of each kind of Kubernetes that makes pods."""
    one, never = template(), template()
    never["spec"]["restartPolicy"] = "Never"
    chosen = {"selector": {"matchLabels": {"app": "web"}}}
    job = {"parallelism": 3, "completions": 2, "template": never}
    return [
        {"apiVersion": "v1", "kind": "Pod", **one},
        {
            "apiVersion": "v1",
            "kind": "ReplicationController",
            "spec": {"replicas": 2, "selector": {"app": "web"}, "template": one},
        },
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "spec": {"replicas": 3, **chosen, "template": one}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {**chosen, "template": one}},
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "spec": {"replicas": 2, "podManagementPolicy": "Parallel", **chosen, "template": one},
        },
        {"apiVersion": "apps/v1", "kind": "DaemonSet", "spec": {**chosen, "template": one}},
        {"apiVersion": "batch/v1", "kind": "Job", "spec": job},
        {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": job}},
        },
    ]


def test_controllers_make_the_pods_that_are_read_from_a_manifest(filled, namespace, tmp_path):
    """As many pods, each with what the API server has filled in, of every kind that Kubernetes has."""
    files = {}
    for value in workloads():
        name = value["kind"].lower()
        value["metadata"] = {**value.get("metadata", {}), "name": name, "namespace": namespace}
        files[name] = tmp_path / f"{name}.yaml"
        files[name].write_text(yaml.safe_dump(value))
    until(
        lambda: filled.api.find(f"/api/v1/namespaces/{namespace}/serviceaccounts/default"),
        "the default service account",
        30,
    )
    filled.kubectl("create", "-f", str(tmp_path))
    filled.kubectl("create", "job", "-n", namespace, "run-of-cronjob", "--from=cronjob/cronjob")
    expected = {name: list(expand(read_documents([str(file)])).pods) for name, file in files.items()}
    assert {name: len(pods) for name, pods in expected.items()} == {
        "pod": 1,
        "replicationcontroller": 2,
        "replicaset": 3,
        "deployment": 1,
        "statefulset": 2,
        "daemonset": 1,
        "job": 2,
        "cronjob": 2,
    }

    def made() -> dict[str, list[dict[str, Any]]] | None:
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in files}
        for pod in filled.api.items(f"/api/v1/namespaces/{namespace}/pods"):
            name = pod["metadata"]["name"].removeprefix("run-of-")
            if (whose := name.partition("-")[0]) in found:
                found[whose].append(pod)
        return found if all(len(found[name]) == len(expected[name]) for name in files) else None

    for name, pods in until(made, "the pods of all controllers", 60).items():
        for pod, planned in zip(pods, expected[name], strict=True):
            there = read_pod(pod)
            assert replace(there, name="", uid="", qos=None) == replace(planned.pod, name="", uid=""), name
            assert qos(planned.pod) is there.qos
            assert planned.labels.items() <= pod["metadata"]["labels"].items()


def kinds_of_others() -> list[dict[str, Any]]:
    """What somebody else's controllers make pods of."""
    one = template()
    pod = {"apiVersion": "v1", "kind": "Pod", **one}
    job = {"spec": {"parallelism": 2, "completions": 2, "template": one}}
    specs = {
        "RayCluster": {
            "headGroupSpec": {"template": one},
            "workerGroupSpecs": [{"groupName": "w", "replicas": 2, "template": one}],
        },
        "Rollout": {"replicas": 2, "template": one},
        "JobSet": {"replicatedJobs": [{"name": "w", "replicas": 2, "template": job}]},
        "LeaderWorkerSet": {
            "replicas": 2,
            "leaderWorkerTemplate": {"size": 3, "leaderTemplate": one, "workerTemplate": one},
        },
        "StrimziPodSet": {"pods": [pod, pod]},
        "Document": {"size": 3},
    }
    return [
        {"apiVersion": "/".join(OTHERS[kind]), "kind": kind, "metadata": {"name": kind.lower()}, "spec": spec}
        for kind, spec in specs.items()
    ]


def test_pods_of_kinds_of_others_are_guessed_counted_and_said_to_be(others, filled, namespace, tmp_path):
    """As they are stored: with status, defaults and who wrote what."""
    for value in kinds_of_others():
        others.api.create(value, namespace)
    names = ",".join(f"{kind.lower()}s.{group}" for kind, (group, _) in OTHERS.items())
    file = tmp_path / "others.yaml"
    file.write_text(others.kubectl("get", names, "-n", namespace, "-o", "yaml", "--show-managed-fields"))
    plan = ("plan", "-f", file, "-o", "json")
    done = podnuma(*plan, kubeconfig=filled.kubeconfig)
    answer = json.loads(done.stdout)
    assert done.returncode == Exit.OK, done.stderr
    counted = {one["kind"]: one["admitted"] for one in answer["summary"]["workloads"]}
    assert counted == {"RayCluster": 3, "Rollout": 2, "JobSet": 4, "LeaderWorkerSet": 6, "StrimziPodSet": 2}
    assert {one["allocation"]["cpus"].count("-") > 0 for one in answer["items"]} == {True}
    for kind, where in {
        "RayCluster raycluster": "spec.headGroupSpec.template (1), spec.workerGroupSpecs[0].template (2)",
        "Rollout rollout": "spec.template (2)",
        "LeaderWorkerSet leaderworkerset": "spec.leaderWorkerTemplate.leaderTemplate (2), "
        "spec.leaderWorkerTemplate.workerTemplate (4)",
        "JobSet jobset": "spec.replicatedJobs[0].template.spec.template (4)",
        "StrimziPodSet strimzipodset": "spec.pods[0] (1), spec.pods[1] (1)",
    }.items():
        assert f"{kind}: its pods are guessed from what looks like a pod template: {where}\n" in done.stderr
    assert "Document document is not understood: nothing in it looks like a pod; left out\n" in done.stderr
    assert "1 object not understood; --strict fails on them\n" in done.stderr
    assert podnuma(*plan, "--strict", kubeconfig=filled.kubeconfig).returncode == Exit.INPUT

"""What `podnuma plan` says of a pod is what then happens to it: 300 random pods on one real cluster.

Each pod is planned on the cluster as it is, and created. Where plan admits it, it is bound there, and the
operator stores the same allocation; where plan has it refused, it is bound to a node that refuses it, and the
operator gives the same reason, words and advice; where plan has it pending, the scheduler finds no node for
it; where plan says that its manifest is wrong, the API server does not take it. Nodes differ in labels and
taints, namespaces in their LimitRanges, pods in RuntimeClasses with overhead and in PriorityClasses, of which
one does not exist, and the cluster fills up and empties.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from podnuma.cli.commands import plan
from podnuma.cli.commands.answer import print_answer
from podnuma.cli.commands.options import OutputFormat
from podnuma.cli.exits import Exit
from podnuma.cli.objects.cluster import ClusterSource

from testbed.api import ApiStatusError, path_of
from testbed.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.api import Json
    from tests.integration.operator_site import Site

PODS = int(os.environ.get("PODNUMA_PODS", "300"))
SEED = 20261129
NODES = {"n1": "a", "n2": "b", "n3": "b"}
TAINT = {"key": "dedicated", "value": "db", "effect": "NoSchedule"}
RUNTIME_CLASS = "with-overhead"
PRIORITY_CLASS = "urgent"
# Nobody reports here that the nodes are alive.
ALIVE = [
    {"key": f"node.kubernetes.io/{state}", "operator": "Exists"} for state in ("not-ready", "unreachable")
]
LIMITS: dict[str, dict[str, Any] | None] = {
    "plain": None,
    "both": {"default": {"cpu": "1", "memory": "512Mi"}, "defaultRequest": {"cpu": "1", "memory": "512Mi"}},
    "requests": {"defaultRequest": {"cpu": "250m", "memory": "128Mi"}},
    "most": {"max": {"cpu": "6", "memory": "8Gi"}},
}
WAIT = 30.0  # seconds, on a busy machine

pytestmark = pytest.mark.timeout(600)


def random_pod(rng: random.Random, name: str, namespace: str) -> Json:
    """Return a pod that may be anything: a budget or none, slices, sidecars, selectors, tolerations."""

    def amounts(cpu: str, memory: str) -> Json:
        return {"cpu": cpu, "memory": memory}

    def resources(most: int) -> Json:
        kind = rng.choice(("none", "same", "same", "burst"))
        if kind == "none":
            return {}
        cpu = rng.choice((str(rng.randint(1, max(most, 1))), "500m", "1500m"))
        limits = amounts(cpu, rng.choice(("256Mi", "1Gi")))
        return {"limits": limits, "requests": limits if kind == "same" else amounts("100m", "64Mi")}

    budget = rng.choice((0, 2, 3, 4, 6, 8, 10))
    containers = [
        {"name": f"c{number}", "image": "x", "resources": resources(budget or 4)}
        for number in range(rng.randint(1, 3))
    ]
    spec: Json = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0,
        "tolerations": [*ALIVE, *([{**TAINT, "operator": "Equal"}] if rng.random() < 0.5 else [])],
        "containers": containers,
    }
    if budget:
        total = amounts(str(budget), rng.choice(("2Gi", "4Gi", "24Gi")))
        spec["resources"] = {"requests": total, "limits": total}
    if rng.random() < 0.3:
        spec["initContainers"] = [
            {"name": "i", "image": "x", "resources": resources(2)}
            | ({"restartPolicy": "Always"} if rng.random() < 0.5 else {})
        ]
    if rng.random() < 0.15:
        spec["runtimeClassName"] = RUNTIME_CLASS
    if rng.random() < 0.15:
        spec["priorityClassName"] = rng.choice((PRIORITY_CLASS, "nobody-made-it"))
    chosen = rng.random()
    if chosen < 0.3:
        spec["nodeSelector"] = {"zone": rng.choice(("a", "b", "c"))}
    elif chosen < 0.5:
        operator = rng.choice(("In", "NotIn"))
        terms = [{"matchExpressions": [{"key": "zone", "operator": operator, "values": ["b"]}]}]
        spec["affinity"] = {
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
        }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def allocation_path(namespace: str, name: str) -> str:
    return f"/apis/podnuma.dev/v1alpha1/namespaces/{namespace}/podallocations/{name}"


class Walk:
    """A cluster that fills up, and what plan and operator say of each pod."""

    def __init__(self, site: Site, folder: Path, seed: int) -> None:
        self.site = site
        self.rng = random.Random(seed)
        self.source = ClusterSource(site.cluster.kubeconfig)
        self.file = folder / "pod.yaml"
        self.running: list[tuple[str, str]] = []
        self.shared: list[str] = []
        self.seen: Counter[str] = Counter()

    def planned(self, pod: Json) -> tuple[Exit, Json | None]:
        self.file.write_text(yaml.safe_dump(pod))
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            code = print_answer(plan.answer_plan(self.source, [str(self.file)], "", ""), OutputFormat.JSON)
        items = json.loads(out.getvalue())["items"]
        return code, items[0] if items else None

    def take(self, name: str, namespace: str) -> None:
        """Plan a pod, create it, and compare."""
        pod = random_pod(self.rng, name, namespace)
        code, found = self.planned(pod)
        if found is None:
            assert code is Exit.INPUT
            with pytest.raises(ApiStatusError):
                self.site.api.create(pod, namespace)
            self.seen["invalid"] += 1
            return
        self.seen[found["result"]] += 1
        match found["result"]:
            case "admitted":
                self._bound(pod, found["node"])
                self._same_allocation(namespace, name, found, pod)
                self.running.append((namespace, name))
            case "refused":
                refusal = found["refusals"][0]
                self._bound(pod, refusal["node"])
                decision = self._stored(namespace, name)["decision"]
                assert not decision["admitted"], f"{refusal}\n{yaml.safe_dump(pod)}"
                said = {key: decision[key] for key in ("reason", "message", "explanation")}
                assert said == {key: refusal[key] for key in said}
                self._delete(namespace, name)  # it holds nothing: the next one need not wait
            case "pending":
                self.site.api.create(pod, namespace)
                self._unschedulable(namespace, name)
                self._delete(namespace, name)
            case other:
                raise AssertionError(other)
        for field in ("runtimeClassName", "priorityClassName"):
            if field in pod["spec"]:
                self.seen[f"{found['result']} with {field}"] += 1

    def _bound(self, pod: Json, node: str) -> None:
        self.site.api.create({**pod, "spec": {**pod["spec"], "nodeName": node}}, pod["metadata"]["namespace"])

    def _same_allocation(self, namespace: str, name: str, found: Json, pod: Json) -> None:
        planned = found["allocation"]
        if "cpus" not in planned and not any("cpus" in one for one in planned["containers"]):
            self.shared.append(allocation_path(namespace, name))
            return
        stored = self._stored(namespace, name)
        for key in (planned.keys() | stored.keys()) - {"podUID", "decision"}:
            assert stored.get(key) == planned.get(key), f"{key}\n{yaml.safe_dump(pod)}"
        self.seen["compared allocations"] += 1

    def _stored(self, namespace: str, name: str) -> Json:
        path = f"/apis/podnuma.dev/v1alpha1/namespaces/{namespace}/podallocations/{name}"
        found: Json = until(
            lambda: self.site.api.find(path), f"a decision about {name}\n{self.site.logs()}", WAIT
        )
        spec: Json = found["spec"]
        return spec

    def _unschedulable(self, namespace: str, name: str) -> None:
        path = f"/api/v1/namespaces/{namespace}/pods/{name}"

        def told() -> str:
            conditions = self.site.api.get(path)["status"].get("conditions", [])
            return next((one.get("reason", "") for one in conditions if one["type"] == "PodScheduled"), "")

        assert until(told, f"the scheduler to look at {name}", WAIT) == "Unschedulable"

    def _delete(self, namespace: str, name: str) -> None:
        self.site.api.delete(f"/api/v1/namespaces/{namespace}/pods/{name}", grace_seconds=0)
        self._release(namespace, name)

    def _release(self, namespace: str, name: str) -> None:
        """Do what the agent does when the processes of a pod have ended."""
        if self.site.api.find(allocation_path(namespace, name)) is None:
            return
        body = {
            "apiVersion": "podnuma.dev/v1alpha1",
            "kind": "PodAllocation",
            "metadata": {"name": name, "namespace": namespace},
            "status": {"phase": "Released"},
        }
        with contextlib.suppress(ApiStatusError):
            self.site.api.apply(body, manager="podnuma-agent", subresource="status")

    def make_room(self) -> None:
        """End a few pods, so that the cluster is full at times and not always."""
        self.rng.shuffle(self.running)
        number = min(len(self.running), self.rng.randint(1, 6))
        ending = [self.running.pop() for _ in range(number)]
        for one in ending:
            self._delete(*one)
        for one in ending:
            path = allocation_path(*one)
            until(lambda path=path: self.site.api.find(path) is None, f"{path} to go", WAIT)  # type: ignore[misc]


def classes() -> list[Json]:
    """A RuntimeClass and a PriorityClass; nobody is preempted."""
    overhead = {"podFixed": {"cpu": "1500m", "memory": "3Gi"}}
    runtime = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": "x", "overhead": overhead}
    priority = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 1000}
    return [
        {**runtime, "metadata": {"name": RUNTIME_CLASS}},
        {**priority, "metadata": {"name": PRIORITY_CLASS}, "preemptionPolicy": "Never"},
    ]


def furnish(site: Site) -> list[str]:
    site.furnish(*NODES, onRejection="Share")
    for name, zone in NODES.items():
        site.api.merge(f"/api/v1/nodes/{name}", {"metadata": {"labels": {"zone": zone}}})
    site.cluster.kubectl("taint", "node", "n3", "dedicated=db:NoSchedule")
    site.report_hardware(*NODES)
    for one in classes():
        site.api.apply(one)
    spaces = []
    for name, limits in LIMITS.items():
        space = f"{site.namespace[:40]}-{name}"
        site.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})
        account = f"/api/v1/namespaces/{space}/serviceaccounts/default"
        until(lambda path=account: site.api.find(path), "the default service account", WAIT)  # type: ignore[misc]
        if limits is not None:
            body = {"limits": [{"type": "Container", **limits}]}
            site.api.create(
                {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"}, "spec": body}, space
            )
        spaces.append(space)
    return spaces


def test_what_plan_says_of_300_random_pods_is_what_happens(site, tmp_path):
    spaces = furnish(site)
    walk = Walk(site, tmp_path, SEED)
    try:
        for number in range(PODS):
            walk.take(f"p{number}", walk.rng.choice(spaces))
            if walk.rng.random() < 0.2:
                walk.make_room()
        for path in walk.shared:
            assert "cpus" not in (site.api.find(path) or {"spec": {}})["spec"]
    finally:
        for space in spaces:
            site.api.delete(f"/api/v1/namespaces/{space}")
        for one in classes():
            site.api.delete(path_of(one))
    logging.getLogger(__name__).info("%d pods: %s", PODS, dict(walk.seen))
    # Every outcome occurs often: the walk says something about each.
    outcomes = (
        *("admitted", "refused", "pending", "invalid", "compared allocations"),
        *("admitted with runtimeClassName", "admitted with priorityClassName"),
    )
    assert min(walk.seen[outcome] for outcome in outcomes) > PODS // 30, walk.seen

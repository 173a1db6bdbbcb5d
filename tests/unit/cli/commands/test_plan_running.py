"""Pods of a manifest that run already count as its pods: what is missing or would be replaced is planned."""

import contextlib
import copy
import io
import json
from typing import Any

import pytest
import yaml
from podnuma.cli.commands import plan
from podnuma.cli.commands.answer import print_answer
from podnuma.cli.commands.options import OutputFormat
from podnuma.cli.exits import Exit
from podnuma.cli.objects.sources import FileSource

from tests.unit.cli.builders import allocation_object, budgeted_pod, container, grant, topology_object

EPYC = "epyc7401-2s-8numa-16l3"
# Twelve CPUs on each of eight NUMA nodes; the first has ten, as two are reserved.
FIRST, SECOND = "6-11,54-59", "12-17,60-65"


def node(name: str = "node-a", **spec: object) -> dict[str, Any]:
    allocatable = {"cpu": "96", "memory": "200Gi", "pods": "110"}
    return {
        "kind": "Node",
        "metadata": {"name": name, "labels": {"disk": "ssd"}},
        "spec": spec,
        "status": {"allocatable": allocatable},
    }


def running(
    name: str, cpu: int, cpus: str, owner: tuple[str, str] | None = None, digest: str = "", on: str = "node-a"
) -> list[dict[str, Any]]:
    """A pod on a node, and what it holds there."""
    pod = budgeted_pod(name, cpu, uid=f"uid-{name}", labels={"pod-template-hash": digest} if digest else {})
    if owner:
        pod["metadata"]["ownerReferences"] = [{"kind": owner[0], "name": owner[1], "controller": True}]
    pod["spec"]["nodeName"] = on
    pod["status"] = {"phase": "Running"}
    held = grant(f"a/{name}", cpus, container("main", "pod_shared", cpus))
    return [pod, allocation_object(held, node=on)]


def workload(kind: str, cpu: int, replicas: int | None = None, **spec: object) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "w"}}, "spec": budgeted_pod("x", cpu)["spec"] | spec}
    count = {} if replicas is None else {"replicas": replicas}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "w", "namespace": "a"},
        "spec": {**count, "template": template},
    }


class Tried:
    """A plan of objects on a cluster: pods with result and node, what was said, the summary."""

    def __init__(self, tmp_path, cluster, *manifests, only: str = "") -> None:
        saved, file = tmp_path / "cluster.yaml", tmp_path / "pods.yaml"
        topology = topology_object(EPYC, reserved="0,48")
        # Without aliases: each object stands for itself.
        saved.write_text("---\n".join(json.dumps(one) + "\n" for one in (topology, *cluster)))
        file.write_text(yaml.safe_dump_all(manifests))
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            answer = plan.answer_plan(FileSource([str(saved)]), [str(file)], only, "")
            self.code = print_answer(answer, OutputFormat.JSON)
        found = json.loads(out.getvalue())
        self.all = found["items"]
        self.items = {one["name"]: one for one in self.all}
        self.pods = {name: (one["result"], one["node"]) for name, one in self.items.items()}
        self.summary = found["summary"]
        self.said = err.getvalue()


REPLICA = ("ReplicaSet", "w-5d4f")


def test_replicas_that_run_are_not_planned_a_second_time(tmp_path):
    cluster = [node(), *running("w-5d4f-x", 12, FIRST, REPLICA, "5d4f")]
    tried = Tried(tmp_path, cluster, workload("Deployment", 12, 2))
    assert tried.pods == {"w-5d4f-x": ("running", "node-a"), "w-2": ("admitted", "node-a")}
    assert tried.items["w-5d4f-x"]["allocation"]["cpus"] == FIRST
    assert tried.items["w-2"]["allocation"]["cpus"] == SECOND
    assert tried.code is Exit.OK
    counts = {"running": 1, "admitted": 1, "refused": 0, "pending": 0, "notManaged": 0}
    assert tried.summary == {
        **counts,
        "workloads": [{"kind": "Deployment", "namespace": "a", "name": "w", **counts}],
    }


def test_what_fits_only_once_is_no_refusal_where_it_runs(tmp_path):
    """Seven NUMA nodes have twelve CPUs: seven replicas run, and the same manifest wants seven."""
    cluster = [node()]
    for number in range(1, 8):
        first = number * 6
        cpus = f"{first}-{first + 5},{first + 48}-{first + 53}"
        cluster += running(f"w-5d4f-{number}", 12, cpus, REPLICA, "5d4f")
    tried = Tried(tmp_path, cluster, workload("Deployment", 12, 7))
    assert {result for result, _ in tried.pods.values()} == {"running"}
    assert tried.code is Exit.OK


def test_pods_that_ask_for_something_else_are_planned_anew_without_what_they_hold(tmp_path):
    """Room for twelve CPUs is on seven NUMA nodes; one of them is free only when the old pod is gone."""
    old = running("w-5d4f-x", 11, FIRST, REPLICA, "5d4f")
    tried = Tried(tmp_path, [node(), *old], workload("Deployment", 12, 7))
    assert list(tried.pods.values()) == [("admitted", "node-a")] * 7
    assert "planned as if they were gone already, " in tried.said
    assert "a/w-5d4f-x" in tried.said


def rolling(cpu: int, replicas: int, **update: object) -> dict[str, Any]:
    value = workload("Deployment", cpu, replicas)
    value["spec"] |= {"strategy": {"rollingUpdate": update}}
    return value


def full(replicas: int, cpu: int) -> list[dict[str, Any]]:
    """A node that has room for what runs there, and for nothing beside."""
    small = node()
    small["status"]["allocatable"]["cpu"] = str(replicas * cpu)
    cpus = [FIRST, SECOND, "18-23,66-71", "24-29,72-77"]
    pods = [running(f"w-5d4f-{number}", cpu, cpus[number], REPLICA, "5d4f") for number in range(replicas)]
    return [small, *(one for pod in pods for one in pod)]


@pytest.mark.parametrize(("replicas", "result"), [(1, "pending"), (3, "pending"), (4, "admitted")])
def test_a_new_pod_of_a_deployment_needs_room_beside_the_old_ones(tmp_path, replicas, result):
    """A quarter may be missing, which is none of three: on a full node such a rollout waits for ever."""
    tried = Tried(tmp_path, full(replicas, 12), workload("Deployment", 11, replicas))
    assert {found for found, _ in tried.pods.values()} == {result}
    assert (tried.code is Exit.OK) == (result == "admitted")
    stalled = "Deployment a/w could not be rolled out" in tried.said
    gone = "planned as if they were gone already, " in tried.said
    assert (stalled, gone) == (result == "pending", result == "admitted")


def test_a_rollout_that_no_numa_node_has_room_for_beside_the_old_pod_is_refused(tmp_path):
    cluster = [node()]
    for number in range(1, 8):
        first = number * 6
        cluster += running(f"other-{number}", 12, f"{first}-{first + 5},{first + 48}-{first + 53}")
    cluster = [*cluster[:-2], *running("w-5d4f-x", 12, "42-47,90-95", REPLICA, "5d4f")]
    tried = Tried(tmp_path, cluster, workload("Deployment", 11, 1))
    assert tried.pods == {"w-1": ("refused", None)}
    assert "at least 1 pod of it must be ready all the time, and beside a/w-5d4f-x no new" in tried.said
    assert Tried(tmp_path, cluster, rolling(11, 1, maxUnavailable=1)).pods == {"w-1": ("admitted", "node-a")}


@pytest.mark.parametrize("strategy", [{"type": "Recreate"}, {"rollingUpdate": {"maxUnavailable": 1}}])
def test_a_deployment_may_say_that_an_old_pod_goes_first(tmp_path, strategy):
    value = workload("Deployment", 11, 1)
    value["spec"]["strategy"] = strategy
    assert Tried(tmp_path, full(1, 12), value).pods == {"w-1": ("admitted", "node-a")}


def surging(cpu: int, **update: object) -> dict[str, Any]:
    value = workload("DaemonSet", cpu)
    value["spec"]["updateStrategy"] = {"rollingUpdate": update}
    return value


def test_the_new_pod_of_a_daemon_set_that_surges_needs_room_beside_the_old_one(tmp_path):
    """On node-b there is room for both; on node-a the rollout waits for ever."""
    other, big = topology_object(EPYC, reserved="0,48", name="node-b"), node("node-b")
    daemons = ("DaemonSet", "w")
    small = [node(), *running("w-a", 12, FIRST, daemons)]
    small[0]["status"]["allocatable"]["cpu"] = "12"
    cluster = [*small, other, big, *running("w-b", 12, FIRST, daemons, on="node-b")]
    tried = Tried(tmp_path, cluster, surging(11, maxSurge=1, maxUnavailable=0))
    results = sorted((one["result"], one["node"]) for one in tried.all)
    assert results == [("admitted", "node-b"), ("pending", None)]
    assert "DaemonSet a/w could not be rolled out: with maxSurge the new pod of a node" in tried.said
    assert tried.code is Exit.NO
    first = Tried(tmp_path, cluster, surging(11, maxUnavailable=1))
    assert sorted((one["result"], one["node"]) for one in first.all) == [
        ("admitted", "node-a"),
        ("admitted", "node-b"),
    ]


def rollout(cpu: int, replicas: int, **strategy: object) -> dict[str, Any]:
    value = workload("Rollout", cpu, replicas, containers=[{"name": "main", "image": "i"}])
    value["spec"]["strategy"] = strategy
    return {**value, "apiVersion": "argoproj.io/v1alpha1"}


def argos(replicas: int, cpu: int) -> list[dict[str, Any]]:
    cluster = full(replicas, cpu)
    for one in cluster:
        if one["kind"] == "Pod":
            one["metadata"]["labels"] = {"rollouts-pod-template-hash": "5d4f"}
    return cluster


def test_a_rollout_rolls_like_a_deployment_and_blue_green_needs_room_for_all(tmp_path):
    cluster = argos(2, 12)
    waits = Tried(tmp_path, cluster, rollout(11, 2, canary={}))
    assert "Rollout a/w could not be rolled out: at least 2 pods of it" in waits.said
    goes = Tried(tmp_path, cluster, rollout(11, 2, canary={"maxUnavailable": 1}))
    assert {result for result, _ in goes.pods.values()} == {"admitted"}
    cluster[0]["status"]["allocatable"]["cpu"] = "36"  # for one more
    one_more = Tried(tmp_path, cluster, rollout(11, 2, canary={}))
    assert {result for result, _ in one_more.pods.values()} == {"admitted"}
    both = Tried(tmp_path, cluster, rollout(11, 2, blueGreen={"activeService": "w"}))
    assert sorted(result for result, _ in both.pods.values()) == ["admitted", "pending"]
    assert "all its new pods must be ready before the first old one goes" in both.said


def test_old_pods_go_one_after_another_as_new_ones_are_ready(tmp_path):
    """There is room for one more pod, and so for all: each that is ready lets an old one go."""
    cluster = full(3, 12)
    cluster[0]["status"]["allocatable"]["cpu"] = "47"
    tried = Tried(tmp_path, cluster, workload("Deployment", 11, 3))
    assert {result for result, _ in tried.pods.values()} == {"admitted"}


def test_what_replaced_pods_request_is_free_for_the_scheduler_too(tmp_path):
    small = node()
    small["status"]["allocatable"]["cpu"] = "12"
    old = running("w-0", 11, FIRST, ("StatefulSet", "w"))
    tried = Tried(tmp_path, [small, *old], workload("StatefulSet", 12, 1))
    assert tried.pods == {"w-0": ("admitted", "node-a")}


def test_pods_of_a_stateful_set_are_known_by_their_names(tmp_path):
    cluster = [node(), *running("w-1", 4, FIRST, ("StatefulSet", "w"))]
    tried = Tried(tmp_path, cluster, workload("StatefulSet", 4, 2))
    assert tried.pods == {"w-0": ("admitted", "node-a"), "w-1": ("running", "node-a")}


def test_a_daemon_set_is_planned_where_none_of_its_pods_runs(tmp_path):
    other = topology_object(EPYC, reserved="0,48", name="node-b")
    cluster = [node(), node("node-b"), other, *running("w-x", 4, FIRST, ("DaemonSet", "w"))]
    tried = Tried(tmp_path, cluster, workload("DaemonSet", 4))
    assert tried.pods == {"w-x": ("running", "node-a"), "w": ("admitted", "node-b")}
    tried = Tried(tmp_path, cluster[:1] + cluster[3:], workload("DaemonSet", 4))
    assert tried.pods == {"w-x": ("running", "node-a")}


def test_a_pod_by_itself_runs_or_is_replaced(tmp_path):
    cluster = [node(), *running("one", 4, FIRST)]
    assert Tried(tmp_path, cluster, budgeted_pod("one", 4)).pods == {"one": ("running", "node-a")}
    changed = Tried(tmp_path, cluster, budgeted_pod("one", 12))
    assert changed.pods == {"one": ("admitted", "node-a")}
    assert "for a change of a pod that runs: podnuma plan resize a/one --cpu CPUS" in changed.said


def test_a_container_that_was_injected_is_not_missed_in_the_manifest(tmp_path):
    pod, held = running("w-5d4f-x", 12, FIRST, REPLICA, "5d4f")
    pod["spec"]["containers"].append({"name": "proxy", "resources": {"requests": {"cpu": "100m"}}})
    tried = Tried(tmp_path, [node(), pod, held], workload("Deployment", 12, 1))
    assert tried.pods == {"w-5d4f-x": ("running", "node-a")}


@pytest.mark.parametrize(
    ("spec", "result"),
    [
        ({"nodeSelector": {"disk": "ssd"}}, "running"),
        ({"nodeSelector": {"disk": "tape"}}, "pending"),
        ({"nodeName": "node-b"}, "pending"),
    ],
)
def test_a_pod_that_may_not_stay_on_its_node_is_planned_anew(tmp_path, spec, result):
    cluster = [node(), *running("w-5d4f-x", 12, FIRST, REPLICA, "5d4f")]
    tried = Tried(tmp_path, cluster, workload("Deployment", 12, 1, **spec))
    assert [found for found, _ in tried.pods.values()] == [result]


def test_a_cordon_moves_no_pod_that_runs(tmp_path):
    cluster = [node(unschedulable=True), *running("w-5d4f-x", 12, FIRST, REPLICA, "5d4f")]
    tried = Tried(tmp_path, cluster, workload("Deployment", 12, 1))
    assert tried.pods == {"w-5d4f-x": ("running", "node-a")}


def test_more_pods_than_asked_for_keep_what_they_hold(tmp_path):
    """An autoscaler has set the replicas that the manifest leaves out."""
    cluster = [node()]
    for name, cpus in (("x", FIRST), ("y", SECOND)):
        cluster += running(f"w-5d4f-{name}", 12, cpus, REPLICA, "5d4f")
    tried = Tried(tmp_path, cluster, workload("Deployment", 12), budgeted_pod("other", 12))
    assert tried.pods == {"w-5d4f-x": ("running", "node-a"), "other": ("admitted", "node-a")}
    assert tried.items["other"]["allocation"]["cpus"] == "18-23,66-71"
    assert "more than the manifests ask for, left as they are: a/w-5d4f-y" in tried.said


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {"deletionTimestamp": "2026-11-30T05:00:00Z"}},
        {"status": {"phase": "Succeeded"}},
        {"spec": {"nodeName": ""}},
        {"metadata": {"namespace": "b"}},
        {"metadata": {"ownerReferences": [{"kind": "ReplicaSet", "name": "w-5d4f"}]}},
        {"metadata": {"labels": {"pod-template-hash": "other"}}},
    ],
)
def test_what_does_not_run_for_the_object_is_planned(tmp_path, change):
    pod, held = running("w-5d4f-x", 12, FIRST, REPLICA, "5d4f")
    pod = copy.deepcopy(pod)
    for part, fields in change.items():
        pod[part] |= fields
    tried = Tried(tmp_path, [node(), pod, held], workload("Deployment", 12, 1))
    assert tried.pods == {"w-1": ("admitted", "node-a")}
    assert tried.items["w-1"]["allocation"]["cpus"] == SECOND


def test_replicas_on_other_nodes_count_when_one_node_is_asked(tmp_path):
    other = topology_object(EPYC, reserved="0,48", name="node-b")
    old = running("w-5d4f-x", 12, FIRST, REPLICA, "5d4f", on="node-b")
    cluster = [node(), node("node-b"), other, *old]
    tried = Tried(tmp_path, cluster, workload("Deployment", 12, 2), only="node-a")
    assert tried.pods == {"w-5d4f-x": ("running", "node-b"), "w-2": ("admitted", "node-a")}


def test_pods_of_custom_resources_count_by_their_controller(tmp_path):
    clones = workload("CloneSet", 12, 2) | {"apiVersion": "apps.kruise.io/v1alpha1"}
    cluster = [node(), *running("w-x", 12, FIRST, ("CloneSet", "w"))]
    tried = Tried(tmp_path, cluster, clones)
    assert tried.pods == {"w-x": ("running", "node-a"), "w-2": ("admitted", "node-a")}


def controlled(kind: str, name: str, by: tuple[str, str]) -> dict[str, Any]:
    owner = {"kind": by[0], "name": by[1], "controller": True}
    return {"kind": kind, "metadata": {"name": name, "namespace": "a", "ownerReferences": [owner]}}


def custom(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "example.com/v1",
        "kind": kind,
        "metadata": {"name": "w", "namespace": "a"},
        "spec": spec,
    }


def template(cpu: int) -> dict[str, Any]:
    return {"spec": {**budgeted_pod("x", cpu)["spec"], "containers": [{"name": "main", "image": "i"}]}}


def test_pods_of_jobs_count_for_the_object_that_made_the_jobs(tmp_path):
    """JobSet; and a CronJob, whose run goes on."""
    made = running("w-a-0-x", 12, FIRST, ("Job", "w-a-0"))
    job = {"spec": {"template": template(12)}}
    for asked in (
        custom("JobSet", {"replicatedJobs": [{"name": "a", "replicas": 2, "template": job}]}),
        {**custom("CronJob", {"jobTemplate": job}), "apiVersion": "batch/v1"},
    ):
        cluster = [node(), *made, controlled("Job", "w-a-0", (asked["kind"], "w"))]
        tried = Tried(tmp_path, cluster, asked)
        assert tried.pods.pop("w-a-0-x") == ("running", "node-a")
        assert [result for result, _ in tried.pods.values()] == ["admitted"] * (asked["kind"] == "JobSet")


def test_a_pod_may_stand_between_a_pod_and_its_object(tmp_path):
    """LeaderWorkerSet: the workers of a group belong to the leader's pod, by a StatefulSet."""
    group = {"size": 2, "leaderTemplate": template(12), "workerTemplate": template(11)}
    asked = custom("LeaderWorkerSet", {"replicas": 1, "leaderWorkerTemplate": group})
    cluster = [
        node(),
        *running("w-0", 12, FIRST, ("StatefulSet", "w")),
        *running("w-0-1", 11, "12-17,60-64", ("StatefulSet", "w-0")),
        controlled("StatefulSet", "w", ("LeaderWorkerSet", "w")),
        controlled("StatefulSet", "w-0", ("Pod", "w-0")),
    ]
    tried = Tried(tmp_path, cluster, asked)
    assert tried.pods == {"w-0": ("running", "node-a"), "w-0-1": ("running", "node-a")}


def test_objects_that_control_each_other_are_no_endless_chain(tmp_path):
    cluster = [
        node(),
        *running("w-x", 12, FIRST, ("Job", "b")),
        controlled("Job", "b", ("Job", "c")),
        controlled("Job", "c", ("Job", "b")),
    ]
    tried = Tried(tmp_path, cluster, custom("JobSet", {"a": template(12)}))
    assert {result for result, _ in tried.pods.values()} == {"admitted"}


@pytest.mark.parametrize("partition", [0, 2, 3, None])
def test_pods_below_the_partition_of_a_stateful_set_are_not_replaced(tmp_path, partition):
    """No NUMA node has 14 CPUs; the first pods keep what they have until the partition is lowered."""
    cluster = [node()]
    for number, cpus in enumerate((FIRST, SECOND, "18-23,66-71")):
        cluster += running(f"w-{number}", 12, cpus, ("StatefulSet", "w"))
    new = workload("StatefulSet", 14, 3)
    new["spec"]["updateStrategy"] = {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}
    tried = Tried(tmp_path, cluster, new)
    kept = partition or 0
    assert [result for result, _ in tried.pods.values()] == ["running"] * kept + ["refused"] * (3 - kept)
    assert tried.code is (Exit.OK if kept == 3 else Exit.NO)


def test_a_new_pod_below_the_partition_is_planned(tmp_path):
    new = workload("StatefulSet", 12, 2)
    new["spec"]["updateStrategy"] = {"rollingUpdate": {"partition": 2}}
    cluster = [node(), *running("w-0", 11, FIRST, ("StatefulSet", "w"))]
    tried = Tried(tmp_path, cluster, new)
    assert tried.pods == {"w-0": ("running", "node-a"), "w-1": ("admitted", "node-a")}
    assert "planned as if they were gone" not in tried.said

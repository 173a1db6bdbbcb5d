"""Operator and agents as real processes on a real API server: what is planned, what outlives whom, how fast.

One system serves all tests of this module; each test has pods of its own.
"""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
import yaml
from podnuma.cli.exits import Exit

from testbed import cgroups
from testbed.cleanup import GROUP, delete
from testbed.demo import expectations
from testbed.waiting import until
from tests.integration.cli_runs import ROOT, podnuma

if TYPE_CHECKING:
    import subprocess

pytestmark = pytest.mark.timeout(180)

OUTAGE_SECONDS = 30
NODES = "/api/v1/nodes"
EXAMPLES = ROOT / "examples"


def wait_released(system) -> None:
    """Wait until nothing is held any more by pods of earlier tests."""
    held = f"{GROUP}/podallocations"
    until(lambda: not system.cluster.api.items(held), "what pods of earlier tests held to be free", 30)


@pytest.fixture
def pods(system, namespace):
    """Both pods of the announcement, applied; returns their PodAllocations by pod name."""
    wait_released(system)
    for name in ("database", "ml-training"):
        system.create_example(namespace, name)
    return {name: system.wait_applied(namespace, name) for name in ("database", "ml-training")}


def files(root: Path) -> dict[str, tuple[str, int]]:
    """Return text and time of the last write of every file of a node's control groups."""
    return {
        str(path.relative_to(root)): (path.read_text(), path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def texts(root: Path) -> dict[str, str]:
    return {name: text for name, (text, _) in files(root).items()}


def changes(before: object, after: object, path: str = "") -> list[str]:
    """List where two JSON values differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = sorted(before.keys() | after.keys())
        return [line for key in keys for line in changes(before.get(key), after.get(key), f"{path}/{key}")]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [line for place, (old, new) in pairs for line in changes(old, new, f"{path}/{place}")]
    return [] if before == after else [f"{path}: {before!r} became {after!r}"]


def wait_for_operator_at_work(system, namespace):
    """A new profile is looked at: what the operator does at its start is behind us."""
    api = system.cluster.api
    name = f"fence-{namespace}"[:63].rstrip("-")
    api.create(
        {
            "apiVersion": "podnuma.dev/v1alpha1",
            "kind": "NodeProfile",
            "metadata": {"name": name},
            "spec": {"nodeSelector": {"matchLabels": {"no-node": "has-this"}}},
        }
    )
    api.wait_for(
        f"{GROUP}/nodeprofiles",
        lambda found: bool(found.get("status", {}).get("conditions")),
        "the operator to look at a new profile",
        timeout=30,
        fieldSelector=f"metadata.name={name}",
    )
    api.delete(f"{GROUP}/nodeprofiles/{name}")


def create_plain_pod(system, namespace, node):
    """Create a pod that asks for nothing on a node, and return its UID."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "plain", "namespace": namespace},
        "spec": {"nodeName": node, "containers": [{"name": "main", "image": "none"}]},
    }
    return system.cluster.api.create(pod)["metadata"]["uid"]


def cpu_seconds(pid: int) -> float:
    """Return the processor time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_both_pods_get_what_the_announcement_promises(system, pods):
    database, training = pods["database"], pods["ml-training"]
    assert expectations.database(system.node_of(database).machine, system.written(database)) == []
    assert expectations.training(system.node_of(training).machine, system.written(training)) == []
    for allocation in pods.values():
        assert expectations.agreement(allocation, system.written(allocation)) == []


@pytest.fixture
def plan(system):
    """Ask what would happen, on nodes that are free and that the scheduler may use."""
    api = system.cluster.api
    until(lambda: not api.items(f"{GROUP}/podallocations"), "what pods of earlier tests held to be free", 20)
    # The node controller takes the taints of a new node away a moment after it is Ready.
    until(
        lambda: not any(node["spec"].get("taints") for node in api.items(NODES)), "nodes without taints", 30
    )
    return partial(podnuma, "plan", kubeconfig=system.cluster.kubeconfig)


def results(done: subprocess.CompletedProcess[str]) -> dict[str, tuple[str, str]]:
    """Where the pods of a plan would be, and the word for it."""
    rows = [line.split() for line in done.stdout.partition("\n\n")[0].splitlines()[1:]]
    return {row[0]: (row[1], row[2]) for row in rows}


def stored(path: Path, manifest: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(manifest))
    return path


def of_cpus(number: int) -> dict[str, Any]:
    """The specification of the example pod for databases, with so many CPUs and one container."""
    spec: dict[str, Any] = yaml.safe_load((EXAMPLES / "pods" / "database.yaml").read_text())["spec"]
    amounts = {"cpu": str(number), "memory": "4Gi"}
    alone = {
        "resources": {"requests": amounts, "limits": amounts},
        "containers": [{"name": "a", "image": "x"}],
    }
    return {"nodeSelector": spec["nodeSelector"], **alone}


def test_plan_puts_the_examples_where_they_may_go_and_the_large_one_nowhere(plan):
    done = plan("-f", EXAMPLES / "pods")
    assert done.returncode == Exit.NO, done.stderr
    assert results(done) == {
        "default/database": ("node-1", "admitted"),
        "default/ml-training": ("node-2", "admitted"),
        "default/too-large": ("-", "refused"),
    }
    assert (
        "default/too-large on node-1: TopologyAffinityError: needs 64 CPUs on one NUMA node; " in done.stdout
    )
    assert "not considered: 1 node: 1 by nodeSelector\n" in done.stdout


def test_of_nine_replicas_as_many_fit_as_there_are_numa_nodes_with_room(plan, tmp_path):
    """Each of the eight NUMA nodes has 12 CPUs; two of the first are reserved."""
    template = {"metadata": {"labels": {"app": "nine"}}, "spec": of_cpus(11)}
    spec = {"replicas": 9, "selector": {"matchLabels": {"app": "nine"}}, "template": template}
    nine = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "nine"}, "spec": spec}
    done = plan("-f", stored(tmp_path / "nine.yaml", nine))
    assert done.returncode == Exit.NO, done.stderr
    assert sorted(results(done).values()) == [("-", "refused")] * 2 + [("node-1", "admitted")] * 7
    assert "Deployment default/nine: 7 of 9 pods fit, 2 refused\n" in done.stdout


def test_a_profile_in_a_file_judges_only_the_nodes_that_it_selects(plan, tmp_path):
    profile = yaml.safe_load((EXAMPLES / "profiles" / "databases.yaml").read_text())
    profile["spec"]["nodeSelector"] = {"matchLabels": {"node-pool": "training"}}
    spec = of_cpus(10)
    del spec["nodeSelector"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "anywhere"}, "spec": spec}
    manifest = stored(tmp_path / "anywhere.yaml", pod)
    assert results(plan("-f", manifest)) == {"default/anywhere": ("node-1", "admitted")}
    done = plan("-f", manifest, "--profile", stored(tmp_path / "profile.yaml", profile))
    assert done.returncode == Exit.OK, done.stderr
    assert results(done) == {"default/anywhere": ("node-2", "admitted")}


def test_a_pod_that_names_its_node_is_judged_there(plan, tmp_path):
    """No scheduler chooses; the node's kubelet still refuses a pod whose selector excludes it."""
    spec = {**of_cpus(2), "nodeName": "node-2"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bound"}, "spec": spec}
    refused = plan("-f", stored(tmp_path / "bound.yaml", pod))
    assert refused.returncode == Exit.NO
    assert results(refused)["default/bound"][0] == "-"
    del spec["nodeSelector"]
    done = plan("-f", stored(tmp_path / "bound.yaml", pod))
    assert results(done) == {"default/bound": ("node-2", "admitted")}, done.stderr


def test_a_taint_is_respected_and_counted_beside_what_the_selector_leaves_out(system, plan):
    kubectl = system.cluster.kubectl
    kubectl("taint", "node", "node-1", "only=others:NoSchedule")
    try:
        done = plan("-f", EXAMPLES / "pods" / "database.yaml")
    finally:
        kubectl("taint", "node", "node-1", "only-")
    assert done.returncode == Exit.NO
    assert results(done) == {"default/database": ("-", "pending")}
    left_out = done.stdout.partition("not considered: 2 nodes: ")[2].strip()
    assert sorted(left_out.split(", ")) == ["1 by nodeSelector", "1 by taints"]


@pytest.mark.usefixtures("pods")
def test_killed_operator_finds_every_allocation_and_changes_none(system, namespace):
    before = system.allocations(namespace)
    assert set(before) == {"database", "ml-training"}
    system.operator.kill()
    system.operator.start().wait_ready()
    wait_for_operator_at_work(system, namespace)
    assert changes(before, system.allocations(namespace)) == []


def resize_database(system, namespace, whole, own):
    """Resize the budget and the slice of the database; its memory stays."""
    api, path = system.cluster.api, f"/api/v1/namespaces/{namespace}/pods/database"
    node = system.allocations(namespace)["database"]["spec"]["nodeName"]
    declared = {"status": {"declaredFeatures": ["InPlacePodLevelResourcesVerticalScaling"]}}
    api.merge(f"/api/v1/nodes/{node}/status", declared)
    # The API server lets only pods be resized whose kubelet reports the resources of their containers.
    status = api.get(path)["status"]
    for listing in ("initContainerStatuses", "containerStatuses"):
        status[listing] = [{**one, "resources": {}} for one in status.get(listing, [])]
    api.merge(f"{path}/status", {"status": status})
    amounts = [
        {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu, "memory": memory}}
        for cpu, memory in ((whole, "16Gi"), (own, "12Gi"))
    ]
    spec = {"resources": amounts[0], "containers": [{"name": "database", "resources": amounts[1]}]}
    api.request(
        "PATCH", f"{path}/resize", {"spec": spec}, content_type="application/strategic-merge-patch+json"
    )


def wait_phase(system, namespace, phase):
    """Wait until the status of the present decision about the database has a phase; return the object."""

    def reached():
        found = system.allocations(namespace)["database"]
        status = found["status"]
        current = status["observedGeneration"] == found["metadata"]["generation"]
        return found if current and status["phase"] == phase else None

    return until(reached, f"phase {phase}\n{system.logs()}", 30)


def test_a_resized_pod_is_applied_with_its_new_cpus_and_only_then(system, namespace, pods):
    before = pods["database"]
    had = system.written(before)["database"].cpus
    resize_database(system, namespace, "6", "4")
    until(lambda: system.allocations(namespace)["database"]["spec"] != before["spec"], "a decision", 30)
    after = wait_phase(system, namespace, "Applied")
    written = system.written(after)
    assert expectations.agreement(after, written) == []
    counts = {name: len(group.cpus) for name, group in written.items()}
    assert counts == {"database": 4, "metrics-exporter": 2, "backup-agent": 2}
    assert written["database"].cpus <= had
    resize_database(system, namespace, "40", "34")
    waiting = wait_phase(system, namespace, "ResizePending")
    conditions = {entry["type"]: entry for entry in waiting["status"]["conditions"]}
    assert (conditions["Ready"]["status"], conditions["Ready"]["reason"]) == ("False", "ResizePending")
    assert conditions["ResizePending"]["reason"] == "Infeasible"
    assert system.written(waiting)["database"].cpus == written["database"].cpus
    resize_database(system, namespace, "8", "6")
    back = wait_phase(system, namespace, "Applied")
    grown = system.written(back)["database"].cpus
    assert (len(grown), written["database"].cpus <= grown) == (6, True)


def test_a_resize_while_operator_or_agent_is_dead_is_applied_by_the_next_one(system, namespace, pods):
    node = pods["database"]["spec"]["nodeName"]

    def spec():
        return system.allocations(namespace)["database"]["spec"]

    def has():
        return len(system.written(system.allocations(namespace)["database"])["database"].cpus)

    system.operator.kill()
    resize_database(system, namespace, "6", "4")
    system.operator.start().wait_ready()
    until(lambda: has() == 4, f"4 CPUs\n{system.logs()}", 30)
    before = spec()
    system.agents[node].kill()
    resize_database(system, namespace, "8", "6")
    until(lambda: spec() != before, "a decision", 30)
    assert has() == 4
    system.agents[node].start().wait_ready()
    until(lambda: has() == 6, f"6 CPUs\n{system.logs()}", 30)
    wait_phase(system, namespace, "Applied")


def test_killed_operator_decides_what_came_while_it_was_away(system, namespace, pods):
    system.operator.kill()
    system.create_example(namespace, "database", "second")
    system.cluster.api.delete(f"/api/v1/namespaces/{namespace}/pods/ml-training")
    system.operator.start()
    second = system.wait_applied(namespace, "second")
    main, other = system.written(pods["database"]), system.written(second)
    assert expectations.database(system.node_of(second).machine, other) == []
    held, new = (frozenset().union(*(group.cpus for group in found.values())) for found in (main, other))
    assert held.isdisjoint(new)
    until(lambda: "ml-training" not in system.allocations(namespace), "the allocation to go", 30)


@pytest.mark.usefixtures("pods")
def test_killed_agent_finds_its_allocations_applied_and_writes_nothing(system, namespace):
    before = system.allocations(namespace)
    root = system.nodes["node-1"].cgroup_root
    untouched = files(root)
    system.agents["node-1"].kill()
    assert files(root) == untouched
    system.agents["node-1"].start().wait_ready()
    # A container that comes later is seen: what the agent does at its start is behind us.
    plain = create_plain_pod(system, namespace, "node-1")
    until(lambda: any(root.rglob(f"*pod{plain.replace('-', '_')}*/cri-*")), "the agent to see a new pod", 30)
    assert changes(before, system.allocations(namespace)) == []
    after = files(root)
    assert {name: after.get(name) for name in untouched} == untouched


@pytest.mark.usefixtures("pods")
@pytest.mark.parametrize("edit", [{"containers": []}, {"cpus": "9-1"}, {"podCPUQuota": 5}])
def test_an_allocation_broken_while_nobody_looks_is_put_back_and_its_cgroups_stay_as_they_are(
    system, namespace, edit
):
    path = f"{GROUP}/namespaces/{namespace}/podallocations/database"
    before = system.allocations(namespace)["database"]["spec"]
    root = system.nodes["node-1"].cgroup_root
    system.operator.kill()
    system.agents["node-1"].kill()
    untouched = files(root)
    system.cluster.api.merge(path, {"spec": edit})
    system.agents["node-1"].start().wait_ready()

    def told() -> Any:
        found = system.cluster.api.get(path)["status"]
        (ready,) = [each for each in found["conditions"] if each["type"] == "Ready"]
        return found if ready["reason"] == "InvalidObject" else None

    assert until(told, "the agent to say that the spec is not what was decided", 30)["phase"] == "Drifted"
    assert files(root) == untouched
    system.operator.start().wait_ready()
    until(lambda: system.allocations(namespace)["database"]["spec"] == before, "the spec to be put back", 30)
    system.wait_applied(namespace, "database")
    assert files(root) == untouched


@pytest.fixture
def policy(system):
    """Have an admission policy put the database elsewhere than it was decided; return how it is ended."""
    api = system.cluster.api
    moves = {"/spec/cpus": "60-67", "/spec/podCPUQuota": 5}
    patches = [
        f'JSONPatch{{op: "replace", path: "{path}", value: {value!r}}}' for path, value in moves.items()
    ]
    group, name = "admissionregistration.k8s.io/v1", "moves-the-database"
    rule = {
        "apiGroups": ["podnuma.dev"],
        "apiVersions": ["*"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["podallocations"],
    }
    spec = {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": {"resourceRules": [rule]},
        "matchConditions": [{"name": "it", "expression": "object.metadata.name.startsWith('database')"}],
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": f"[{', '.join(patches)}]"}}],
    }
    kinds = {"MutatingAdmissionPolicy": spec, "MutatingAdmissionPolicyBinding": {"policyName": name}}
    for kind, content in kinds.items():
        api.create({"apiVersion": group, "kind": kind, "metadata": {"name": name}, "spec": content})

    def end() -> None:
        for kind in ("bindings", "policies"):
            plural = f"mutatingadmission{'policy' if kind == 'bindings' else ''}{kind}"
            delete(api, f"/apis/{group}/{plural}/{name}")

    yield end
    end()


def test_an_allocation_that_a_policy_changes_is_acted_on_by_nobody_and_comes_when_the_policy_is_gone(
    system, namespace, policy
):
    api, root = system.cluster.api, system.nodes["node-1"].cgroup_root
    path = f"{GROUP}/namespaces/{namespace}/podallocations/database"

    def policy_works() -> bool:
        probe = {
            "apiVersion": "podnuma.dev/v1alpha1",
            "kind": "PodAllocation",
            "metadata": {"name": "database-probe", "namespace": namespace},
            "spec": {
                "podUID": "probe",
                "nodeName": "nowhere",
                "scope": "pod",
                "podLevel": True,
                "cpus": "1",
                "podCPUQuota": 1,
                "containers": [],
                "summary": {"cpus": "1", "numa": "-", "exclusive": "1", "shared": "-"},
                "decision": {"admitted": True, "reason": "Admitted", "checksum": "c"},
            },
        }
        return bool(api.create(probe, dryRun="All")["spec"]["podCPUQuota"] == 5)

    until(policy_works, "the API server to follow the policy", 30)
    wait_released(system)  # or the pod is kept off CPUs of earlier ones, which is a write, too
    pod = system.create_example(namespace, "database")
    uid = pod["metadata"]["uid"].replace("-", "_")

    def told() -> Any:
        found = api.find(path)
        conditions = (found or {}).get("status", {}).get("conditions", [])
        return next((found for one in conditions if one["reason"] == "InvalidObject"), None)

    stored = until(told, f"the agent to say that it does not act on it\n{system.logs()}", 30)
    assert (stored["spec"]["cpus"], stored["spec"]["podCPUQuota"]) == ("60-67", 5)
    assert stored["status"]["phase"] == "Pending"

    def events() -> list[str]:
        found = api.items(f"/api/v1/namespaces/{namespace}/events")
        return [event["message"] for event in found if event["reason"] == "StoredOtherwise"]

    (event,) = until(events, "the event on the pod", 30)
    assert "spec." in event
    assert "no agent acts on it" in event
    time.sleep(5)
    found = api.get(path)
    assert found["metadata"]["generation"] == stored["metadata"]["generation"], (
        "nothing writes again and again"
    )
    assert found["status"]["phase"] == "Pending"
    assert {text for name, text in texts(root).items() if uid in name and name.endswith("cpuset.cpus")} <= {
        "",
        "\n",
    }
    policy()
    until(lambda: not policy_works(), "the API server to forget the policy", 30)
    system.operator.kill()
    system.operator.start().wait_ready()
    applied = system.wait_applied(namespace, "database")
    assert expectations.database(system.node_of(applied).machine, system.written(applied)) == []


def test_huge_pages_that_others_took_are_left_to_them(system, namespace):
    """From the kernel's counts to the decision: NUMA node 3 alone has free pages."""
    api, sysfs = system.cluster.api, system.nodes["node-2"].sys_root
    counts = [
        sysfs / f"devices/system/node/node{node}/hugepages/hugepages-2048kB/free_hugepages"
        for node in range(4)
    ]
    before = [count.read_text() for count in counts]
    topology = f"{GROUP}/nodetopologies/node-2"
    try:
        for count in counts[:3]:
            count.write_text("0\n")

        def told() -> set[int]:
            return {one["numaNode"] for one in api.get(topology)["status"].get("hugepagesInUse", [])}

        until(lambda: told() == {0, 1, 2}, "the agent to tell of pages in use", 30)
        amounts = {"cpu": "2", "memory": "1Gi", "hugepages-2Mi": "1Gi"}
        container = {"name": "main", "image": "x", "resources": {"requests": amounts, "limits": amounts}}
        api.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "paged", "namespace": namespace},
                "spec": {"nodeName": "node-2", "containers": [container]},
            }
        )
        (held,) = system.wait_applied(namespace, "paged")["spec"]["containers"]
        assert {block["nodes"] for block in held["memory"] if block["resource"] == "hugepages-2Mi"} == {"3"}
    finally:
        for count, text in zip(counts, before, strict=True):
            count.write_text(text)
    until(lambda: told() == set(), "the agent to tell that they are free", 30)


def test_killed_agent_applies_what_came_while_it_was_away(system, namespace, pods):
    system.agents["node-1"].kill()
    system.create_example(namespace, "database", "second")
    system.cluster.api.delete(f"/api/v1/namespaces/{namespace}/pods/database")
    system.agents["node-1"].start()
    second = system.wait_applied(namespace, "second")
    assert expectations.database(system.node_of(second).machine, system.written(second)) == []
    gone = pods["database"]["spec"]["podUID"].replace("-", "_")
    root = system.nodes["node-1"].cgroup_root
    until(lambda: not any(root.rglob(f"*{gone}*")), "the folders of the deleted pod to go", 30)


def test_deleted_pod_gives_its_cpus_back_and_a_new_one_gets_them(system, namespace, pods):
    api, node = system.cluster.api, system.node_of(pods["database"])
    held = frozenset().union(*(group.cpus for group in system.written(pods["database"]).values()))
    assert len(held) == 8

    def shared_pool() -> frozenset[int]:
        group = node.cgroup_root / "kubepods.slice" / "kubepods-burstable.slice"
        return cgroups.read_group(node.cgroup_root, group, "", "burstable").cpus

    def told_pods() -> str:
        return str(api.get(f"{GROUP}/nodetopologies/node-1")["status"]["summary"]["pods"])

    assert held.isdisjoint(shared_pool())
    api.delete(f"/api/v1/namespaces/{namespace}/pods/database")
    until(lambda: held <= shared_pool(), "the shared pool to have the CPUs again", 30)
    until(lambda: told_pods() == "0", "the NodeTopology to say so", 30)
    system.create_example(namespace, "database", "successor")
    successor = system.written(system.wait_applied(namespace, "successor"))
    assert frozenset().union(*(group.cpus for group in successor.values())) == held


def test_a_new_pod_of_the_same_name_is_another_pod(system, namespace, pods):
    api = system.cluster.api
    pod_path = f"/api/v1/namespaces/{namespace}/pods/database"
    api.delete(pod_path)
    until(lambda: api.find(pod_path) is None, "the pod to go", 30)

    def applied_anew() -> dict[str, Any] | None:
        pod = api.find(pod_path)
        if pod is None:
            # kwok deletes by name: it may take the new pod for the old one, and then it goes, too.
            pod = system.create_example(namespace, "database")
        found = api.find(f"{GROUP}/namespaces/{namespace}/podallocations/database")
        applied = found is not None and found.get("status", {}).get("phase") == "Applied"
        return found if applied and found["spec"]["podUID"] == pod["metadata"]["uid"] else None

    allocation = until(applied_anew, "the allocation of the new pod", 30)
    assert allocation["metadata"]["uid"] != pods["database"]["metadata"]["uid"]
    assert expectations.database(system.node_of(allocation).machine, system.written(allocation)) == []


@pytest.mark.usefixtures("pods")
def test_thirty_seconds_without_api_server_change_nothing_and_cost_little(system, namespace, kwok):
    before = system.allocations(namespace)
    programs = [system.operator, *system.agents.values()]
    trees = {name: texts(node.cgroup_root) for name, node in system.nodes.items()}
    used = {program.name: cpu_seconds(program.process.pid) for program in programs}
    with system.cluster.apiserver_gone():
        ends = time.monotonic() + OUTAGE_SECONDS
        while time.monotonic() < ends:
            for program in programs:
                program.process.check()
            time.sleep(1)
    for program in programs:
        program.process.check()
        spent = cpu_seconds(program.process.pid) - used[program.name]
        assert spent < OUTAGE_SECONDS / 5, f"{program.name} used {spent:.1f} s of processor time"
    assert {name: texts(node.cgroup_root) for name, node in system.nodes.items()} == trees
    kwok.restart()
    system.create_example(namespace, "database", "afterwards")
    assert system.written(system.wait_applied(namespace, "afterwards"))
    after = system.allocations(namespace)
    assert {name: found["spec"] for name, found in after.items() if name in before} == {
        name: found["spec"] for name, found in before.items()
    }
    assert {after[name]["status"]["phase"] for name in before} == {"Applied"}


@pytest.mark.usefixtures("pods")
def test_kubectl_columns_are_filled_and_plain(system, namespace):
    shown = system.cluster.kubectl("-n", namespace, "get", "pa", "-o", "wide")
    assert "<none>" not in shown
    assert "[" not in shown
    assert "{" not in shown
    for program in (system.operator, *system.agents.values()):
        assert requests.get(f"http://127.0.0.1:{program.port}/healthz", timeout=5).ok

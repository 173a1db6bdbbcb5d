"""One pod: what was asked, what was free, what was decided, what the kernel has, what would fit."""

import json
from dataclasses import replace
from typing import Any

import pytest
import yaml
from podnuma.allocator import Admitted, GrantedDevice, nodeset
from podnuma.allocator.manager_settings import TopologyManagerScope
from podnuma.api.pod_allocation import DEVICES_PENDING, Decision, rejected_grant, render_pod_allocation
from podnuma.cli.commands import explain
from podnuma.cli.commands.answer import print_answer
from podnuma.cli.commands.options import OutputFormat
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects.sources import FileSource

from testbed import dra
from tests.unit.cli.builders import (
    PODS,
    ROOT,
    allocation_object,
    budgeted_pod,
    container,
    grant,
    topology_object,
)

EPYC = "epyc7401-2s-8numa-16l3"
KEY = ("payments", "ledger-db-0")


def print_explanation(source, key, node, form, manifest=None, **more):
    return print_answer(explain.explain_one(source, key, node, manifest, **more), form)


def saved(tmp_path, *objects) -> FileSource:
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump_all([topology_object(EPYC, reserved="0,48"), *objects]))
    return FileSource([str(path), str(PODS / "01-postgres-native-sidecar.yaml")])


def test_an_unbound_pod_is_explained_on_the_node_that_is_named(tmp_path, capsys):
    assert print_explanation(saved(tmp_path), KEY, "node-a", OutputFormat.TEXT) is Exit.OK
    text = capsys.readouterr().out
    assert text.startswith("pod payments/ledger-db-0 on node-a: not decided; it would be admitted\n")
    sections = [line for line in text.splitlines() if line and not line.startswith(" ")][1:]
    assert sections == ["asked", "free on the node without it", "considered", "would be decided"]
    assert "QoS class Guaranteed, budget 6 CPU, 12Gi memory" in text
    assert "pod wants 6 cpu: NUMA nodes 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 0-1 (not preferred)" in text


def test_no_line_is_too_long_to_read_although_all_hints_of_eight_numa_nodes_are_shown(tmp_path, capsys):
    lines = {}
    for form in (OutputFormat.TEXT, OutputFormat.WIDE):
        print_explanation(saved(tmp_path), KEY, "node-a", form)
        lines[form] = capsys.readouterr().out.splitlines()
        assert max(map(len, lines[form])) <= 120
    assert any("more (-o wide)" in line for line in lines[OutputFormat.TEXT])
    # All sets of two nodes and more.
    assert " ".join(lines[OutputFormat.WIDE]).count("(not preferred)") >= 2**8 - 1 - 8


def test_an_unbound_pod_is_asked_of_all_nodes(tmp_path, capsys):
    assert print_explanation(saved(tmp_path), KEY, "", OutputFormat.TEXT) is Exit.OK
    text = capsys.readouterr().out
    assert text.startswith("pod payments/ledger-db-0 is on no node yet; 1 node would admit it now\n")


def test_of_a_pod_without_a_decision_it_is_said_that_its_devices_are_not_considered(tmp_path, capsys):
    manifest = dra.use_claim(budgeted_pod("train", 4), "gpu")
    print_explanation(saved(tmp_path), ("a", "train"), "node-a", OutputFormat.TEXT, manifest)
    assert "where its devices are is not considered: ResourceClaim gpu (" in capsys.readouterr().err
    unbound = dra.use_claim(budgeted_pod("unbound", 4), "gpu")
    print_explanation(saved(tmp_path, unbound), ("a", "unbound"), "", OutputFormat.TEXT)
    assert "where its devices are is not considered: ResourceClaim gpu (" in capsys.readouterr().err


def test_the_pod_of_a_manifest_needs_a_node(tmp_path):
    with pytest.raises(Failure) as failure:
        explain.gather(saved(tmp_path), *KEY, "")
    assert "is on no node yet; name one with --node NODE" in failure.value.lines[0]


def test_a_pod_that_does_not_exist_is_said_so(tmp_path):
    otherwise = "its workload: deploy/NAME, sts/NAME or job/NAME, or its manifest: -f FILE --node NODE"
    with pytest.raises(Failure) as failure:
        print_explanation(saved(tmp_path), ("a", "b"), "", OutputFormat.TEXT)
    assert (failure.value.code, failure.value.lines) == (
        Exit.NOT_FOUND,
        (f"there is no pod a/b; if it was evicted, explain {otherwise}",),
    )


def test_a_pod_of_a_name_nearby_in_its_namespace_is_suggested(tmp_path):
    found = saved(tmp_path, running("database", "node-a", cpu="2", memory="1Gi"))
    with pytest.raises(Failure) as failure:
        print_explanation(found, ("shop", "databse"), "", OutputFormat.TEXT)
    assert failure.value.code is Exit.NOT_FOUND
    assert failure.value.lines[0] == "there is no pod shop/databse; did you mean database?"
    assert failure.value.lines[1].startswith("if it was evicted, explain its workload: ")
    with pytest.raises(Failure) as failure:
        print_explanation(found, ("other", "databse"), "", OutputFormat.TEXT)
    assert "did you mean" not in failure.value.lines[0]


def test_the_pod_of_a_manifest_is_explained_without_one_in_the_cluster(tmp_path, capsys):
    manifest = explain.from_manifests(
        saved(tmp_path), [str(ROOT / "examples" / "pods" / "too-large.yaml")], "default"
    )
    code = print_explanation(saved(tmp_path), ("default", "too-large"), "node-a", OutputFormat.TEXT, manifest)
    assert code is Exit.NO
    text = capsys.readouterr().out
    assert text.startswith("pod default/too-large on node-a: not decided; it would be refused, Topology")
    assert "64 cpu need 6 NUMA nodes, single-numa-node allows one" in text


def large() -> dict[str, Any]:
    """A pod that fits no NUMA node of 12 CPUs."""
    amounts = {"cpu": "16", "memory": "1Gi"}
    resources = {"requests": amounts, "limits": amounts}
    return {
        "kind": "Pod",
        "metadata": {"name": "large", "namespace": "a", "uid": "uid-large"},
        "spec": {"nodeName": "node-a", "resources": resources, "containers": [{"name": "main"}]},
    }


def test_a_refused_pod_is_no_and_gets_the_smallest_change(tmp_path, capsys):
    refused = allocation_object(grant("a/large", ""), phase="Rejected", reason="TopologyAffinityError")
    assert (
        print_explanation(saved(tmp_path, large(), refused), ("a", "large"), "", OutputFormat.TEXT) is Exit.NO
    )
    text = capsys.readouterr().out
    assert text.startswith("pod a/large on node-a: refused, TopologyAffinityError: ")
    assert "\nany one of these would make it fit\n  the budget: 12 CPU instead of 16\n" in text


def test_a_refused_pod_that_fits_meanwhile_is_said_so(tmp_path, capsys):
    small = large()
    small["spec"]["resources"]["requests"]["cpu"] = small["spec"]["resources"]["limits"]["cpu"] = "4"
    refused = allocation_object(grant("a/large", ""), phase="Rejected", reason="TopologyAffinityError")
    print_explanation(saved(tmp_path, small, refused), ("a", "large"), "", OutputFormat.TEXT)
    assert capsys.readouterr().out.splitlines()[1] == "now it would be admitted"


def test_an_unmanaged_pod_is_said_so_and_is_well(tmp_path, capsys):
    topology = topology_object(EPYC, reserved="0,48", name="node-b")
    topology["spec"]["management"] = "OptIn"
    assert print_explanation(saved(tmp_path, topology), KEY, "node-b", OutputFormat.TEXT) is Exit.OK
    assert ": not managed, by the selectors of the node's profile" in capsys.readouterr().out


def bound(tmp_path, **status) -> FileSource:
    """The database pod as it runs on node-a."""
    pod = yaml.safe_load((PODS / "01-postgres-native-sidecar.yaml").read_text())
    pod["metadata"]["uid"], pod["spec"]["nodeName"] = "uid-1", "node-a"
    explained, _ = explain.gather(saved(tmp_path), *KEY, "node-a")
    assert explained.now is not None
    decision = explained.now.decision
    assert isinstance(decision, Admitted)
    held = replace(decision.grant, uid="uid-1")
    allocation = allocation_object(held)
    allocation["status"].update(status)
    path = tmp_path / "bound.yaml"
    path.write_text(yaml.safe_dump_all([topology_object(EPYC, reserved="0,48"), allocation, pod]))
    return FileSource([str(path)])


def test_a_running_pod_shows_what_the_kernel_has(tmp_path, capsys):
    seen = {"cpus": "1-2,49-50", "mems": "0-7", "cpuMax": "max 100000"}
    container = {"name": "postgres", "verdict": "PinnedAtStart", "pinnedAfterMillis": 0, "effective": seen}
    source = bound(tmp_path, containers=[container])
    assert print_explanation(source, KEY, "", OutputFormat.TEXT) is Exit.OK
    text = capsys.readouterr().out
    assert text.startswith("pod payments/ledger-db-0 on node-a: Applied\n")
    assert "postgres    1-2,49-50   0-7    max 100000   PinnedAtStart   0 ms" in text


class Tenant:
    """A user who may read one namespace, and neither nodes nor the other namespaces."""

    def __init__(self, source: FileSource, *more: str) -> None:
        self.namespace = "payments"
        self._source, self._more = source, more

    def fetch(self, *asked):
        for query in asked:
            if not query.namespace and query.type.kind not in self._more:
                raise Failure(Exit.FORBIDDEN, f"not allowed to list {query.label}")
        return self._source.fetch(*asked)

    def find(self, query):
        return self._source.find(query)

    def text(self, path):
        raise Failure(Exit.FORBIDDEN, path)


@pytest.mark.parametrize(
    ("readable", "missing"),
    [
        ((), "you may not get NodeTopology node-a"),
        (("NodeTopology",), "you may not list podallocations.podnuma.dev of all namespaces"),
    ],
)
def test_a_tenant_sees_what_is_decided_and_what_the_kernel_has(tmp_path, capsys, readable, missing):
    seen = {"cpus": "1-2,49-50", "mems": "0-7", "cpuMax": "max 100000"}
    source = bound(tmp_path, containers=[{"name": "postgres", "verdict": "PinnedAtStart", "effective": seen}])
    assert print_explanation(Tenant(source, *readable), KEY, "", OutputFormat.TEXT) is Exit.OK
    shown = capsys.readouterr()
    assert shown.err == f"{missing}: what would be decided now is left out\n"
    sections = [line for line in shown.out.splitlines() if line and not line.startswith(" ")]
    assert sections == ["pod payments/ledger-db-0 on node-a: Applied", "asked", "decided", "in the kernel"]


def test_a_tenants_pod_without_a_decision_needs_the_node(tmp_path):
    with pytest.raises(Failure) as failure:
        print_explanation(Tenant(saved(tmp_path)), KEY, "node-a", OutputFormat.TEXT)
    assert failure.value.code is Exit.FORBIDDEN
    assert failure.value.lines == (
        "nothing is decided about pod payments/ledger-db-0 yet, and you may not get NodeTopology node-a",
    )


def test_a_drifted_pod_is_not_well(tmp_path):
    assert print_explanation(bound(tmp_path, phase="Drifted"), KEY, "", OutputFormat.TEXT) is Exit.NO


def test_in_audit_it_is_said_that_nothing_is_written(tmp_path, capsys):
    text = "the NodeProfile says mode: Audit; nothing is written on this node"
    ready = {"type": "Ready", "status": "True", "reason": "Audit", "message": text}
    ready["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    found = bound(tmp_path, phase="Audit", conditions=[ready])
    assert print_explanation(found, KEY, "", OutputFormat.TEXT) is Exit.OK
    assert ": decided, nothing is written as mode is Audit\n\n" in capsys.readouterr().out


def test_what_a_pod_had_before_an_uninstallation_is_not_shown_as_what_the_kernel_has(tmp_path, capsys):
    ready = {
        "type": "Ready",
        "status": "Unknown",
        "reason": "Uninstalled",
        "message": "podnuma was uninstalled",
    }
    ready["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    had = {"name": "postgres", "verdict": "PinnedLate", "effective": {"cpus": "2-4", "mems": "0"}}
    found = bound(tmp_path, phase="Uninstalled", conditions=[ready], containers=[had])
    assert print_explanation(found, KEY, "", OutputFormat.TEXT) is Exit.NO
    text = capsys.readouterr().out
    assert "in the kernel\n  Uninstalled: values unknown since 2026-01-01T00:00:00Z\n" in text
    assert "PinnedLate" not in text


def test_programs_get_everything(tmp_path, capsys):
    print_explanation(bound(tmp_path), KEY, "", OutputFormat.JSON)
    (found,) = json.loads(capsys.readouterr().out)["items"]
    assert found["stored"]["phase"] == "Applied"
    assert found["now"] == {"admitted": True, "reason": "Admitted", "message": "", "explanation": ""}
    assert found["steps"][0]["merged"] == {"numaNodes": "0", "preferred": True}
    assert len(found["steps"][0]["sides"][0]["hints"]) > 200
    assert found["allocation"]["cpus"] == "1-3,49-51"


def test_a_node_without_settings_says_that_nothing_would_be_pinned(tmp_path, capsys):
    bare = {**topology_object(EPYC, name="bare"), "spec": {}}
    with pytest.raises(Failure) as failure:
        print_explanation(saved(tmp_path, bare), KEY, "bare", OutputFormat.TEXT)
    assert failure.value.code is Exit.NOT_FOUND
    assert "no settings are known for this node: nothing would be pinned" in failure.value.lines[0]
    profile = str(ROOT / "examples" / "profiles" / "databases.yaml")
    code = print_explanation(saved(tmp_path, bare), KEY, "bare", OutputFormat.TEXT, profile=profile)
    assert code is Exit.OK
    assert "it would be admitted" in capsys.readouterr().out


def unfit() -> dict[str, Any]:
    """A node that no profile has had yet, and what the operator says of the first one."""
    text = "NodeProfile big cannot be used on node bare: spec.reservedSystemCPUs '0-200': drop 96-200"
    condition = {"type": "SettingsValid", "status": "False", "reason": "InvalidSettings", "message": text}
    condition["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    bare = {**topology_object(EPYC, name="bare"), "spec": {"mode": "Enforce"}}
    bare["status"]["conditions"] = [condition]
    return bare


def test_a_first_profile_that_does_not_fit_is_named_with_its_reason_and_the_node_once(tmp_path):
    with pytest.raises(Failure) as failure:
        print_explanation(saved(tmp_path, unfit()), KEY, "bare", OutputFormat.TEXT)
    (line,) = failure.value.lines
    assert line.startswith(
        "pod payments/ledger-db-0 gets nothing exclusive: InvalidSettings: NodeProfile big cannot be used "
    )
    assert line.count("node bare") == 1


def test_a_profile_that_is_tried_and_does_not_fit_is_named_too(tmp_path):
    profile = tmp_path / "profile.yaml"
    spec = {"nodeSelector": {}, "cpuManagerPolicy": "static", "reservedSystemCPUs": "0-200"}
    profile.write_text(yaml.safe_dump({"kind": "NodeProfile", "metadata": {"name": "big"}, "spec": spec}))
    with pytest.raises(Failure) as failure:
        print_explanation(saved(tmp_path), KEY, "node-a", OutputFormat.TEXT, profile=str(profile))
    assert failure.value.code is Exit.INPUT
    assert (
        "InvalidSettings: NodeProfile big cannot be used on node node-a: spec.reservedSystemCPUs"
        in (failure.value.lines[0])
    )


def test_a_pod_that_was_refused_for_settings_is_explained_by_what_is_stored(tmp_path, capsys):
    text = unfit()["status"]["conditions"][0]["message"]
    decision = Decision(admitted=False, reason="InvalidSettings", message=text, explanation=text)
    empty = rejected_grant("u", "shop", "web", TopologyManagerScope.POD)
    refused = {**render_pod_allocation(empty, "bare", decision), "status": {"phase": "Rejected"}}
    found = saved(tmp_path, running("web", "bare", cpu="2", memory="1Gi"), unfit(), refused)
    assert print_explanation(found, ("shop", "web"), "", OutputFormat.TEXT) is Exit.NO
    said = capsys.readouterr()
    assert said.out.startswith(f"pod shop/web on bare: refused, InvalidSettings: {text}\n")
    assert "what would be decided now is left out" in said.err


def test_the_pod_of_a_manifest_is_admitted_as_the_api_server_does(tmp_path):
    amounts = {"cpu": "1", "memory": "512Mi"}
    limits = {"type": "Container", "default": amounts, "defaultRequest": amounts}
    core = {"apiVersion": "v1"}
    ranges = {**core, "kind": "LimitRange", "metadata": {"name": "l"}, "spec": {"limits": [limits]}}
    pod = {**core, "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "side"}]}}
    path = tmp_path / "pod.yaml"
    path.write_text(yaml.safe_dump_all([ranges, pod]))
    value = explain.from_manifests(saved(tmp_path), [str(path)], "default")
    assert value["spec"]["containers"][0]["resources"] == {"requests": amounts, "limits": amounts}


def running(name: str, node: str, **amounts: str) -> dict[str, Any]:
    resources = {"requests": amounts, "limits": amounts} if amounts else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "uid": name},
        "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i", "resources": resources}]},
        "status": {"phase": "Running"},
    }


@pytest.mark.parametrize(
    ("amounts", "why"),
    [
        ({}, "as its QoS class is BestEffort"),
        ({"memory": "1Gi"}, "as its QoS class is Burstable"),
    ],
)
def test_a_running_pod_that_holds_nothing_waits_for_no_decision(tmp_path, capsys, amounts, why):
    found = saved(tmp_path, running("web", "node-a", **amounts))
    assert print_explanation(found, ("shop", "web"), "", OutputFormat.TEXT) is Exit.OK
    text = capsys.readouterr().out
    assert text.startswith(
        f"pod shop/web on node-a: shares the node pool, {why}; there is nothing to decide\n"
    )


def test_a_pod_on_a_node_that_no_profile_selects_is_told_so(tmp_path):
    found = saved(tmp_path, running("web", "node-x", cpu="2", memory="1Gi"))
    with pytest.raises(Failure) as failure:
        print_explanation(found, ("shop", "web"), "", OutputFormat.TEXT)
    assert failure.value.code is Exit.NOT_FOUND
    assert failure.value.lines[0].startswith(
        "pod shop/web gets nothing exclusive: node node-x is not managed by podnuma: there "
    )


def test_devices_of_the_decision_are_shown_and_drawn_upon(tmp_path, capsys):
    pod = large()
    pod["spec"]["resources"]["requests"]["cpu"] = pod["spec"]["resources"]["limits"]["cpu"] = "4"
    device = GrantedDevice("gpu.example.com", "node-a/gpu-0", nodeset.of([5]))
    held = grant("a/large", "10-13", replace(container("main", "pod_shared", "10-13"), devices=(device,)))
    source = saved(tmp_path, pod, allocation_object(held))
    print_explanation(source, ("a", "large"), "", OutputFormat.TEXT)
    text = capsys.readouterr().out
    assert "pod wants gpu.example.com node-a/gpu-0 (NUMA node 5): NUMA node 5\n" in text
    assert "pod: chosen: NUMA node 5\n" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["main", "gpu.example.com", "node-a/gpu-0", "5"] in rows
    assert "without its devices the pod would have CPUs 1-2,49-50 on NUMA node 0" in text


def test_a_pod_whose_devices_are_not_known_is_not_decided(tmp_path, capsys):
    waits = "waits for the devices of example.com/nic that the kubelet gives it"
    waiting = Decision(admitted=False, reason=DEVICES_PENDING, message=waits)
    stored = render_pod_allocation(grant("/".join(KEY), ""), "node-a", waiting)
    assert print_explanation(saved(tmp_path, stored), KEY, "", OutputFormat.TEXT) is Exit.OK
    text = capsys.readouterr().out
    assert text.startswith(
        f"pod payments/ledger-db-0 on node-a: not decided, it {waits}; without them it would be admitted\n"
    )

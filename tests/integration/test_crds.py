"""The real API server takes good objects and refuses bad ones with the field and the fix."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from podnuma.allocator import ManagerSettings
from podnuma.api import names
from podnuma.api.node_profile import read_node_profile
from podnuma.api.node_settings import NodeSettings, PodPolicy
from podnuma.api.node_topology import read_node_topology, render_node_topology
from podnuma.api.resource_types import NODE_PROFILE

from testbed.api import Api, ApiStatusError, Json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.control_plane import ControlPlane

ROOT = Path(__file__).parents[2]
API = f"/apis/{NODE_PROFILE.api_version}"
EXAMPLES = sorted((ROOT / "examples" / "profiles").glob("*.yaml"))

STATIC = {"cpuManagerPolicy": "static", "reservedSystemCPUs": "0-1"}


@pytest.fixture
def api(crds: ControlPlane) -> Api:
    return crds.api


def profile(**spec: Any) -> Json:
    return {
        "apiVersion": NODE_PROFILE.api_version,
        "kind": "NodeProfile",
        "metadata": {"name": "tried"},
        "spec": {"nodeSelector": {"matchLabels": {"pool": "db"}}, **spec},
    }


def topology(name: str = "w1", **spec: Any) -> Json:
    return {
        "apiVersion": NODE_PROFILE.api_version,
        "kind": "NodeTopology",
        "metadata": {"name": name},
        "spec": spec,
    }


def allocation(name: str, node: str, **spec: Any) -> Json:
    return {
        "apiVersion": NODE_PROFILE.api_version,
        "kind": "PodAllocation",
        "metadata": {"name": name},
        "spec": {
            "podUID": f"uid-{name}",
            "nodeName": node,
            "scope": "pod",
            "summary": {"cpus": "2-3", "numa": "0", "exclusive": "2", "shared": "3"},
            "decision": {"admitted": True, "reason": "Admitted", "checksum": "c"},
            **spec,
        },
    }


def refusal(api: Api, body: Json) -> str:
    with pytest.raises(ApiStatusError) as caught:
        api.create(body, dryRun="All")
    assert caught.value.code == 422
    return caught.value.message


GOOD = {
    "empty selector": {"nodeSelector": {}},
    "all expressions": {
        "nodeSelector": {
            "matchExpressions": [
                {"key": "example.com/pool", "operator": "In", "values": ["a", ""]},
                {"key": "b", "operator": "NotIn", "values": ["c"]},
                {"key": "d", "operator": "Exists"},
                {"key": "e", "operator": "DoesNotExist", "values": []},
            ]
        }
    },
    "cpu options": {
        **STATIC,
        "cpuManagerPolicyOptions": {
            "full-pcpus-only": "true",
            "strict-cpu-reservation": "1",
            "distribute-cpus-across-numa": "T",
            "distribute-cpus-across-cores": "false",
            "align-by-socket": "True",
            "prefer-align-cpus-by-uncorecache": "f",
        },
        "topologyManagerPolicy": "restricted",
    },
    "uncore and full cores": {
        **STATIC,
        "cpuManagerPolicyOptions": {"full-pcpus-only": "true", "prefer-align-cpus-by-uncorecache": "true"},
        "topologyManagerPolicy": "single-numa-node",
    },
    "topology options": {
        "topologyManagerPolicyOptions": {
            "prefer-closest-numa-nodes": "true",
            "max-allowable-numa-nodes": "16",
        }
    },
    "reserved amounts": {"cpuManagerPolicy": "static", "kubeReserved": {"cpu": "500m", "memory": "1Gi"}},
    "reserved by the system": {"cpuManagerPolicy": "static", "systemReserved": {"cpu": "1"}},
    "reserved memory": {
        "memoryManagerPolicy": "Static",
        "reservedMemory": [
            {"numaNode": 0, "limits": {"memory": 1073741824, "hugepages-2Mi": "0"}},
            {"numaNode": 0, "limits": {"hugepages-1Gi": "1Gi"}},
            {"numaNode": 1, "limits": {"memory": "1Gi"}},
        ],
    },
    "unset as kubelets write it": {"reservedSystemCPUs": "", "cpuManagerPolicyOptions": {}},
    "many ranges": {**STATIC, "reservedSystemCPUs": ",".join(f"{n}-{n + 1}" for n in range(0, 400, 4))},
    "kind of core": {**STATIC, "exclusiveCoreKind": "performance"},
    "quota": {"cpuCFSQuota": False, "cpuCFSQuotaPeriod": "1500us"},
    "pod policy": {
        "management": "OptIn",
        "podSelector": {"matchLabels": {"a": "b"}},
        "namespaceSelector": {"matchLabels": {"a": ""}},
        "onRejection": "Share",
        "onUndecided": "Share",
        "onDevicesUnknown": "Wait",
        "resize": "WholeCPUsOnly",
        "mode": "Audit",
        "priority": -5,
    },
}


@pytest.mark.parametrize("spec", GOOD.values(), ids=GOOD)
def test_good_profiles_are_stored_and_read_without_a_problem(api, spec):
    stored = api.create(profile(**spec), dryRun="All")
    assert read_node_profile(stored).name == "tried"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_profiles_are_stored(api, path):
    api.create(yaml.safe_load(path.read_text()), dryRun="All")


OPTIONS, TOPOLOGY_OPTIONS = "spec.cpuManagerPolicyOptions", "spec.topologyManagerPolicyOptions"
LIST, MEMORY, LABELS = "spec.reservedSystemCPUs", "spec.reservedMemory", "spec.podSelector.matchLabels"


_SPELT = {"hugepages": "hugepages-2Mi"}


def memory(node: int, **limits: str) -> Json:
    return {"numaNode": node, "limits": {_SPELT.get(name, name): limit for name, limit in limits.items()}}


def clash(one: str, other: str) -> tuple[Json, str, str]:
    spec = {**STATIC, "cpuManagerPolicyOptions": {one: "true", other: "1"}}
    return (
        spec,
        "spec.cpuManagerPolicyOptions",
        f"{one} and {other} can not be used at the same time; set one of them",
    )


# name -> (spec, the field the message must name, what it must say to do)
BAD: dict[str, tuple[Json, str, str]] = {
    "cpu policy": (
        {"cpuManagerPolicy": "dynamic"},
        "spec.cpuManagerPolicy",
        'supported values: "none", "static"',
    ),
    "memory policy": ({"memoryManagerPolicy": "static"}, "spec.memoryManagerPolicy", '"None", "Static"'),
    "topology policy": (
        {"topologyManagerPolicy": "strict"},
        "spec.topologyManagerPolicy",
        'supported values: "none", "best-effort", "restricted", "single-numa-node"',
    ),
    "scope": ({"topologyManagerScope": "node"}, "spec.topologyManagerScope", '"container", "pod"'),
    "management": ({"management": "Some"}, "spec.management", '"All", "OptIn"'),
    "rejection": ({"onRejection": "Kill"}, "spec.onRejection", '"Evict", "Share"'),
    "resize": ({"resize": "Never"}, "spec.resize", '"Follow", "WholeCPUsOnly", "Ignore"'),
    "undecided": ({"onUndecided": "Run"}, "spec.onUndecided", '"Wait", "Share"'),
    "devices unknown": ({"onDevicesUnknown": "Share"}, "spec.onDevicesUnknown", '"Decide", "Wait"'),
    "mode": ({"mode": "DryRun"}, "spec.mode", '"Enforce", "Audit"'),
    "priority": ({"priority": 2_000_000_000}, "spec.priority", "less than or equal to 1000000000"),
    "option": (
        {**STATIC, "cpuManagerPolicyOptions": {"full-cpus-only": "true"}},
        OPTIONS,
        "unknown option in cpuManagerPolicyOptions; use full-pcpus-only, strict-cpu-reservation",
    ),
    "option value": (
        {**STATIC, "cpuManagerPolicyOptions": {"full-pcpus-only": "yes"}},
        OPTIONS,
        'booleans as text; write "true" or "false"',
    ),
    "options without policy": (
        {"cpuManagerPolicyOptions": {"full-pcpus-only": "true"}},
        OPTIONS,
        'need cpuManagerPolicy "static"; set the policy or remove the options',
    ),
    "clash 1": clash("full-pcpus-only", "distribute-cpus-across-cores"),
    "clash 2": clash("distribute-cpus-across-numa", "distribute-cpus-across-cores"),
    "clash 3": clash("prefer-align-cpus-by-uncorecache", "distribute-cpus-across-cores"),
    "clash 4": clash("prefer-align-cpus-by-uncorecache", "distribute-cpus-across-numa"),
    "socket and single node": (
        {
            **STATIC,
            "cpuManagerPolicyOptions": {"align-by-socket": "true"},
            "topologyManagerPolicy": "single-numa-node",
        },
        OPTIONS,
        "remove the option or choose restricted or best-effort",
    ),
    "topology option": (
        {"topologyManagerPolicyOptions": {"prefer-closest": "true"}},
        TOPOLOGY_OPTIONS,
        "use prefer-closest-numa-nodes or max-allowable-numa-nodes",
    ),
    "topology option value": (
        {"topologyManagerPolicyOptions": {"prefer-closest-numa-nodes": "on"}},
        TOPOLOGY_OPTIONS,
        'is a boolean as text; write "true" or "false"',
    ),
    "few nodes": (
        {"topologyManagerPolicyOptions": {"max-allowable-numa-nodes": "7"}},
        TOPOLOGY_OPTIONS,
        'is a number as text, 8 or more; write for example "8"',
    ),
    "no number of nodes": (
        {"topologyManagerPolicyOptions": {"max-allowable-numa-nodes": "many"}},
        TOPOLOGY_OPTIONS,
        "is a number as text, 8 or more",
    ),
    "static without reservation": (
        {"cpuManagerPolicy": "static"},
        "spec.cpuManagerPolicy",
        'set reservedSystemCPUs (for example "0-1"), or cpu in kubeReserved or systemReserved',
    ),
    "static with nothing reserved": (
        {
            "cpuManagerPolicy": "static",
            "reservedSystemCPUs": "",
            "kubeReserved": {"cpu": "0"},
        },
        "spec.cpuManagerPolicy",
        "set reservedSystemCPUs",
    ),
    "blanks in list": (
        {"reservedSystemCPUs": "0, 1"},
        LIST,
        'write for example "0-1,64-65"',
    ),
    "letters in list": (
        {"reservedSystemCPUs": "all"},
        LIST,
        'write for example "0-1,64-65"',
    ),
    "backward range": (
        {"reservedSystemCPUs": "0,9-3"},
        LIST,
        "runs backwards; write the lower CPU first",
    ),
    "long list": (
        {"reservedSystemCPUs": "0," * 600 + "0"},
        LIST,
        "may not be more than 1024",
    ),
    "kube reserved": ({"kubeReserved": {"cpu": "one"}}, "spec.kubeReserved", 'write for example cpu: "1"'),
    "negative": ({"systemReserved": {"cpu": "-1"}}, "spec.systemReserved", "quantities, zero or more"),
    "static without memory": (
        {"memoryManagerPolicy": "Static"},
        "spec.memoryManagerPolicy",
        'set reservedMemory with "memory" above zero on at least one NUMA node',
    ),
    "static with zero memory": (
        {"memoryManagerPolicy": "Static", "reservedMemory": [{"numaNode": 0, "limits": {"memory": 0}}]},
        "spec.memoryManagerPolicy",
        "set reservedMemory",
    ),
    "static with huge pages only": (
        {
            "memoryManagerPolicy": "Static",
            "reservedMemory": [{"numaNode": 0, "limits": {"hugepages-2Mi": "1Gi"}}],
        },
        "spec.memoryManagerPolicy",
        "set reservedMemory",
    ),
    "memory of cpu": (
        {"reservedMemory": [{"numaNode": 0, "limits": {"cpu": "1"}}]},
        "spec.reservedMemory[0].limits",
        'name "memory" or "hugepages-<size>"; write for example hugepages-2Mi',
    ),
    "memory amount": (
        {"reservedMemory": [{"numaNode": 0, "limits": {"memory": "1GB"}}]},
        "spec.reservedMemory[0].limits",
        "write for example memory: 1Gi",
    ),
    "memory twice": (
        {
            "reservedMemory": [
                {"numaNode": 1, "limits": {"memory": "1Gi"}},
                {"numaNode": 1, "limits": {"memory": "2Gi"}},
            ]
        },
        "spec.reservedMemory",
        "one NUMA node twice for the same resource; keep one amount for each",
    ),
    "memory node": (
        {"reservedMemory": [{"limits": {"memory": "1Gi"}}]},
        "spec.reservedMemory[0].numaNode",
        "Required",
    ),
    "period": ({"cpuCFSQuotaPeriod": "0.1s"}, "spec.cpuCFSQuotaPeriod", "write for example 100ms"),
    "short period": ({"cpuCFSQuotaPeriod": "10us"}, "spec.cpuCFSQuotaPeriod", "a time from 1ms to 1s"),
    "operator": (
        {"podSelector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}},
        "spec.podSelector.matchExpressions[0].operator",
        '"In", "NotIn", "Exists", "DoesNotExist"',
    ),
    "no values": (
        {"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
        "spec.namespaceSelector.matchExpressions[0]",
        "add or remove values",
    ),
    "values too many": (
        {"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}},
        "spec.nodeSelector.matchExpressions[0]",
        "add or remove values",
    ),
    "expression key": (
        {"nodeSelector": {"matchExpressions": [{"key": "a b", "operator": "Exists"}]}},
        "spec.nodeSelector.matchExpressions[0].key",
        "write for example example.com/pool or pool",
    ),
    "expression value": (
        {"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b c"]}]}},
        "spec.nodeSelector.matchExpressions[0].values",
        "a letter or digit at both ends",
    ),
    "label key": (
        {"podSelector": {"matchLabels": {"/": "a"}}},
        LABELS,
        "are label keys; write",
    ),
    "label value": (
        {"podSelector": {"matchLabels": {"a": "b,c"}}},
        LABELS,
        "a letter or digit at both ends",
    ),
}


@pytest.mark.parametrize(("spec", "field", "fix"), BAD.values(), ids=BAD)
def test_a_bad_profile_is_refused_with_field_and_fix(api, spec, field, fix):
    message = refusal(api, profile(**spec))
    assert f"{field}:" in message
    assert fix in message


@pytest.mark.parametrize(("spec", "field", "fix"), BAD.values(), ids=BAD)
def test_a_topology_written_by_hand_is_checked_alike(api, spec, field, fix):
    own = {name: value for name, value in spec.items() if name not in ("nodeSelector", "priority")}
    if own:
        message = refusal(api, topology(**own))
        assert f"{field}:" in message
        assert fix in message


def test_all_faults_of_a_profile_are_named_at_once(api):
    spec = {"cpuManagerPolicy": "static", "reservedMemory": [{"numaNode": 0, "limits": {"cpu": "x"}}]}
    message = refusal(api, profile(**spec, memoryManagerPolicy="Static", cpuCFSQuotaPeriod="2h"))
    for field in ("cpuManagerPolicy", "memoryManagerPolicy", "cpuCFSQuotaPeriod", "reservedMemory[0].limits"):
        assert f"spec.{field}:" in message


def test_every_rule_is_tried():
    """Each message of a rule in a profile's schema is one that a bad profile above must show."""
    definition = yaml.safe_load((ROOT / "crds" / "nodeprofiles.yaml").read_text())
    messages = set(rule_messages(definition["spec"]["versions"][0]["schema"]))
    fixes = [fix for _, _, fix in BAD.values()]
    assert [message for message in messages if not any(fix in message for fix in fixes)] == []


def rule_messages(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for rule in node.get("x-kubernetes-validations", []):
            yield rule["message"]
        for child in node.values():
            yield from rule_messages(child)


def test_a_profile_must_say_for_which_nodes_it_is(api):
    body = profile()
    del body["spec"]["nodeSelector"]
    assert "spec.nodeSelector: Required value" in refusal(api, body)


def test_a_pod_stays_on_its_node(api, namespace):
    api.create(allocation("a", "w1"), namespace)
    with pytest.raises(ApiStatusError) as caught:
        api.merge(
            f"/apis/podnuma.dev/v1alpha1/namespaces/{namespace}/podallocations/a",
            {"spec": {"nodeName": "w2"}},
        )
    assert "spec.nodeName: Invalid value" in caught.value.message
    assert "a pod stays on its node" in caught.value.message


def test_a_rejected_pod_holds_nothing(api, namespace):
    decision = {"admitted": False, "reason": "TopologyAffinityError", "message": "no", "checksum": "c"}
    rejected = {"decision": decision}
    api.create(allocation("a", "w1", **rejected), namespace)
    with pytest.raises(ApiStatusError) as caught:
        api.create(allocation("b", "w1", cpus="2-3", **rejected), namespace)
    assert "spec: Invalid value" in caught.value.message
    assert "set decision.admitted or remove cpus, memory and containers" in caught.value.message


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"nodeName": None}, "spec.nodeName"),
        ({"podUID": ""}, "spec.podUID"),
        ({"scope": "node"}, "spec.scope"),
        ({"cpus": ""}, "spec.cpus"),
        ({"summary": {"cpus": "", "numa": "-", "exclusive": "-", "shared": "-"}}, "spec.summary.cpus"),
        ({"summary": {"cpus": "-"}}, "spec.summary.shared"),
        ({"containers": [{"name": "a"}]}, "spec.containers[0].assignment"),
    ],
)
def test_an_allocation_with_a_hole_is_refused(api, namespace, spec, field):
    with pytest.raises(ApiStatusError) as caught:
        api.create(allocation("a", "w1", **spec), namespace)
    assert f"{field}:" in caught.value.message


def test_fields_that_nobody_knows_are_refused_when_kubectl_asks_for_it(api):
    with pytest.raises(ApiStatusError) as caught:
        api.create(profile(reservedCPUs="0"), dryRun="All", fieldValidation="Strict")
    assert 'unknown field "spec.reservedCPUs"' in caught.value.message


def test_allocations_are_listed_by_node_on_the_server(api, namespace):
    for name, node in (("a", "w1"), ("b", "w2"), ("c", "w1")):
        api.create(allocation(name, node), namespace)
    path = f"{API}/namespaces/{namespace}/podallocations"
    found = api.items(path, fieldSelector="spec.nodeName=w1")
    assert sorted(item["metadata"]["name"] for item in found) == ["a", "c"]


def test_a_watch_by_node_sees_an_allocation_come_and_go(api, namespace):
    path = f"{API}/namespaces/{namespace}/podallocations"
    events = api.watch(path, timeout=20, fieldSelector="spec.nodeName=w1")
    api.create(allocation("other", "w2"), namespace)
    api.create(allocation("mine", "w1"), namespace)
    assert seen(next(events)) == ("ADDED", "mine")
    # On another node it would leave the selection unseen by the agent that acts on it.
    with pytest.raises(ApiStatusError, match="a pod stays on its node"):
        api.merge(f"{path}/mine", {"spec": {"nodeName": "w2"}})
    api.delete(f"{path}/mine")
    assert seen(next(events)) == ("DELETED", "mine")


def seen(event: tuple[str, Json]) -> tuple[str, str]:
    kind, body = event
    return kind, body["metadata"]["name"]


def table(control_plane: ControlPlane, *arguments: str) -> list[list[str]]:
    """What kubectl prints, as cells; columns are cut where the header says, so that holes show."""
    header, *rows = control_plane.kubectl("get", *arguments).splitlines()
    starts = [at for at, letter in enumerate(header) if letter != " " and (at == 0 or header[at - 1] == " ")]
    ends = [*starts[1:], None]
    return [[line[a:b].strip() for a, b in zip(starts, ends, strict=True)] for line in (header, *rows)]


def test_allocations_read_well_before_anybody_has_acted(crds, namespace):
    crds.api.create(allocation("a", "w1"), namespace)
    header, row = table(crds, "pa", "-n", namespace)
    assert header == ["NAME", "NODE", "SCOPE", "CPUS", "NUMA", "EXCLUSIVE", "SHARED", "PHASE", "AGE"]
    assert row[:-1] == ["a", "w1", "pod", "2-3", "0", "2", "3", "Pending"]
    assert all(row)


@pytest.mark.parametrize("wide", [(), ("-o", "wide")])
@pytest.mark.parametrize(
    ("body", "short"),
    [(profile(), "np"), (topology(), "nt"), (allocation("a", "w1"), "pa")],
    ids=["np", "nt", "pa"],
)
def test_no_column_is_empty(crds, namespace, body, short, wide):
    created = crds.api.create(copy.deepcopy(body), namespace)
    try:
        _, row = table(crds, short, created["metadata"]["name"], "-n", namespace, *wide)
        assert all(row), row
    finally:
        if short != "pa":
            crds.api.delete(
                f"{API}/{'nodeprofiles' if short == 'np' else 'nodetopologies'}/{created['metadata']['name']}"
            )


def test_the_category_lists_all_three_kinds(clean_cluster, namespace):
    for body in (profile(), topology(), allocation("a", "w1")):
        clean_cluster.api.create(body, namespace)
    found = clean_cluster.kubectl("get", "podnuma", "-n", namespace, "-o", "name").split()
    assert found == [
        "nodeprofile.podnuma.dev/tried",
        "nodetopology.podnuma.dev/w1",
        "podallocation.podnuma.dev/a",
    ]


def test_kubectl_explains_every_kind(crds):
    for plural in ("nodeprofiles", "nodetopologies", "podallocations"):
        assert "DESCRIPTION:" in crds.kubectl("explain", f"{plural}.spec")


def test_an_object_nobody_has_looked_at_is_not_ready(clean_cluster):
    clean_cluster.api.create(profile())
    status = clean_cluster.api.get(f"{API}/nodeprofiles/tried")["status"]
    (ready,) = status["conditions"]
    assert (ready["type"], ready["status"], ready["reason"]) == ("Ready", "Unknown", "Pending")
    assert "observedGeneration" not in status


def ready(manager: str, kind: str = "Ready") -> Json:
    return {
        "type": kind,
        "status": "True",
        "reason": manager,
        "message": "",
        "lastTransitionTime": "2026-05-01T12:00:00Z",
    }


def test_operator_and_agent_share_a_status_without_undoing_each_other(clean_cluster):
    api = clean_cluster.api
    empty = NodeSettings(ManagerSettings(), PodPolicy())
    api.apply(render_node_topology("w1", empty, None), manager=names.OPERATOR_MANAGER)

    def apply(manager: str, **status: Any) -> Any:
        body = {"apiVersion": NODE_PROFILE.api_version, "kind": "NodeTopology", "metadata": {"name": "w1"}}
        return api.apply({**body, "status": status}, manager=manager, subresource="status")

    apply(names.AGENT_MANAGER, summary={"cpus": "8"}, conditions=[ready("Agent", "AgentReady")])
    apply(
        names.OPERATOR_MANAGER,
        summary={"pods": "2"},
        observedGeneration=1,
        conditions=[ready("Operator"), ready("Operator", "PodsUpToDate")],
    )
    stored = apply(names.AGENT_MANAGER, summary={"cpus": "9"}, conditions=[ready("Agent", "AgentReady")])
    status = stored["status"]
    assert (status["summary"]["cpus"], status["summary"]["pods"], status["summary"]["shared"]) == (
        "9",
        "2",
        "-",
    )
    assert {c["type"]: c["reason"] for c in status["conditions"]} == {
        "AgentReady": "Agent",
        "Ready": "Operator",
        "PodsUpToDate": "Operator",
    }
    # What a writer leaves out the next time goes, and only that.
    status = apply(names.OPERATOR_MANAGER, observedGeneration=2, conditions=[ready("Operator")])["status"]
    assert (status["summary"]["cpus"], status["summary"]["pods"]) == ("9", "-")
    assert sorted(c["type"] for c in status["conditions"]) == ["AgentReady", "Ready"]
    assert read_node_topology(stored).name == "w1"


def test_an_allocation_that_is_no_longer_rejected_is_pending_again(crds, namespace):
    api = crds.api
    body = allocation(
        "a", "w1", decision={"admitted": False, "reason": "TopologyAffinityError", "checksum": "c"}
    )
    api.apply(body, namespace, manager=names.OPERATOR_MANAGER)

    def apply(**status: Any) -> Any:
        return api.apply(
            {**body, "status": status}, namespace, manager=names.OPERATOR_MANAGER, subresource="status"
        )

    stored = apply(phase="Rejected", conditions=[ready("Operator", "Stalled")])
    assert stored["status"]["phase"] == "Rejected"
    api.apply(allocation("a", "w1"), namespace, manager=names.OPERATOR_MANAGER)
    status = apply()["status"]
    assert status["phase"] == "Pending"
    assert [(c["type"], c["status"]) for c in status["conditions"]] == [("Ready", "Unknown")]


def test_a_status_is_not_written_with_the_spec(clean_cluster):
    body = topology()
    stored = clean_cluster.api.create({**body, "status": {"observedGeneration": 9}})
    assert "observedGeneration" not in stored.get("status", {})

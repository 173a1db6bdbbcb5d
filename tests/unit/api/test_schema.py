"""The schemas in crds/ and the models know the same fields, with the same bounds.

Readers are run on an object that has every field of the schema and notes which are asked for;
renderers on values that have everything.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from podnuma.allocator import (
    CpuManagerPolicy,
    GrantedDevice,
    ManagerSettings,
    MemoryBlock,
    Quantity,
    ReservedMemory,
    TopologyManagerScope,
    cpuset,
    nodeset,
)
from podnuma.allocator.memory.others import PagesInUse
from podnuma.api.conditions import Condition, Status
from podnuma.api.decoding import FieldError, InvalidObjectError
from podnuma.api.device_plugins import ReportedDevice
from podnuma.api.hardware import Hardware
from podnuma.api.node_profile import (
    MatchedNode,
    MatchState,
    NodeProfileStatus,
    read_node_profile,
    render_node_profile_status,
)
from podnuma.api.node_settings import NodeSettings, PodPolicy, render_node_settings
from podnuma.api.node_topology import (
    ProfileReference,
    read_node_topology,
    render_agent_status,
    render_node_topology,
    render_operator_status,
)
from podnuma.api.pod_allocation import (
    Decision,
    PendingResize,
    ResizeReason,
    read_pod_allocation,
    rejected_grant,
    render_pod_allocation,
)
from podnuma.api.pod_allocation_status import (
    ContainerStatus,
    ObservedCgroup,
    PodAllocationStatus,
    render_status,
)
from podnuma.api.selector import LabelSelector, Operator, Requirement, render_selector

from tests.unit.api.objects import DATABASE, MACHINES, crd, machine, schema
from tests.unit.api.test_node_topology import AGENT, ALLOCATION

READERS: Mapping[str, tuple[Callable[[Any], Any], ...]] = {
    "nodeprofiles": (read_node_profile,),
    "nodetopologies": (read_node_topology,),
    "podallocations": (read_pod_allocation,),
}

# Written for people and for kubectl's columns, never read back.
WRITTEN_ONLY = {
    "nodeprofiles": {
        "status.observedGeneration",
        "status.nodesMatched",
        "status.nodesApplied",
        "status.nodesRefused",
        "status.podsRejected",
        "status.nodes",
        "status.nodes[]",
    },
    "nodetopologies": {"status.summary"},
    "podallocations": {"spec.memoryNodes"},
}

SMALLEST: Mapping[str, Mapping[str, Any]] = {
    "nodeprofiles": {"nodeSelector": {}},
    "nodetopologies": {},
    "podallocations": {
        "podUID": "u",
        "nodeName": "w1",
        "scope": "pod",
        "decision": {"admitted": True, "reason": "Admitted"},
    },
}
"""The smallest specs that can be read."""

# Read, and rendered as something equal: the sum of both reservations is written as kubeReserved.
READ_ONLY = {"spec.systemReserved", "spec.systemReserved{}"}


@dataclass(frozen=True, slots=True)
class Place:
    """One field of a schema. ``steps`` lead there; "[]" and "{}" are any item of a list or map."""

    steps: tuple[str, ...]
    node: Mapping[str, Any]

    def __str__(self) -> str:
        return ".".join(self.steps).replace(".[]", "[]").replace(".{}", "{}")

    def holding(self, value: Any) -> Any:
        """An object with nothing but this field."""
        for step in reversed(self.steps):
            value = [value] if step == "[]" else {"k": value} if step == "{}" else {step: value}
        return value

    @property
    def path(self) -> str:
        """The path that readers give it in ``holding``."""
        return str(self).replace("[]", "[0]").replace("{}", "[k]")


def places(node: Mapping[str, Any], steps: tuple[str, ...] = ()) -> Iterator[Place]:
    if steps:
        yield Place(steps, node)
    for name, child in node.get("properties", {}).items():
        if not steps and name not in ("spec", "status"):
            continue
        yield from places(child, (*steps, name))
    if "items" in node:
        yield from places(node["items"], (*steps, "[]"))
    if isinstance(node.get("additionalProperties"), Mapping):
        yield from places(node["additionalProperties"], (*steps, "{}"))


ALL = [(plural, place) for plural in READERS for place in places(schema(plural))]


def read_back(plural: str, place: Place) -> bool:
    prefixes = WRITTEN_ONLY[plural]
    return not any(str(place) == prefix or str(place).startswith(f"{prefix}.") for prefix in prefixes)


def some(keyword: str) -> list[Any]:
    """The places that have a keyword and are read back, as test parameters."""
    return [
        pytest.param(plural, place, id=f"{plural}:{place}")
        for plural, place in ALL
        if keyword in place.node and read_back(plural, place)
    ]


def problems(plural: str, place: Place, value: Any) -> list[FieldError]:
    """What readers say about a value in a place."""
    found: list[FieldError] = []
    for read in READERS[plural]:
        try:
            remarks = read(lying_in(SMALLEST[plural], place, value)).unreadable
        except InvalidObjectError as refused:
            remarks = refused.errors
        found += [problem for problem in remarks if problem.path == place.path]
    return found


def lying_in(spec: Mapping[str, Any], place: Place, value: Any) -> Any:
    """An object with one field; what its status is read beside must be readable."""
    body = {"metadata": {"name": "a"}, **place.holding(value)}
    if place.steps[0] == "status" or place.steps[:2] == ("spec", "summary"):
        body["spec"] = {**spec, **body.get("spec", {})}
    return body


def says(plural: str, place: Place, value: Any, words: str) -> bool:
    return any(words in problem.message for problem in problems(plural, place, value))


class Spy(Mapping[str, Any]):
    """An object that notes which of its fields somebody asks for."""

    def __init__(self, content: Mapping[str, Any], steps: tuple[str, ...], asked: set[str]) -> None:
        self.content, self.steps, self.asked = content, steps, asked

    def __getitem__(self, key: str) -> Any:
        known = key if key in self.content else "{}" if "k" in self.content else key
        self.asked.add(str(Place((*self.steps, known if known != "k" else "{}"), {})))
        return self.content[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.content)

    def __len__(self) -> int:
        return len(self.content)


def everything(node: Mapping[str, Any], steps: tuple[str, ...], asked: set[str]) -> Any:
    """A value with every field of a schema; the leaves mean nothing."""
    if "properties" in node:
        fields = {
            name: everything(child, (*steps, name), asked) for name, child in node["properties"].items()
        }
        return Spy(fields, steps, asked)
    if "items" in node:
        return [everything(node["items"], (*steps, "[]"), asked)]
    if "additionalProperties" in node:
        return Spy({"k": everything(node["additionalProperties"], (*steps, "{}"), asked)}, steps, asked)
    return "x"


@pytest.mark.parametrize("plural", READERS)
def test_readers_ask_for_every_field_of_the_schema_and_no_other(plural):
    asked: set[str] = set()
    for read in READERS[plural]:
        with pytest.raises(InvalidObjectError):
            read(everything(schema(plural), (), asked))
    asked = {path for path in asked if path.startswith(("spec", "status"))}
    known = {
        str(place)
        for place in places(schema(plural))
        if read_back(plural, place) and not str(place).endswith("[]")
    }
    assert asked == known


def rendered(value: Any, steps: tuple[str, ...], node: Mapping[str, Any]) -> Iterator[str]:
    """The paths of a rendered value, as the schema names them."""
    if steps:
        yield str(Place(steps, {}))
    if isinstance(value, Mapping):
        for key, child in value.items():
            properties = node.get("properties", {})
            if key in properties:
                yield from rendered(child, (*steps, key), properties[key])
            elif isinstance(node.get("additionalProperties"), Mapping):
                yield from rendered(child, (*steps, "{}"), node["additionalProperties"])
            elif node.get("x-kubernetes-preserve-unknown-fields"):
                continue
            else:
                yield f"unknown: {Place((*steps, key), {})}"
    elif isinstance(value, list):
        for child in value:
            yield from rendered(child, (*steps, "[]"), node.get("items", {}))


SELECTOR = LabelSelector({"a": "b"}, (Requirement("c", Operator.IN, ("d",)),))
LISTED = NodeSettings(
    ManagerSettings(
        cpu_manager_policy=CpuManagerPolicy.STATIC,
        cpu_manager_policy_options={"full-pcpus-only": "true"},
        reserved_system_cpus=cpuset.of([0]),
        exclusive_core_kind="performance",
        reserved_memory=(ReservedMemory(0, {"memory": 2**30}),),
        topology_manager_policy_options={"prefer-closest-numa-nodes": "true"},
    ),
    PodPolicy(pod_selector=SELECTOR, namespace_selector=SELECTOR),
)
AMOUNTS = replace(LISTED, managers=ManagerSettings(reserved_cpu=Quantity(10**9)))
CONDITION = Condition("Ready", Status.TRUE, "Fine", "all is fine", 3, "2026-05-01T12:00:00Z")
VALUES = ObservedCgroup("1-3", "0", "max 100000")
HARDWARE = machine(MACHINES[0])


PENDING = PendingResize("r2", ResizeReason.DEFERRED, "m")


def full_objects(plural: str) -> list[dict[str, Any]]:
    """Rendered objects that together have every field."""
    if plural == "nodeprofiles":
        profile_status = NodeProfileStatus(3, (MatchedNode("n", MatchState.REFUSED, "R", "m"),), (CONDITION,))
        selector = {"nodeSelector": render_selector(SELECTOR), "priority": 3}
        return [
            {
                "spec": selector | render_node_settings(LISTED),
                "status": render_node_profile_status(profile_status),
            },
            {"spec": selector | render_node_settings(AMOUNTS)},
        ]
    if plural == "nodetopologies":
        topology = replace(
            HARDWARE,
            nodes=tuple(replace(node, hugepages={"hugepages-2Mi": 2**30}) for node in HARDWARE.nodes),
        )
        kinds = (("efficient", cpuset.of([1])),)
        topology = replace(topology, isolated=cpuset.of([1]), unknown_siblings=cpuset.of([2]), kinds=kinds)
        topology = topology.outside_kubepods(cpuset.of([3]), nodeset.of([0]))
        hardware = Hardware(replace(topology, offline=cpuset.of([999])), ("a problem",))
        profile = ProfileReference("p", 3)
        pages = [PagesInUse(0, "hugepages-2Mi", 2**21, "u-1")]
        return [
            render_node_topology("w1", LISTED, profile)
            | {"status": render_agent_status(hardware, AGENT, [CONDITION], pages)},
            render_node_topology("w1", AMOUNTS, profile)
            | {"status": render_operator_status(ALLOCATION, 3, [CONDITION])},
        ]
    block = MemoryBlock("memory", nodeset.of([0]), 2**30)
    device = GrantedDevice("gpu.example.com", "w1/gpu-0", nodeset.of([0]))
    grant = replace(
        DATABASE,
        containers=tuple(
            replace(container, memory=(block,), devices=(device,)) for container in DATABASE.containers
        ),
    )
    status = PodAllocationStatus(
        observed_generation=3,
        conditions=(CONDITION,),
        pod_written=VALUES,
        pod_effective=VALUES,
        containers=(
            ContainerStatus(
                "c", "id", VALUES, VALUES, pinned_after_millis=3, message="m", throttled_percent=4
            ),
        ),
        accepted_spec={"podUID": "u"},
        devices=(ReportedDevice("c", device),),
    )
    refused = Decision(False, "TopologyAffinityError", "m", explanation="e", refused_by=("cpu", "pod"))
    nothing = rejected_grant("u", "a", "b", TopologyManagerScope.POD)
    return [
        render_pod_allocation(grant, "w1", Decision(True, revision="r1", pending_resize=PENDING), "static")
        | {"status": render_status(status)},
        render_pod_allocation(nothing, "w1", refused),
    ]


@pytest.mark.parametrize("plural", READERS)
def test_renderers_write_every_field_of_the_schema_and_no_other(plural):
    known = {str(place) for place in places(schema(plural))}
    written: set[str] = set()
    for body in full_objects(plural):
        parts = {name: body[name] for name in ("spec", "status") if name in body}
        written |= set(rendered(json.loads(json.dumps(parts)), (), schema(plural)))
    assert written == known - READ_ONLY


@pytest.mark.parametrize(("plural", "place"), some("enum"))
def test_choices_are_those_of_the_schema(plural, place):
    for value in place.node["enum"]:
        assert not says(plural, place, value, "must be one of")
    (problem, *_) = problems(plural, place, "x-none-of-these")
    assert problem.message == "must be one of " + ", ".join(place.node["enum"])


@pytest.mark.parametrize(("plural", "place"), some("maxLength"))
def test_texts_may_be_as_long_as_the_schema_says(plural, place):
    longest = place.node["maxLength"]
    assert not says(plural, place, "x" * longest, f"at most {longest} are allowed")
    assert says(plural, place, "x" * (longest + 1), f"at most {longest} are allowed")


@pytest.mark.parametrize(("plural", "place"), some("minLength"))
def test_texts_that_must_not_be_empty_are_those_of_the_schema(plural, place):
    assert problems(plural, place, "")


@pytest.mark.parametrize(("plural", "place"), some("maxItems"))
def test_lists_may_be_as_long_as_the_schema_says(plural, place):
    most = place.node["maxItems"]
    assert not says(plural, place, [{}] * most, "are allowed")
    assert says(plural, place, [{}] * (most + 1), f"at most {most} are allowed")


@pytest.mark.parametrize(("plural", "place"), some("maxProperties"))
def test_maps_may_have_as_many_entries_as_the_schema_says(plural, place):
    most = place.node["maxProperties"]
    assert not says(plural, place, {f"k{n}": "x" for n in range(most)}, "are allowed")
    assert says(plural, place, {f"k{n}": "x" for n in range(most + 1)}, f"at most {most} are allowed")


@pytest.mark.parametrize(("plural", "place"), some("minimum"))
def test_numbers_may_be_as_small_as_the_schema_says(plural, place):
    assert not says(plural, place, place.node["minimum"], "must be from")
    assert says(plural, place, place.node["minimum"] - 1, "must be from")


@pytest.mark.parametrize(("plural", "place"), some("maximum"))
def test_numbers_may_be_as_large_as_the_schema_says(plural, place):
    assert not says(plural, place, place.node["maximum"], "must be from")
    assert says(plural, place, place.node["maximum"] + 1, "must be from")


def filled(node: Mapping[str, Any], value: Any) -> Any:
    """``value`` with the defaults of the schema, as the API server fills them in."""
    if isinstance(value, Mapping) and "properties" in node:
        content = dict(value)
        for name, child in node["properties"].items():
            if name not in content and "default" in child:
                content[name] = child["default"]
            if name in content:
                content[name] = filled(child, content[name])
        return content
    return value


@pytest.mark.parametrize(
    ("read", "plural"),
    [
        (read_node_profile, "nodeprofiles"),
        (read_node_topology, "nodetopologies"),
        (read_pod_allocation, "podallocations"),
    ],
)
def test_defaults_of_models_and_schema_are_the_same(read, plural):
    spec = SMALLEST[plural]
    body = {"metadata": {"name": "a"}, "spec": spec}
    complete = filled(schema(plural), body)
    assert complete["spec"] != spec
    (waiting,) = complete["status"]["conditions"]
    assert (waiting["type"], waiting["status"]) == ("Ready", "Unknown")
    del complete["status"]["conditions"]
    assert read(complete) == read(body)


def test_the_settings_of_profile_and_topology_are_the_same():
    profile, topology = (
        schema(plural)["properties"]["spec"] for plural in ("nodeprofiles", "nodetopologies")
    )
    # A profile may leave the release to the node; the NodeTopology says which it is.
    own = {"nodeSelector", "priority", "profile", "kubeletVersion"}
    settings, rendered = (
        {name: node for name, node in spec["properties"].items() if name not in own}
        for spec in (profile, topology)
    )
    assert rendered == settings
    assert topology["x-kubernetes-validations"] == profile["x-kubernetes-validations"]


@pytest.mark.parametrize("place", [pytest.param(place, id=f"{plural}:{place}") for plural, place in ALL])
def test_every_field_is_bounded_and_described(place):
    node = place.node
    match node.get("type"):
        case "string":
            assert "enum" in node or "maxLength" in node or node.get("format") == "date-time"
        case "array":
            assert "maxItems" in node
        case "object":
            assert "properties" in node or "maxProperties" in node
        case "integer":
            assert "format" in node
        case "boolean":
            pass
        case other:
            assert other is None
            assert node["x-kubernetes-int-or-string"]
    named = place.steps[-1] not in ("[]", "{}")
    assert not named or node.get("description", "").endswith((".", "set", "false"))


@pytest.mark.parametrize("plural", READERS)
def test_every_rule_has_a_message(plural):
    rules = [
        rule for place in places(schema(plural)) for rule in place.node.get("x-kubernetes-validations", [])
    ]
    assert all(";" in rule["message"] for rule in rules)


@pytest.mark.parametrize("plural", READERS)
def test_columns_show_fields_that_exist(plural):
    (version,) = crd(plural)["spec"]["versions"]
    known = {f".{place}" for place in places(schema(plural))} | {".metadata.creationTimestamp"}
    for column in version["additionalPrinterColumns"]:
        path = re.sub(r"\[[^]]+\]", "[]", column["jsonPath"])  # one condition of many
        assert path in known

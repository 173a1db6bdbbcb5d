"""Whatever somebody stores, a reader answers with a value or with one bounded InvalidObjectError."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podnuma.allocator import ManagerSettings
from podnuma.api.decoding import InvalidObjectError
from podnuma.api.hardware import Hardware
from podnuma.api.node_profile import read_node_profile
from podnuma.api.node_settings import NodeSettings, PodPolicy
from podnuma.api.node_topology import (
    read_node_topology,
    render_agent_status,
    render_node_topology,
    render_operator_status,
)
from podnuma.api.pod import read_pod, read_pod_facts
from podnuma.api.pod_allocation import Decision, read_pod_allocation, render_pod_allocation
from podnuma.api.pod_defaults import with_api_defaults

from tests.unit.api.objects import DATABASE, MACHINES, example, junk, machine, spoiled
from tests.unit.api.test_node_topology import AGENT, AGENT_READY, ALLOCATION, READY

LONGEST_ERROR = 12_000

TOPOLOGY = render_node_topology("w1", NodeSettings(ManagerSettings(), PodPolicy()), None) | {
    "status": render_operator_status(ALLOCATION, 3, [READY])
    | render_agent_status(Hardware(machine(MACHINES[0])), AGENT, [AGENT_READY])
}
POD = example("pods/database")
ANNOTATED = POD | {
    "metadata": {
        "name": "p",
        "uid": "u",
        "annotations": {"podnuma.dev/resources": json.dumps(POD["spec"]["resources"])},
    },
    "spec": {name: value for name, value in POD["spec"].items() if name != "resources"},
    "status": {"qosClass": "Burstable", "phase": "Running"},
}
ALLOCATED = render_pod_allocation(DATABASE, "w1", Decision(admitted=True))
READERS = [
    (read_node_profile, example("profiles/databases")),
    (read_node_topology, TOPOLOGY),
    (read_pod_allocation, ALLOCATED),
    (read_pod, POD),
    (read_pod, ANNOTATED),
    (read_pod_facts, ANNOTATED),
]
IDS = ["profile", "topology", "allocation", "pod", "annotated-pod", "facts"]

every_reader = pytest.mark.parametrize(("read", "good"), READERS, ids=IDS)


@every_reader
def test_the_objects_to_be_spoiled_are_good(read, good):
    read(good)


def refusal(read: Callable[[Any], Any], value: Any) -> str | None:
    """The text of the error, None when the value is read."""
    try:
        read(value)
    except InvalidObjectError as refused:
        return str(refused) if refused.errors else ""
    return None


@every_reader
@given(data=st.data())
def test_junk_is_refused_with_a_bounded_error(read, good, data):
    text = refusal(read, data.draw(junk | spoiled(good)))
    if text is not None:
        assert text.isprintable()
        assert len(text) < LONGEST_ERROR


@given(spoiled(POD))
def test_defaults_may_be_filled_into_anything(value):
    with suppress(InvalidObjectError):
        read_pod(with_api_defaults(value))


def json_text(value: Any) -> str:
    """JSON of junk, as far as it can be written; numbers too long to print become 1."""
    try:
        return json.dumps(value, default=str, skipkeys=True)
    except ValueError:
        return '{"limits": {"cpu": 1}}'


@given(st.text(max_size=200) | junk.map(json_text))
def test_an_annotation_may_hold_anything(text):
    with suppress(InvalidObjectError):
        read_pod({**ANNOTATED, "metadata": {"name": "p", "annotations": {"podnuma.dev/resources": text}}})


@pytest.mark.parametrize("read", [read for read, _ in READERS], ids=IDS)
def test_deep_objects_are_not_walked(read):
    value: dict[str, Any] = {}
    for _ in range(50_000):
        value = {"spec": value, "status": value, "metadata": value}
    with suppress(InvalidObjectError):
        read(value)


@pytest.mark.parametrize(
    "value",
    [
        {"spec": {"containers": [{"name": "c"}] * 100_000}},
        {"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "9" * 100_000}}}]}},
        {"spec": {"resources": {"limits": {"cpu": "1e999999999"}}}},
        {"spec": {"resources": {"limits": {"memory": "0." + "0" * 60}}}},
        {"metadata": {"annotations": {"podnuma.dev/resources": "{" * 1_000_000}}},
        {"metadata": {"annotations": {"podnuma.dev/resources": '{"limits": {"cpu": 1' + "0" * 4000 + "}}"}}},
        {"metadata": {"name": "\u202e" * 100_000}},
    ],
    ids=["containers", "digits", "exponent", "fraction", "brackets", "integer", "name"],
)
def test_huge_pods_cost_little(value):
    with pytest.raises(InvalidObjectError) as caught:
        read_pod(value)
    assert len(str(caught.value)) < LONGEST_ERROR


@pytest.mark.parametrize("cpus", ["0-4000000000", "0-" + "9" * 30_000, ",".join(["0-65535"] * 4000)])
def test_huge_cpu_lists_cost_little(cpus):
    hardware = {"cores": [{"id": 0, "cpus": cpus}], "sockets": [], "numaNodes": []}
    found = read_node_topology({"metadata": {"name": "a"}, "status": {"hardware": hardware}})
    assert found.hardware is None
    assert found.hardware_problem
    with suppress(InvalidObjectError):
        read_pod_allocation({**ALLOCATED, "spec": {**ALLOCATED["spec"], "cpus": cpus}})

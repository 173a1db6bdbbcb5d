"""Gates, and the patches that are written to pods without a node."""

from typing import Any

import pytest
from podnuma.api.placement import (
    MOST_EXCLUDED,
    read_gates,
    read_scheduling_state,
    render_lifted_gate,
    render_nomination,
    render_release,
)

OURS = "podnuma.dev/placement"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def terms(body: dict[str, Any]) -> list[Any]:
    found: list[Any] = body["spec"]["affinity"]["nodeAffinity"][REQUIRED]["nodeSelectorTerms"]
    return found


def affine(*present: Any) -> dict[str, Any]:
    return {"spec": {"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [*present]}}}}}


@pytest.mark.parametrize("gates", [None, "x", [1], [{"name": 3}], {"name": OURS}])
def test_what_is_no_list_of_gates_is_no_gate(gates):
    assert read_gates({"spec": {"schedulingGates": gates}}) == ()
    assert not read_scheduling_state({"spec": {"schedulingGates": gates}}).gated


@pytest.mark.parametrize(
    ("gates", "gated", "last"), [((OURS,), True, True), (("a", OURS), True, False), (("a",), False, False)]
)
def test_ours_is_the_last_one_only_alone(gates, gated, last):
    found = read_scheduling_state({"spec": {"schedulingGates": [{"name": gate} for gate in gates]}})
    assert (found.gated, found.last_gate) == (gated, last)


def test_every_patch_names_the_pod_by_its_uid():
    for body in (render_nomination("u", "n1"), render_lifted_gate("u"), render_release("u", {}, ["n1"])):
        assert body["metadata"] == {"uid": "u"}


def test_no_node_is_nominated_any_more():
    assert render_nomination("u", "n1")["status"] == {"nominatedNodeName": "n1"}
    assert render_nomination("u", "")["status"] == {"nominatedNodeName": None}


def test_only_our_gate_is_removed():
    assert render_lifted_gate("u")["spec"] == {"schedulingGates": [{"name": OURS, "$patch": "delete"}]}


def test_a_pod_without_affinity_gets_one_term_against_all_unfit_nodes():
    (term,) = terms(render_release("u", {}, ["n2", "n1"]))
    assert [one["values"] for one in term["matchFields"]] == [["n1"], ["n2"]]
    assert {one["operator"] for one in term["matchFields"]} == {"NotIn"}


def test_every_term_is_narrowed_behind_what_it_says_already():
    first = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n3"]}]}
    second = {"matchExpressions": [{"key": "a", "operator": "Exists"}]}
    found = terms(render_release("u", affine(first, second, {}), ["n1"]))
    assert found[0]["matchFields"][0] == first["matchFields"][0]
    assert found[1]["matchExpressions"] == second["matchExpressions"]
    assert [one["matchFields"][-1]["values"] for one in found[:2]] == [["n1"], ["n1"]]
    assert found[2] == {}, "an empty term matches nothing and may not be changed"


def test_the_number_of_excluded_nodes_is_bounded():
    (term,) = terms(render_release("u", {}, [f"n{number}" for number in range(2 * MOST_EXCLUDED)]))
    assert len(term["matchFields"]) == MOST_EXCLUDED

"""A profile is read with all its mistakes, and its status says where to look first."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podnuma.allocator import KubeletRelease
from podnuma.api.conditions import Condition, Status
from podnuma.api.decoding import InvalidObjectError
from podnuma.api.node_profile import (
    MAX_NODES,
    MatchedNode,
    MatchState,
    NodeProfile,
    NodeProfileStatus,
    read_node_profile,
    render_node_profile_status,
)
from podnuma.api.node_settings import render_node_settings
from podnuma.api.object_metadata import Metadata
from podnuma.api.selector import EVERYTHING, LabelSelector, render_selector

from tests.unit.api.objects import example, names, node_settings, selectors

READY = Condition("Ready", Status.TRUE, "Applied", "", 3, "2026-05-01T12:00:00Z")


def profile(name: str = "a", **spec) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"nodeSelector": {}, **spec}}


def test_the_example_profiles_are_read():
    databases, training = (
        read_node_profile(example(f"profiles/{name}")) for name in ("databases", "training")
    )
    assert databases.node_selector == LabelSelector({"node-pool": "databases"})
    assert databases.node.managers.topology_manager_scope.value == "pod"
    assert training.node.managers.topology_manager_policy.value == "best-effort"
    assert (databases.name, databases.priority) == ("databases", 0)


def test_the_highest_priority_wins_then_the_first_name():
    found = [
        read_node_profile(profile(name, priority=priority))
        for name, priority in (("b", 5), ("a", 5), ("c", 9), ("d", -1))
    ]
    assert [one.name for one in sorted(found, key=lambda one: one.rank)] == ["c", "a", "b", "d"]


def test_a_profile_that_does_not_say_for_which_nodes_is_refused():
    with pytest.raises(
        InvalidObjectError, match=r"NodeProfile a, spec.nodeSelector: is required; write \{\} to"
    ):
        read_node_profile({"metadata": {"name": "a"}, "spec": {}})
    assert read_node_profile(profile()).node_selector == EVERYTHING


@given(names, selectors, st.integers(-1_000_000_000, 1_000_000_000), node_settings())
def test_a_profile_is_read_as_it_was_rendered(name, selector, priority, node):
    written = NodeProfile(Metadata(name, "", "", "", 0, deleted=False), selector, priority, node)
    spec = {"nodeSelector": render_selector(selector), "priority": priority} | render_node_settings(node)
    rendered = {"metadata": {"name": name}, "spec": spec}
    assert read_node_profile(rendered) == written


@pytest.mark.parametrize(
    ("wanted", "kubelet", "release"),
    [
        ("Newest", "v1.36.3", KubeletRelease.V1_38),
        ("Node", "v1.36.3", KubeletRelease.V1_37),
        ("Node", "v1.37.2-eks-3abc", KubeletRelease.V1_37),
        ("Node", "v1.38.0-beta.0", KubeletRelease.V1_38),
        ("Node", "v2.0.1", KubeletRelease.V1_38),
        ("Node", "", KubeletRelease.V1_38),
        ("Node", "unknown", KubeletRelease.V1_38),
        ("1.37", "v1.38.1", KubeletRelease.V1_37),
        ("1.38", "v1.36.3", KubeletRelease.V1_38),
    ],
)
def test_a_profile_says_whose_cpus_are_taken_on_a_node(wanted, kubelet, release):
    spec = {"nodeSelector": {}, "kubeletVersion": wanted}
    profile = read_node_profile({"metadata": {"name": "all"}, "spec": spec})
    assert profile.settings_on(kubelet).managers.kubelet_release is release


def test_the_status_counts_all_nodes_and_lists_those_in_need_first():
    nodes = [MatchedNode(f"n{number:03}", MatchState.APPLIED) for number in range(MAX_NODES + 10)]
    nodes += [
        MatchedNode("z1", MatchState.REFUSED, "ReservedCPUs", "no CPU 96; drop it"),
        MatchedNode("z2", MatchState.PENDING),
        MatchedNode("z3", MatchState.OVERRIDDEN, "Priority", "profile b wins"),
    ]
    body = render_node_profile_status(NodeProfileStatus(3, tuple(nodes), (READY,)))
    assert (body["nodesMatched"], body["nodesApplied"], body["nodesRefused"]) == (
        MAX_NODES + 13,
        MAX_NODES + 10,
        1,
    )
    assert [node["name"] for node in body["nodes"]][:4] == ["z1", "z2", "z3", "n000"]
    assert len(body["nodes"]) == MAX_NODES
    assert body["nodes"][0] == {
        "name": "z1",
        "state": "Refused",
        "reason": "ReservedCPUs",
        "message": "no CPU 96; drop it",
    }

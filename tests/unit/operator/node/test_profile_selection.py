"""Which profile holds on a node, whether it can, and what each profile is told."""

from dataclasses import replace

from podnuma.allocator import KubeletRelease
from podnuma.api.conditions import Status
from podnuma.api.hardware import Hardware
from podnuma.api.node_profile import MatchState
from podnuma.api.node_topology import NodeTopology, ProfileReference
from podnuma.operator.cache import decode
from podnuma.operator.cache.objects import CachedNode, CachedTopology, ObjectKey, ObjectVersion
from podnuma.operator.node import profile_selection

from tests.unit.operator.rig import machine, profile

NODE = CachedNode(ObjectVersion("u-n1", 1), ObjectKey("", "n1"), "n1", {"pool": "a", "zone": "z1"})
HARDWARE = Hardware(machine())


def record(name="main", **spec):
    value = profile(name, **spec)
    value["metadata"] |= {"generation": 3, "uid": f"u-{name}", "resourceVersion": "1"}
    return decode.decode_profile(value)


def topology(model):
    return CachedTopology(
        ObjectVersion("u-t", 1), ObjectKey("", "n1"), "n1", 1, "2026-01-01T00:00:00Z", "u-n1", model, None
    )


def in_force(of, hardware=HARDWARE):
    """Return the NodeTopology that a profile's settings are in."""
    assert of.model is not None
    reference = ProfileReference(of.model.name, of.model.metadata.generation)
    metadata = replace(of.model.metadata, name="n1")
    return topology(NodeTopology(metadata, reference, of.model.node, hardware))


def test_the_highest_priority_wins_then_the_first_name():
    found = profile_selection.matching_profiles(
        NODE.labels, [record("c", priority=5), record("a"), record("b", priority=5), record("z", priority=1)]
    )
    assert found.winner is not None
    assert found.winner.name == "b"
    assert [rival.name for rival in found.rivals] == ["c"]
    assert [other.name for other in found.others] == ["z", "a"]


def test_nodes_of_another_system_are_selected_by_no_profile():
    """DataDog/datadog-operator#3154: a mixed cluster. Such nodes never get an agent."""
    for system, selected in (("windows", False), ("linux", True)):
        labels = {"kubernetes.io/os": system}
        found = profile_selection.matching_profiles(labels, [record(nodeSelector={})])
        assert (found.winner is not None) == selected


def test_a_selector_that_does_not_match_has_no_say():
    other = record("other", priority=9, nodeSelector={"matchLabels": {"pool": "b"}})
    found = profile_selection.matching_profiles(NODE.labels, [record(), other])
    assert found.winner is not None
    assert found.winner.name == "main"


def test_an_empty_selector_selects_every_node():
    assert profile_selection.matching_profiles({}, [record(nodeSelector={})]).winner is not None


def test_without_hardware_settings_are_written_and_nothing_is_decided():
    plan = profile_selection.select(NODE, [record()], None)
    assert plan.apply is not None
    assert plan.decide_with is None
    assert plan.intended is not None
    assert plan.valid.status is Status.UNKNOWN
    assert plan.matches["main"].state is MatchState.PENDING


def test_settings_that_are_in_force_need_no_write():
    main = record()
    plan = profile_selection.select(NODE, [main], in_force(main))
    assert plan.apply is None
    assert main.model is not None
    assert plan.decide_with == main.model.node
    assert plan.matches["main"].state is MatchState.APPLIED


def test_a_new_generation_is_written_even_if_the_settings_are_the_same():
    main = record()
    edited = profile()
    edited["metadata"] |= {"generation": 4, "uid": "u-main", "resourceVersion": "2"}
    plan = profile_selection.select(NODE, [decode.decode_profile(edited)], in_force(main))
    assert plan.apply is not None
    assert plan.apply[1] == ProfileReference("main", 4)


def test_settings_that_do_not_fit_are_not_written_and_the_last_good_ones_decide():
    main = record()
    bad = record(reservedSystemCPUs="0,96")
    plan = profile_selection.select(NODE, [bad], in_force(main))
    assert plan.apply is None
    assert main.model is not None
    assert plan.decide_with == main.model.node
    assert plan.matches["main"].state is MatchState.REFUSED
    for words in ("NodeProfile main", "node n1", "spec.reservedSystemCPUs", "0,96"):
        assert words in plan.matches["main"].message


def test_settings_that_never_fitted_decide_nothing():
    bad = record(reservedSystemCPUs="0,96")
    plan = profile_selection.select(NODE, [bad], in_force(bad))
    assert plan.decide_with is None
    assert "nothing is decided" in plan.valid.message


def test_rivals_and_the_winner_are_told_of_each_other():
    plan = profile_selection.select(NODE, [record("a"), record("b")], in_force(record("a")))
    assert plan.matches["a"].reason == plan.matches["b"].reason == "ConflictingPriority"
    assert plan.matches["b"].state is MatchState.OVERRIDDEN
    assert (
        plan.matches["a"].message == plan.matches["b"].message
        or "a wins by name" in plan.matches["a"].message
    )


def test_a_profile_of_lower_priority_is_told_who_wins():
    plan = profile_selection.select(NODE, [record("a", priority=2), record("b")], None)
    assert plan.matches["b"].state is MatchState.OVERRIDDEN
    assert "NodeProfile a" in plan.matches["b"].message


def test_without_a_profile_our_settings_are_withdrawn_and_others_hold():
    main = record()
    ours = in_force(main)
    assert ours.model is not None
    plan = profile_selection.select(NODE, [], ours)
    assert plan.withdraw
    assert plan.decide_with is None
    by_hand = topology(replace(ours.model, profile=None))
    plan = profile_selection.select(NODE, [], by_hand)
    assert not plan.withdraw
    assert plan.decide_with == ours.model.node
    assert plan.valid.reason == "ManualSettings"


def test_a_profile_that_became_unreadable_keeps_its_last_good_settings():
    main = record()
    broken = record(topologyManagerPolicy="sometimes")
    plan = profile_selection.select(NODE, [broken, record("other", priority=-1)], in_force(main))
    assert main.model is not None
    assert plan.decide_with == main.model.node
    assert plan.apply is None
    assert "topologyManagerPolicy" in plan.valid.message


def test_an_unreadable_nodetopology_decides_nothing_and_says_why():
    broken = replace(in_force(record()), model=None, problem="NodeTopology n1, status.hardware: bad")
    plan = profile_selection.select(NODE, [record()], broken)
    assert plan.decide_with is None
    assert "status.hardware" in plan.valid.message


def test_a_profile_that_leaves_it_to_the_node_follows_its_kubelet():
    of = record(kubeletVersion="Node")
    older = replace(NODE, kubelet_version="v1.36.3")
    chosen = profile_selection.select(older, [of], in_force(of))
    assert chosen.apply is not None
    assert chosen.apply[0].managers.kubelet_release is KubeletRelease.V1_37
    assert chosen.decide_with == chosen.apply[0]
    upgraded = replace(NODE, kubelet_version="v1.38.0")
    assert profile_selection.select(upgraded, [of], in_force(of)).apply is None


def test_an_upgrade_of_the_kubelet_is_a_change_of_the_node():
    assert NODE.relevant_state != replace(NODE, kubelet_version="v1.38.0").relevant_state

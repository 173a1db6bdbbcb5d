"""Pods in turn on nodes: the first that admits, what earlier pods hold, who is not managed."""

from podnuma.cli.commands.pod_plans import plan_pods
from podnuma.cli.objects.candidate_nodes import candidate_nodes
from podnuma.cli.objects.documents import Document
from podnuma.cli.objects.workloads import expand

from testbed import dra
from tests.unit.cli.builders import allocation_object, budgeted_pod, database, topology_object

EPYC = "epyc7401-2s-8numa-16l3"


def outcomes(pods, topologies, allocations=(), labels=None):
    nodes, unset, problems = candidate_nodes(topologies, allocations)
    assert not unset
    assert problems == []
    expanded = expand([Document(f"document {number}", one) for number, one in enumerate(pods)])
    return plan_pods(expanded.pods, nodes, labels or {})


def test_what_an_earlier_pod_got_is_held_for_the_later_ones():
    found = outcomes(
        [budgeted_pod("one", 12), budgeted_pod("two", 12)], [topology_object(EPYC, reserved="0,48")]
    )
    grants = [one.grant for one in found]
    assert all(grants)
    assert grants[0].exclusive_cpus & grants[1].exclusive_cpus == 0


def test_pods_that_hold_something_already_are_in_the_way():
    topology = topology_object("laptop-hybrid-6p8e", reserved="0-1")
    held = database()
    assert outcomes([budgeted_pod("one", 18)], [topology])[0].grant is not None
    assert outcomes([budgeted_pod("one", 18)], [topology], [allocation_object(held)])[0].refused


def test_the_first_node_that_admits_gets_the_pod_and_refusals_before_it_are_kept():
    small, large = (
        topology_object("laptop-hybrid-6p8e", reserved="0", name="a"),
        topology_object("epyc9654-2s-384cpu-24l3", reserved="0", name="b"),
    )
    (found,) = outcomes([budgeted_pod("one", 60)], [large, small])
    assert found.node == "b"
    assert [(one.node, one.reason) for one in found.refusals] == [("a", "TopologyAffinityError")]


def test_a_pod_that_no_node_admits_is_refused_with_every_reason():
    (found,) = outcomes([budgeted_pod("one", 95)], [topology_object(EPYC, reserved="0,48")])
    assert found.refused
    assert [one.reason for one in found.refusals] == ["TopologyAffinityError"]


def test_pods_outside_the_profiles_selectors_are_not_managed():
    topology = topology_object(EPYC, reserved="0,48")
    topology["spec"]["management"] = "OptIn"
    plain, willing = (
        budgeted_pod("plain", 4),
        budgeted_pod("willing", 4, labels={"podnuma.dev/managed": "true"}),
    )
    found = outcomes([plain, willing], [topology])
    assert [(one.managed, one.grant is not None) for one in found] == [(False, False), (True, True)]
    assert not found[0].refused


def test_labels_of_namespaces_count_where_a_profile_selects_by_them():
    topology = topology_object(EPYC, reserved="0,48")
    topology["spec"]["namespaceSelector"] = {"matchLabels": {"tier": "gold"}}
    assert not outcomes([budgeted_pod("one", 4)], [topology])[0].managed
    assert outcomes([budgeted_pod("one", 4)], [topology], labels={"a": {"tier": "gold"}})[0].managed


def test_a_plan_says_that_devices_are_chosen_later():
    asked = dra.use_claim(budgeted_pod("train", 12), "gpu")
    asked["spec"]["containers"][0]["resources"]["limits"] = {"example.com/nic": "2"}
    (found,) = outcomes([asked], [topology_object(EPYC, reserved="0,48")])
    assert found.result == "admitted"
    assert found.note == (
        "where its devices are is not considered: ResourceClaim gpu (chosen by the scheduler), "
        "example.com/nic (chosen by the node's kubelet); CPUs and memory follow them once they are "
        "chosen, as far as topologyManagerPolicy says"
    )

"""Memory and NUMA nodes that went wrong elsewhere. Each test names the public report."""

import pytest
from podnuma.allocator import check
from podnuma.cli.objects.scenarios import read_scenario, read_settings

from tests.conformance.said import explained, granted, node, said
from tests.conformance.world import (
    GI,
    RESTART,
    add,
    amounts,
    both,
    budget,
    d16,
    facts,
    g,
    machine,
    pod,
    pod_file,
    remove,
    scenario,
    settings,
    shared,
)

MI = 2**20


def fraction(uid, memory="100Mi", **huge):
    """A Guaranteed pod of 200m CPU: only its memory is placed."""
    return pod(uid, None, [{"resources": both(amounts("200m", memory, **huge))}])


def test_every_node_is_in_one_group_and_members_agree():
    """kubernetes/kubernetes#113035: huge pages over two nodes, then small ones, a restart after each step."""
    kubelet = settings(policy="best-effort")
    steps = []
    for uid, pages in (("h1", "3Gi"), ("h2", "512Mi"), ("h3", "512Mi")):
        steps += [add(fraction(uid, huge_2Mi=pages)), RESTART]
    for uid in ("h1", "h2", "h3"):
        steps += [remove(uid), RESTART]
    answer = said(scenario("groups", d16(pages={"2Mi": "2Gi"}), kubelet, *steps))
    assert all(step.report.get("start", {"ok": True})["ok"] for step in answer)
    assert [step.mems("c0") for step in answer.steps[0:6:2]] == [[0, 1]] * 3
    assert [step.groups() for step in answer.steps[:-2]] == [{0: [0, 1], 1: [0, 1]}] * 10
    assert answer.last.groups() == {0: [0], 1: [1]}


@pytest.mark.parametrize(
    ("policy", "first", "second", "left"),
    [
        ("restricted", [0, 1], None, 16 * MI),
        ("single-numa-node", None, [0], 24 * MI),
        ("best-effort", [0, 1], [0, 1], 0),
    ],
)
def test_members_of_a_group_offer_only_the_group(policy, first, second, left):
    """kubernetes/kubernetes#104682: ten 2Mi pages per node; 24Mi, then the 16Mi that are left over."""
    kubelet = settings(policy=policy, scope="container", cpuManagerPolicy="none", reservedCPUs=None)
    steps = [add(fraction("p1", huge_2Mi="24Mi")), add(fraction("p2", huge_2Mi="16Mi"))]
    answer = said(scenario("leftover", d16(pages={"2Mi": "20Mi"}), kubelet, *steps))
    assert [step.mems("c0") if step.admitted else None for step in answer] == [first, second]
    assert answer.last.free("hugepages-2Mi") == left


def unequal_nodes():
    """Two nodes with 78483636224 and 87445463040 bytes to give."""
    topology = d16()
    for row, size in zip(topology["numaNodes"], (78483636224, 87445463040), strict=True):
        row["memoryBytes"] = size + GI
    return topology


def test_a_grouped_node_serves_nobody_else_until_the_group_is_gone():
    """kubernetes/kubernetes#128669."""
    kubelet = settings(policy="restricted", scope="container")
    steps = [
        add(fraction("m2", "91268055040")),
        add(fraction("m1", "1Gi")),
        remove("m2"),
        add(fraction("again", "1Gi")),
    ]
    big, small, _, again = said(scenario("owner", unequal_nodes(), kubelet, *steps))
    assert big.mems("c0") == [0, 1]
    assert (small.admitted, small.reason) == (False, "TopologyAffinityError")
    assert again.mems("c0") == [0]


def test_the_explanation_names_the_group_and_its_owner():
    """The same report: what the refused pod is told."""
    kubelet = settings(policy="restricted", scope="container")
    on = node(scenario("owner", unequal_nodes(), kubelet))
    granted(on, fraction("m2", "91268055040"))
    why = explained(on, fraction("m1", "1Gi"))
    assert any("0-1" in note and "m2" in note for note in why.remarks)


def test_cpu_for_one_node_and_memory_for_two_do_not_meet():
    """The same report, second run: with one whole CPU the big pod is refused itself."""
    kubelet = settings(policy="restricted", scope="container")
    wanted = pod("m2", None, [g(1, "91268055040")])
    step = said(scenario("no common set", unequal_nodes(), kubelet, add(wanted))).last
    assert (step.admitted, step.reason) == (False, "TopologyAffinityError")


@pytest.mark.parametrize(("pages", "cpus"), [({0: {"1Gi": "4Gi"}}, "1,9"), ({1: {"1Gi": "4Gi"}}, "4,12")])
def test_huge_pages_of_an_init_container_count_for_the_pod(pages, cpus):
    """kubernetes/kubernetes#140814: only the init container wants them."""
    topology = d16()
    for row in topology["numaNodes"]:
        row["hugepages"] = pages.get(row["id"], {"1Gi": 0})
    step = said(scenario("init pages", topology, settings(), add(pod_file("23")))).last
    assert step.cpus("warm") == step.cpus("app") == cpus
    assert step.memory("warm")["hugepages-1Gi"] == (2 * GI, tuple(pages))
    assert step.free("hugepages-1Gi") == 2 * GI


def test_a_reservation_that_does_not_add_up_is_named_with_numbers():
    """bottlerocket-os/bottlerocket#4754: 1Gi reserved, 2Gi expected; 10Mi of huge pages, none expected."""
    kubelet = settings(nodes=[0], nodeReservation={"cpu": "2", "memory": "2Gi", "hugepages-2Mi": "0"})
    kubelet["reservedMemory"][0]["limits"]["hugepages-2Mi"] = "10Mi"
    read = read_scenario(scenario("sums", d16(pages={"2Mi": "1Gi"}), kubelet))
    problems = check(read_settings(read.kubelet), read.topology)
    assert [problem.field for problem in problems] == [
        "reservedMemory (memory)",
        "reservedMemory (hugepages-2Mi)",
    ]
    assert "1Gi" in problems[0].message
    assert "2Gi" in problems[0].message
    assert "add 1Gi" in problems[0].message
    assert "10Mi" in problems[1].message


@pytest.mark.parametrize(
    ("resource", "size", "have"), [("memory", "2Gi", "1Gi"), ("hugepages-1Gi", "4Gi", "3Gi")]
)
def test_a_reservation_larger_than_the_node_is_refused(resource, size, have):
    """4Gi, of which 3Gi are huge pages."""
    kubelet = settings()
    kubelet["reservedMemory"][0]["limits"][resource] = size
    answer = said(scenario("too much", d16(memory="4Gi", pages={"1Gi": "3Gi"}), kubelet))
    assert not answer.start["ok"]
    assert f"{resource}: NUMA node 0 has {have}; reserve less" in answer.start["error"]


@pytest.mark.parametrize(
    ("topology", "nodes", "cpus"),
    [
        (None, [0, 1], None),
        (
            {"prefer-closest-numa-nodes": "true"},
            [0, 2],
            "2,8,10,12,14,16,20,24,28,32,36,40,44,48,52,58,64,66,68,70,72,76,80,84,88,92,96,100,104,108",
        ),
    ],
)
def test_large_nodes_without_cpus_do_not_make_nodes_with_cpus_second_best(topology, nodes, cpus):
    """A Xeon with four persistent-memory nodes of 124 GiB: 40Gi would fit one of those alone.

    What the kernel isolates is reserved as well, so that it is nobody's.
    """
    reserved = f"0,56,{facts('xeon-2s-snc2-pmem')['isolated']}"
    kubelet = settings(policy="restricted", topology=topology, reserved=reserved, nodes=range(4))
    xeon = machine("xeon-2s-snc2-pmem")
    step = said(scenario("pmem", xeon, kubelet, add(pod("p", budget(30, "40Gi"), [shared()])))).last
    assert step.admitted
    assert step.mems("c0") == nodes
    assert cpus is None or step.bubble == cpus


@pytest.mark.parametrize(
    ("pages", "policy", "nodes"),
    [("2Gi", "single-numa-node", [0]), ("5Gi", "single-numa-node", None), ("5Gi", "best-effort", [0, 1])],
)
def test_huge_pages_that_only_the_budget_names_are_placed(pages, policy, nodes):
    """kubernetes/kubernetes#130577, #131089, #141247."""
    wanted = pod("p", budget(4, "8Gi", huge_1Gi=pages), [shared(), shared()])
    step = said(scenario("pod pages", d16(pages={"1Gi": "4Gi"}), settings(policy=policy), add(wanted))).last
    assert (step.mems("c0") if step.admitted else None) == nodes
    if nodes is not None:
        size = int(pages.removesuffix("Gi")) * GI
        assert step.bubble_memory == {"memory": (8 * GI, tuple(nodes)), "hugepages-1Gi": (size, tuple(nodes))}


@pytest.mark.parametrize("policy", ["best-effort", "restricted", "single-numa-node"])
def test_a_page_size_that_one_node_lacks_is_none_there(policy):
    """Only node 1 knows 1Gi pages; the pod goes there."""
    topology = d16()
    topology["numaNodes"][1]["hugepages"] = {"1Gi": "4Gi"}
    wanted = pod("p", budget(2, "2Gi", huge_1Gi="2Gi"), [shared()])
    step = said(scenario("one node", topology, settings(policy=policy), add(wanted))).last
    assert (step.bubble, step.mems("c0")) == ("4,12", [1])


def test_a_page_size_that_the_machine_lacks_is_refused():
    wanted = pod("p", budget(2, "2Gi", huge_1Gi="2Gi"), [shared()])
    for policy in ("best-effort", "single-numa-node", "restricted"):
        step = said(scenario("nowhere", d16(pages={"2Mi": "1Gi"}), settings(policy=policy), add(wanted))).last
        assert not step.admitted

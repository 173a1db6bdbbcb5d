"""CPU topologies and CPU slices that went wrong elsewhere. Each test names the public report."""

import pytest
from podnuma.allocator import ContainerKind, ContainerRequest, PodRequest, Rejected, cpuset
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.quantities import parse
from podnuma.cli.objects.scenarios import read_scenario, read_settings

from tests.conformance.said import granted, node, said
from tests.conformance.world import (
    RESTART,
    add,
    budget,
    cpus_only,
    d16,
    even,
    g,
    machine,
    numa_nodes,
    place,
    pod,
    pod_file,
    remove,
    s4,
    scenario,
    settings,
    shared,
    start,
)

FULL = "full-pcpus-only"
DISTRIBUTE = "distribute-cpus-across-numa"


def whole(cpus, memory="1Gi"):
    """A pod with a budget that one container uses up."""
    return pod("p", budget(cpus, memory), [g(cpus, memory)])


def one_pod(topology, kubelet, wanted):
    return said(scenario("case", topology, kubelet, add(wanted))).last


def test_offline_siblings_leave_cores_of_one_thread():
    """kubernetes/kubernetes#89859: 12 CPUs of which 6-11 are offline."""
    online = place([(cpu, cpu, 0, 0) for cpu in range(6)], numa_nodes(1, "16Gi"))
    kubelet = settings(cpu=[FULL], reserved="0", nodes=[0])
    assert one_pod(online, kubelet, whole(3)).bubble == "1-3"


def test_cores_of_different_sockets_with_one_number_stay_apart():
    """kubernetes/kubernetes#53323: four sockets that all have cores 0 and 1, two threads missing."""
    kubelet = settings(cpu=[FULL], reserved="3,11", nodes=[0])
    xeon = machine("xeon-4s")
    assert len({cpu["core"] for cpu in xeon["cpus"]}) == 7
    assert one_pod(xeon, kubelet, whole(2)).bubble == "1,9"


@pytest.mark.parametrize(("cpus", "expected"), [(2, "2-3"), (8, "8-15"), (10, "2-3,8-15")])
def test_siblings_stay_together_when_sockets_share_a_numa_node(cpus, expected):
    """google/cadvisor#2798: packages 0-7 and 8-15 in one NUMA node, siblings are neighbours."""
    two_in_one = place([(cpu, cpu // 2 % 4, cpu // 8, 0) for cpu in range(16)], numa_nodes(1, "32Gi"))
    kubelet = settings(cpu=[FULL], reserved="0-1", nodes=[0])
    assert one_pod(two_in_one, kubelet, whole(cpus)).bubble == expected


def odd_and_even():
    """Two sockets = NUMA nodes, cores alternate between them, siblings n and n+6."""
    return place([(cpu, cpu % 6, cpu % 2, cpu % 2) for cpu in range(12)], numa_nodes(2, "16Gi"))


@pytest.mark.parametrize(("cpus", "expected"), [(10, None), (8, "2-5,8-11"), (3, None)])
def test_siblings_of_reserved_threads_do_not_count_for_whole_cores(cpus, expected):
    """kubernetes/kubernetes#113537: single threads of two cores are reserved."""
    kubelet = cpus_only(policy="none", cpu=[FULL], reserved="1,6")
    step = one_pod(odd_and_even(), kubelet, whole(cpus))
    assert (step.cpus("c0") if step.admitted else None) == expected
    assert step.reason == ("" if expected else "SMTAlignmentError")


@pytest.mark.parametrize(("cpus", "expected"), [(6, None), (8, "4-11")])
def test_a_core_can_have_four_threads(cpus, expected):
    """The same report on POWER9, whose NUMA nodes are 0, 8 and 250-255."""
    kubelet = cpus_only(policy="none", cpu=[FULL], reserved="0-3")
    step = one_pod(machine("power9"), kubelet, whole(cpus))
    assert (step.cpus("c0") if step.admitted else None) == expected
    assert step.reason == ("" if expected else "SMTAlignmentError")


def test_distribution_uses_every_node_that_was_chosen():
    """kubernetes/kubernetes#139430: memory needs four NUMA nodes, 176 CPUs would fit three."""
    kubelet = settings(policy="best-effort", cpu=[DISTRIBUTE], reserved="0", nodes=[0])
    step = one_pod(even(2, 2, 32, memory="64Gi"), kubelet, pod("p", budget(176, "200Gi"), [shared()]))
    bubble = cpuset.parse(step.bubble or "")
    nodes = [range(32 * place, 32 * place + 32) for place in range(4)]
    assert [sum(cpu % 128 in cores for cpu in cpuset.ids(bubble)) for cores in nodes] == [44] * 4
    assert step.mems("c0") == [0, 1, 2, 3]


def test_distribution_stays_in_a_socket_that_has_room():
    """kubernetes/kubernetes#141237: nodes 3 and 7 have 30 free CPUs, all others 32."""
    kubelet = cpus_only(policy="best-effort", cpu=[DISTRIBUTE, "align-by-socket"], reserved="63,127,191,255")
    step = one_pod(even(2, 4, 16, memory="64Gi"), kubelet, pod("p", budget(120), [shared()]))
    per_node = [0] * 8
    for cpu in cpuset.ids(cpuset.parse(step.bubble or "")):
        per_node[cpu % 128 // 16] += 1
    assert per_node == [30, 30, 30, 30, 0, 0, 0, 0]


@pytest.mark.parametrize("cpus", range(1, 17))
def test_dealing_whole_cores_always_ends(cpus):
    """kubernetes/kubernetes#140730: half a core reserved on each node made the kubelet spin for ever."""
    kubelet = cpus_only(policy="none", cpu=[FULL, DISTRIBUTE], reserved="0,4")
    step = one_pod(d16(), kubelet, whole(cpus))
    assert step.admitted == (cpus % 2 == 0 and cpus <= 12)
    if cpus == 12:
        assert step.cpus("c0") == "1-3,5-7,9-11,13-15"


def test_sets_of_384_cpus_and_l3_groups():
    """Atoptool/atop#372 and others: masks longer than 64 bits. 24 L3 groups of 8 cores."""
    kubelet = settings(cpu=["prefer-align-cpus-by-uncorecache"], reserved="0,192")
    epyc = machine("epyc9654", memory="384Gi")
    first = one_pod(epyc, kubelet, pod("p", budget(48, "192Gi"), [g(32, "128Gi"), shared()]))
    assert (first.bubble, first.cpus("c0"), first.cpus("c1")) == (
        "8-31,200-223",
        "8-23,200-215",
        "24-31,216-223",
    )
    kubelet["topologyManagerPolicy"] = "best-effort"
    second = one_pod(epyc, kubelet, pod("p", budget(200, "192Gi"), [g(192, "128Gi"), shared()]))
    assert second.bubble == "1-4,96-191,193-196,288-383"
    assert second.cpus("c0") == "96-191,288-383"


def test_new_cpus_join_the_default_set():
    """kubernetes/kubernetes#84333: a machine grew from 8 to 16 CPUs."""
    kubelet = cpus_only(policy="none", reserved="0")
    before = node(scenario("small", even(1, 1, 8, 1), kubelet))
    granted(before, pod("u0", None, [g(1)]))
    granted(before, pod("u1", None, [g(2)]))
    before.release("u0")
    (held,) = before.grants.values()
    after = read_scenario(scenario("large", even(1, 1, 16, 1), kubelet))
    grown, problems = NodeAllocator.restore(read_settings(after.kubelet), after.topology, [held])
    assert problems == []
    assert cpuset.render(held.exclusive_cpus) == "2-3"
    assert cpuset.render(grown.default_set) == "0-1,4-15"
    assert grown.grants["u1"] == held


def test_cpus_that_an_app_took_over_stay_when_its_init_container_goes():
    """kubernetes/kubernetes#107906."""
    steps = [
        add(pod("p", None, [g(2)], [g(2)])),
        start("p", "i0"),
        start("p", "c0"),
        {"op": "removeContainer", "uid": "p", "container": "i0"},
        remove("p"),
    ]
    answer = said(scenario("init goes first", d16(), settings(), *steps))
    admitted, *_, gone, removed = answer
    assert admitted.cpus("i0") == admitted.cpus("c0") == "1,9"
    assert gone.default == "0,2-8,10-15"
    assert removed.default == "0-15"


def test_a_restarted_container_keeps_its_cpus():
    """kubernetes/kubernetes#90303: the new id starts before the old one is cleaned up."""
    stop = {"op": "stopContainer", "uid": "p", "container": "c0"}
    steps = [add(pod("p", None, [g(2)])), start("p", "c0"), start("p", "c0"), stop]
    answer = said(scenario("restart of a container", d16(), settings(), *steps))
    assert [step.cpus("c0") for step in answer] == ["1,9"] * 4
    assert {step.default for step in answer} == {"0,2-8,10-15"}


def test_jobs_that_have_ended_make_room_at_once():
    """kubernetes/kubernetes#92436: twelve short jobs on four CPUs, three at a time."""
    kubelet = settings(reserved="0", nodes=[0])
    steps = []
    for job in range(12):
        steps.append(add(pod_file("22", uid=f"tick-{job}")))
        if job >= 2:
            steps.append(remove(f"tick-{job - 2}"))
    answer = said(scenario("jobs", s4(), kubelet, *steps))
    assert all(step.admitted for step in answer if step.report["op"] == "addPod")
    assert max(len(step.held) for step in answer) == 3


def test_a_second_container_takes_nothing_from_the_first():
    """kubernetes/kubernetes#103952 and nokia/CPU-Pooler#29: slices belong to containers by name."""
    step = one_pod(d16(), settings(), pod("p", None, [g(2), g(2)]))
    assert (step.cpus("c0"), step.cpus("c1")) == ("1,9", "2,10")


def test_a_changed_policy_needs_no_files_deleted():
    """kubernetes/kubernetes#55736: static, then none, then static again."""
    static = settings()
    none = {"cpuManagerPolicy": "none", "memoryManagerPolicy": "None"}
    steps = [
        add(pod("p", budget(4), [g(4)])),
        {**RESTART, "kubelet": none},
        remove("p"),
        {**RESTART, "kubelet": static},
        add(pod("q", budget(4), [g(4)])),
    ]
    answer = said(scenario("policies come and go", d16(), static, *steps))
    assert answer.steps[3].default == "0-15"
    assert answer.steps[3].held == set()
    assert answer.last.bubble == "1-2,9-10"


def test_a_smaller_set_of_cpus_leaves_running_pods_alone():
    """containers/nri-plugins#92: from now on node 0 is reserved; the pod on it keeps its CPUs."""
    smaller = settings(reserved="0-3,8-11")
    steps = [
        add(pod("p", budget(4), [shared()])),
        {**RESTART, "kubelet": smaller},
        add(pod("q", budget(4), [shared()])),
    ]
    answer = said(scenario("less is allowed", d16(), settings(), *steps))
    assert answer.steps[0].bubble == "1-2,9-10"
    assert answer.steps[1].report["state"]["podCPUs"] == {"p": "1-2,9-10"}
    assert answer.last.bubble == "4-5,12-13"


def test_a_machine_without_cache_facts_still_decides():
    """containers/nri-plugins#341: no cache files; the socket stands for the cache."""
    kubelet = settings(cpu=["prefer-align-cpus-by-uncorecache"])
    assert one_pod(d16(), kubelet, pod("p", budget(4), [shared()])).bubble == "1-2,9-10"


def test_a_pod_over_its_budget_is_refused_by_the_allocator_too():
    """A pod that reached a node without the API server's checks (kubelet: a bubble nobody frees)."""
    over = node(scenario("over", d16(), settings()))
    decision = decide_unchecked(over, pod_file("13"))
    assert isinstance(decision, Rejected)
    assert cpuset.render(over.default_set) == "0-15"


def decide_unchecked(on: NodeAllocator, wanted):
    """Decide about a pod that the reader would refuse: built by hand."""

    def read(resources, side):
        return {name: parse(amount) for name, amount in (resources or {}).get(side, {}).items()}

    spec = wanted["spec"]
    containers = [
        ContainerRequest(
            one["name"],
            ContainerKind.SIDECAR if kind == "initContainers" else ContainerKind.APP,
            read(one.get("resources"), "requests"),
            read(one.get("resources"), "limits"),
        )
        for kind in ("initContainers", "containers")
        for one in spec.get(kind, ())
    ]
    level = spec["resources"]
    return on.decide(
        PodRequest("u", "ns", "n", tuple(containers), read(level, "requests"), read(level, "limits"))
    )


def test_an_invalid_pod_gets_a_reason_from_replay():
    step = one_pod(d16(), settings(), pod_file("13"))
    assert (step.admitted, step.reason) == (False, "InvalidPod")
    assert "less than its containers request together" in step.message


def test_a_pod_that_would_leave_nothing_but_reserved_cpus_is_refused():
    """The kubelet admits it, and nobody else has a CPU that is theirs to run on."""
    kubelet = cpus_only(policy="none", cpu=["strict-cpu-reservation"])
    everything, all_but_one = pod("p", None, [g(14)]), pod("p", None, [g(13)])
    assert one_pod(d16(), kubelet, everything).reason == "EmptyNodeSharedPoolError"
    assert one_pod(d16(), kubelet, all_but_one).admitted
    assert one_pod(d16(), cpus_only(policy="none"), everything).admitted, "reserved CPUs are shared there"

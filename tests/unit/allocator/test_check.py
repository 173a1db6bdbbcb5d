"""What is wrong with settings, all at once; specification, sections 2.6, 3.1, 4.2, 5.1."""

from dataclasses import replace

import pytest
from podnuma.allocator.check import SettingsError, check
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.manager_settings import MemoryOnlyNodePolicy, ReservedMemory
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.quantities import parse
from podnuma.allocator.topology import NumaNode

from tests.unit.allocator.shapes import GI, MI, cpus, from_cores, hybrid, machine, settings

GOOD = settings("restricted")


def found(settings, name="DS12"):
    return [(problem.field, problem.value, problem.message) for problem in check(settings, machine(name))]


def test_good_settings_have_no_problem():
    assert found(GOOD) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("full-pcpus-only", "distribute-cpus-across-cores"),
        ("distribute-cpus-across-numa", "distribute-cpus-across-cores"),
        ("prefer-align-cpus-by-uncorecache", "distribute-cpus-across-cores"),
        ("prefer-align-cpus-by-uncorecache", "distribute-cpus-across-numa"),
    ],
)
def test_options_that_exclude_each_other_are_named_together(one, other):
    options = {one: "true", other: "true"}
    assert found(replace(GOOD, cpu_manager_policy_options=options)) == [
        (
            "cpuManagerPolicyOptions",
            f"{one}, {other}",
            f"{one} and {other} cannot be used together; switch one off",
        )
    ]


def test_an_option_that_is_off_excludes_nothing():
    options = {"full-pcpus-only": "true", "distribute-cpus-across-cores": "false"}
    assert found(replace(GOOD, cpu_manager_policy_options=options)) == []


def test_an_unknown_option_names_the_nearest_known_one():
    assert found(replace(GOOD, cpu_manager_policy_options={"full-pcpu-only": "true"})) == [
        ("cpuManagerPolicyOptions.full-pcpu-only", "true", "unknown option; did you mean full-pcpus-only?")
    ]


def test_a_bad_value_is_named():
    assert found(replace(GOOD, cpu_manager_policy_options={"full-pcpus-only": "yes"})) == [
        ("cpuManagerPolicyOptions.full-pcpus-only", "yes", "'yes' is neither true nor false")
    ]


def test_policy_none_takes_no_cpu_options():
    bad = settings("none", cpu="none", options="full-pcpus-only")
    assert [field for field, _, _ in found(bad)] == ["cpuManagerPolicyOptions"]


def test_align_by_socket_does_not_go_with_a_single_numa_node():
    bad = settings("single-numa-node", options="align-by-socket")
    assert [field for field, _, _ in found(bad)] == ["cpuManagerPolicyOptions.align-by-socket"]


def test_align_by_socket_needs_as_many_nodes_as_sockets():
    good = settings("restricted", options="align-by-socket")
    assert "2 nodes and 4 sockets" in found(good, "FK80")[0][2]
    assert found(good, "MN80") == []


def test_reserved_cpus_that_do_not_exist_are_named():
    assert found(replace(GOOD, reserved_system_cpus=cpus("0,96"))) == [
        ("reservedSystemCPUs", "0,96", "this machine has CPUs 0-11; drop 96")
    ]


@pytest.mark.parametrize("nothing", [None, CpuSet(0)])
def test_static_policy_needs_a_reserved_cpu(nothing):
    assert [field for field, _, _ in found(replace(GOOD, reserved_system_cpus=nothing))] == [
        "reservedSystemCPUs"
    ]


def test_a_reservation_larger_than_the_machine_is_refused():
    bad = replace(GOOD, reserved_system_cpus=None, reserved_cpu=parse("12500m"))
    assert found(bad) == [("reservedCPU", "12500m", "this machine has only 12 CPUs; reserve fewer")]


def test_list_and_amount_of_reserved_cpus_must_agree():
    bad = replace(GOOD, reserved_cpu=parse("2"))
    assert found(bad) == [("reservedSystemCPUs", "0", "names 1 CPUs, but 2 are reserved; make them equal")]


def test_reserved_memory_must_be_on_nodes_that_exist():
    bad = replace(GOOD, reserved_memory=(ReservedMemory(7, {"memory": GI}),))
    assert found(bad) == [("reservedMemory[7]", "7", "no such NUMA node; there are 0, 1")]


def test_reserved_memory_must_not_exceed_the_node():
    bad = replace(GOOD, reserved_memory=(ReservedMemory(1, {"memory": 20 * GI}),))
    assert found(bad) == [("reservedMemory[1].memory", "20Gi", "NUMA node 1 has 9Gi; reserve less")]


def test_huge_pages_are_no_memory_to_reserve_from():
    topology = from_cores([((0, 1), 0, 0, None)], [NumaNode(0, 8 * GI, {"hugepages-2Mi": 6 * GI})])
    bad = replace(GOOD, reserved_memory=(ReservedMemory(0, {"memory": 3 * GI}),))
    assert [problem.message for problem in check(bad, topology)] == ["NUMA node 0 has 2Gi; reserve less"]


def test_reserved_cpus_that_are_switched_off_are_no_mistake_as_long_as_one_is_left():
    """kubernetes/kubernetes#98121, kubernetes/kubernetes#124066"""
    off = replace(machine("DS12").without(cpus("6-11")), offline=cpus("6-11"))
    assert check(replace(GOOD, reserved_system_cpus=cpus("0,6")), off) == []
    none = check(replace(GOOD, reserved_system_cpus=cpus("6-7")), off)
    assert [(problem.field, problem.value, problem.message) for problem in none] == [
        ("reservedSystemCPUs", "6-7", "all of them are offline; bring one online, or reserve others")
    ]
    strange = check(replace(GOOD, reserved_system_cpus=cpus("0,6,12")), off)
    assert [problem.message for problem in strange] == ["this machine has CPUs 0-5; drop 12"]


def test_static_memory_needs_some_reserved():
    assert found(replace(GOOD, reserved_memory=())) == [
        ("reservedMemory", "", "memoryManagerPolicy Static needs some memory reserved on a NUMA node")
    ]


def test_reserved_memory_must_add_up_to_what_the_node_reserves():
    bad = replace(
        GOOD,
        reserved_memory=(ReservedMemory(0, {"memory": GI, "hugepages-2Mi": 10 * MI}),),
        expected_reservation={"memory": 2 * GI, "hugepages-2Mi": 0},
    )
    topology = from_cores([((0, 1), 0, 0, None)], [NumaNode(0, 8 * GI, {"hugepages-2Mi": 64 * MI})])
    assert [problem.message for problem in check(bad, topology)] == [
        "adds up to 1Gi of memory, but kube-reserved, system-reserved and eviction threshold 2Gi; add 1Gi",
        (
            "adds up to 10Mi of hugepages-2Mi, but kube-reserved, system-reserved and eviction threshold 0; "
            "take 10Mi away"
        ),
    ]


@pytest.mark.parametrize(
    ("text", "fine"), [("true", False), ("7", False), ("08x", False), ("8", True), ("9", True)]
)
def test_max_allowable_numa_nodes_is_a_number_of_eight_or_more(text, fine):
    given = settings("restricted", topology_options={"max-allowable-numa-nodes": text})
    assert [field for field, _, _ in found(given)] == (
        [] if fine else ["topologyManagerPolicyOptions.max-allowable-numa-nodes"]
    )


def test_more_nodes_than_allowed_name_the_option_to_raise():
    wide = from_cores([((node,), 0, node, None) for node in range(9)])
    (problem,) = check(settings("restricted", nodes=2), wide)
    assert problem.message == "this machine has 9 NUMA nodes with CPUs; raise the number"
    assert check(settings("restricted", topology_options={"max-allowable-numa-nodes": "9"}), wide) == []
    assert check(settings("none"), wide) == []


def test_prefer_closest_needs_distances():
    dumb = from_cores([((0,), 0, 0, None)], [NumaNode(0, 8 * GI)])
    given = settings("restricted", nodes=1, topology_options={"prefer-closest-numa-nodes": "true"})
    assert [problem.message for problem in check(given, dumb)] == ["this machine tells no NUMA distances"]


def test_all_problems_come_at_once_and_make_no_node():
    bad = replace(
        settings("restricted", options="nonsense", topology_options={"more-nonsense": "1"}),
        reserved_system_cpus=cpus("99"),
        reserved_memory=(),
        cfs_quota_period=1,
    )
    with pytest.raises(SettingsError) as error:
        NodeAllocator.empty(bad, machine("DS12"))
    assert [problem.field for problem in error.value.problems] == [
        "cpuManagerPolicyOptions.nonsense",
        "reservedSystemCPUs",
        "reservedMemory",
        "topologyManagerPolicyOptions.more-nonsense",
        "cpuCFSQuotaPeriod",
    ]


def test_reserved_cpus_that_are_isolated_are_refused_by_name():
    isolating = replace(machine("DS12"), isolated=cpus("4-5"))
    (problem,) = check(settings(reserved="0,5"), isolating)
    assert (problem.field, problem.value) == ("reservedSystemCPUs", "0,5")
    assert "CPUs 5 are isolated" in problem.message
    assert "/sys/devices/system/cpu/isolated" in problem.message
    assert check(settings(reserved="0"), isolating) == []


def test_a_machine_with_isolated_cpus_alone_has_nothing_for_the_system():
    (problem,) = check(settings(), replace(machine("DS12"), isolated=cpus("0-11")))
    assert "all CPUs are isolated" in problem.message


def test_a_node_of_whose_cpus_kubepods_has_none_can_give_none():
    """A system container whose sysfs counts its CPUs from 0: lxc/lxcfs#731."""
    (problem,) = check(settings(), replace(machine("DS12"), outside=cpus("0-11")))
    assert "kubepods has none of the CPUs 0-11" in problem.message


def test_isolated_cpus_are_not_there_to_be_reserved_by_number():
    amount = replace(settings(), reserved_system_cpus=None, reserved_cpu=parse("3"))
    (problem,) = check(amount, replace(machine("DS12"), isolated=cpus("0-9")))
    assert "only 2 CPUs that are not isolated" in problem.message


def test_unknown_siblings_let_no_cpu_be_exclusive():
    unknown = replace(machine("DS12"), unknown_siblings=cpus("1-11"))
    (problem,) = check(settings(), unknown)
    assert (problem.field, problem.value) == ("cpuManagerPolicy", "static")
    assert "11 online CPUs (1-11)" in problem.message
    assert "/sys/devices/system/cpu/cpu1/topology" in problem.message
    assert check(settings(cpu="none"), unknown) == []


def test_align_by_socket_needs_known_sockets():
    unknown = from_cores([((0, 1), -1, 0, None), ((2, 3), -1, 0, None)])
    (problem,) = check(settings("restricted", options="align-by-socket", nodes=1), unknown)
    assert problem.field == "cpuManagerPolicyOptions.align-by-socket"
    assert "/sys/devices/system/cpu/cpu0/topology/physical_package_id" in problem.message
    assert check(settings("restricted", nodes=1), unknown) == []


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("low-power", "its kinds of cores are performance, efficient; leave the field out"),
        ("efficient", "CPUs 4-5,10-11 are all reserved, isolated or outside kubepods; reserve others"),
    ],
)
def test_a_kind_of_core_that_gives_no_cpu_is_refused(kind, told):
    (problem,) = check(
        replace(settings(reserved="4,10"), exclusive_core_kind=kind),
        replace(hybrid("DS12", "0-3,6-9"), isolated=cpus("5,11")),
    )
    assert (problem.field, problem.value) == ("exclusiveCoreKind", kind)
    assert told in problem.message


def test_a_machine_of_one_kind_of_core_has_no_kinds_to_choose_from():
    chosen = replace(settings(), exclusive_core_kind="performance")
    (problem,) = check(chosen, machine("DS12"))
    assert "all its cores are of one kind" in problem.message
    assert check(replace(settings(cpu="none"), exclusive_core_kind="performance"), machine("DS12")) == []


def test_nodes_without_cpus_do_not_count_towards_the_allowed_number():
    """Two sockets and seven accelerators with memory of their own."""
    cores = [((cpu,), cpu, cpu, None) for cpu in range(2)]
    nodes = [NumaNode(node, 9 * GI, distances=(10,) * 9) for node in range(9)]
    topology = from_cores(cores, nodes)
    for policy in MemoryOnlyNodePolicy:
        assert check(replace(settings("restricted"), memory_only_node_policy=policy), topology) == []

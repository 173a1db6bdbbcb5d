"""The pick function a node's settings ask for; specification, sections 2.6, 3.4, 3.5."""

import pytest
from podnuma.allocator import cpuset
from podnuma.allocator.cpu.pick import check_smt
from podnuma.allocator.decision import Reason
from podnuma.allocator.manager_settings import CpuManagerPolicy, CpuOptions, ManagerSettings
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.quantities import of as quantity
from podnuma.allocator.refusal import Refusal

from tests.unit.allocator.shapes import machine

FULL = CpuOptions(full_pcpus_only=True)


@pytest.mark.parametrize(
    ("options", "expected"),
    [("", "0,6"), ("distribute-cpus-across-cores", "0,2"), ("prefer-align-cpus-by-uncorecache", "0,6")],
)
def test_reserved_cpus_are_picked_by_the_same_rule(options, expected):
    settings = ManagerSettings(
        cpu_manager_policy=CpuManagerPolicy.STATIC,
        cpu_manager_policy_options=dict.fromkeys(options.split(), "true"),
        reserved_cpu=quantity(2),
    )
    assert cpuset.render(NodeAllocator.empty(settings, machine("DS12")).reserved_cpus) == expected


def test_half_cores_are_refused_by_name():
    with pytest.raises(Refusal) as refusal:
        check_smt(FULL, 1, 2, 0b11)
    assert refusal.value.reason is Reason.SMT_ALIGNMENT
    assert refusal.value.message == "SMT Alignment Error: requested 1 cpus not multiple cpus per core = 2"


def test_more_cores_than_are_free_are_refused_with_the_numbers():
    with pytest.raises(Refusal) as refusal:
        check_smt(FULL, 10, 2, 0xFF)
    assert refusal.value.message == (
        "SMT Alignment Error: not enough free physical CPUs: available physical CPUs = 8, "
        "requested CPUs = 10, CPUs per core = 2"
    )


def test_without_full_cores_nothing_is_tested():
    check_smt(CpuOptions(), 7, 2, 0)

"""Settings made ready for one machine."""

from dataclasses import replace

import pytest
from podnuma.allocator.check import SettingsError
from podnuma.allocator.manager_settings import IsolatedCpuPolicy, TopologyManagerScope
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.quantities import parse
from podnuma.allocator.rules import Rules

from tests.unit.allocator.shapes import cpus, hybrid, machine, settings


def test_siblings_of_reserved_cpus_are_known():
    assert Rules(settings(reserved="0,9"), machine("DS12")).withheld_cores == cpus("0,3,6,9")


def test_without_a_topology_policy_every_container_stands_alone():
    rules = Rules(settings("none", "pod"), machine("DS12"))
    assert (rules.aligned, rules.pod_scope, rules.scope) == (False, False, TopologyManagerScope.CONTAINER)


def test_strict_reservation_keeps_cpus_out_of_the_default_set():
    strict = settings(reserved="0,6", options="strict-cpu-reservation")
    assert Rules(strict, machine("DS12")).managed_cpus == cpus("1-5,7-11")
    assert Rules(settings(reserved="0,6"), machine("DS12")).managed_cpus == cpus("0-11")


def test_isolated_cpus_are_used_by_nobody_unless_the_settings_say_so():
    isolating = replace(machine("DS12"), isolated=cpus("4-5"))
    node = NodeAllocator.empty(settings(), isolating)
    assert node.shared_pool == node.default_set == cpus("0-3,6-11")
    assert node.topology is isolating
    exclusive = replace(settings(), isolated_cpu_policy=IsolatedCpuPolicy.EXCLUSIVE)
    node = NodeAllocator.empty(exclusive, isolating)
    assert node.default_set == cpus("0-11")
    assert node.shared_pool == cpus("0-3,6-11")
    assert NodeAllocator.empty(settings(cpu="none"), isolating).shared_pool == cpus("0-3,6-11")


def test_isolated_cpus_are_not_reserved_by_number():
    isolating = replace(machine("DS12"), isolated=cpus("0,3,6,9"))
    for policy in IsolatedCpuPolicy:
        amount = replace(
            settings(), reserved_system_cpus=None, reserved_cpu=parse("2"), isolated_cpu_policy=policy
        )
        assert Rules(amount, isolating).reserved & isolating.isolated == 0


def test_cpus_of_another_kind_of_core_are_shared_and_never_given_exclusively():
    rules = Rules(
        replace(settings(reserved="0,6"), exclusive_core_kind="performance"), hybrid("DS12", "0-3,6-9")
    )
    assert rules.other_kinds == cpus("4-5,10-11")
    assert rules.withheld == cpus("0,4-6,10-11")
    assert rules.topology.all_cpus == cpus("0-3,6-9")
    assert rules.managed_cpus == cpus("0-11")
    assert Rules(settings(cpu="none"), hybrid("DS12", "0-3,6-9")).other_kinds == 0


def test_an_isolated_cpu_of_another_kind_is_neither_shared_nor_given():
    isolating = replace(hybrid("DS12", "0-3,6-9"), isolated=cpus("3,9,5,11"))
    for policy, given in ((IsolatedCpuPolicy.UNUSED, "1-2,7-8"), (IsolatedCpuPolicy.EXCLUSIVE, "1-3,7-9")):
        node = NodeAllocator.empty(
            replace(settings(reserved="0,6"), exclusive_core_kind="performance", isolated_cpu_policy=policy),
            isolating,
        )
        assert node.free_cpus == cpus(given)
        assert node.shared_pool == cpus("0-2,4,6-8,10")


def test_what_check_finds_makes_no_rules():
    with pytest.raises(SettingsError, match="reservedSystemCPUs"):
        Rules(settings(reserved="77"), machine("DS12"))

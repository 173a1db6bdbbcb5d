"""Settings made ready for one machine."""

import pytest
from podnuma.allocator.check import SettingsError
from podnuma.allocator.manager_settings import TopologyManagerScope
from podnuma.allocator.rules import Rules

from tests.unit.allocator.shapes import cpus, machine, settings


def test_siblings_of_reserved_cpus_are_known():
    assert Rules(settings(reserved="0,9"), machine("DS12")).reserved_cores == cpus("0,3,6,9")


def test_without_a_topology_policy_every_container_stands_alone():
    rules = Rules(settings("none", "pod"), machine("DS12"))
    assert (rules.aligned, rules.pod_scope, rules.scope) == (False, False, TopologyManagerScope.CONTAINER)


def test_strict_reservation_keeps_cpus_out_of_the_default_set():
    strict = settings(reserved="0,6", options="strict-cpu-reservation")
    assert Rules(strict, machine("DS12")).managed_cpus == cpus("1-5,7-11")
    assert Rules(settings(reserved="0,6"), machine("DS12")).managed_cpus == cpus("0-11")


def test_what_check_finds_makes_no_rules():
    with pytest.raises(SettingsError, match="reservedSystemCPUs"):
        Rules(settings(reserved="77"), machine("DS12"))

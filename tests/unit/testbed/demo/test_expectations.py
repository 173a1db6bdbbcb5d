"""The demo's rules accept the promised result and name every way it can be off."""

from __future__ import annotations

import dataclasses

import pytest

from testbed import machines
from testbed.cgroups import Written
from testbed.demo import expectations

EPYC = machines.load("epyc7401-2s-8numa-16l3")
XEON = machines.load("xeon-2s-snc2-irregular")


def written(container, cpus, mems, cpu_max):
    return Written("pod", container, "group", frozenset(cpus), frozenset(mems), cpu_max)


@pytest.fixture
def database():
    pool = {9, 57}
    return {
        "database": written("database", {6, 7, 8, 54, 55, 56}, {1}, "max 100000"),
        "metrics-exporter": written("metrics-exporter", pool, {1}, "800000 100000"),
        "backup-agent": written("backup-agent", pool, {1}, "800000 100000"),
    }


@pytest.fixture
def training():
    own = {10, 50, 11}
    return {
        "training": written("training", own, {0}, "max 100000"),
        "service-mesh-sidecar": written(
            "service-mesh-sidecar", XEON.online - own, {0, 1, 2, 3}, "400000 100000"
        ),
    }


def changed(found, container, **values):
    return found | {container: dataclasses.replace(found[container], **values)}


def test_the_promised_result_has_no_problems(database, training):
    assert expectations.database(EPYC, database) == []
    assert expectations.training(XEON, training) == []


def test_database_with_too_few_cpus_is_named_with_its_list(database):
    off = changed(database, "database", cpus=frozenset({6, 7, 8, 54, 55}))
    assert expectations.database(EPYC, off) == ["container database has CPUs 6-8,54-55, not 6"]


def test_sidecars_with_two_pools_are_named(database):
    off = changed(database, "backup-agent", cpus=frozenset({10, 58}))
    assert expectations.database(EPYC, off) == [
        "the sidecars do not share one pool: metrics-exporter has 9,57, backup-agent has 10,58"
    ]


def test_cpus_in_two_numa_nodes_are_named(database):
    off = changed(database, "database", cpus=frozenset({6, 7, 8, 54, 55, 12}))
    assert expectations.database(EPYC, off) == [
        "CPUs of database, metrics-exporter, backup-agent lie in NUMA nodes [1, 2], not in one"
    ]


def test_an_exclusive_cpu_that_a_sidecar_may_use_is_named(database):
    off = changed(database, "database", cpus=frozenset({6, 7, 8, 54, 55, 9}))
    assert "containers database (6-9,54-55) and backup-agent (9,57) share CPUs" in expectations.database(
        EPYC, off
    )


def test_quota_and_memory_nodes_are_checked(database):
    off = changed(database, "database", cpu_max="600000 100000", mems=frozenset({0, 1}))
    assert expectations.database(EPYC, off) == [
        "container database has cpu.max '600000 100000', not 'max 100000'",
        "container database takes memory from NUMA nodes 0-1, its CPUs are in {1}",
    ]


def test_a_mesh_sidecar_outside_the_node_shared_pool_is_named(training):
    off = changed(training, "service-mesh-sidecar", cpus=frozenset({1, 2}))
    assert expectations.training(XEON, off) == [
        "container service-mesh-sidecar has CPUs 1-2, not the node shared pool: all 80 CPUs without 10-11,50"
    ]


def test_containers_without_groups_are_named():
    assert expectations.training(XEON, {}) == [
        "container training has no control group",
        "container service-mesh-sidecar has no control group",
    ]


def test_a_status_that_differs_from_the_files_is_named(training):
    def status(cpus, verdict):
        entry = {"name": "training", "effective": {"cpus": cpus}, "verdict": verdict}
        return {"status": {"containers": [entry]}}

    assert expectations.agreement(status("10-11,50", "PinnedAtStart"), training) == []
    assert expectations.agreement(status("10-12", "NotPinned"), training) == [
        "container training: status says CPUs '10-12', its files say '10-11,50'",
        "container training: verdict 'NotPinned', not pinned",
    ]

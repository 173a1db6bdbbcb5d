"""What an operator decides on a real API server where CPUs and memory are not what they look like."""

from __future__ import annotations

from dataclasses import replace

import pytest
from podnuma.allocator.memory.others import PagesInUse
from podnuma.allocator.topology import NumaNode, Topology

from testbed.waiting import until
from tests.integration.operator_site import GROUP, SOON, machine, pod, profile

pytestmark = pytest.mark.timeout(120)

GIB = 2**30
PAGES = "hugepages-1Gi"


def decision(site, name):
    site.decided(name)
    return site.allocation(name)["spec"]["decision"]


def admitted(site, name):
    """Wait until a pod that was refused holds something."""
    until(lambda: site.cpus(name) not in {None, "-"}, f"{name} to be admitted\n{site.logs()}", SOON)
    return site.allocation(name)["spec"]


def shared_pool(site):
    allocation = site.api.get(f"{GROUP}/nodetopologies/n1")["status"].get("allocation", {})
    return allocation.get("sharedPool")


def valid(site):
    return site.condition("nodetopologies", "n1", "SettingsValid").get("status")


def with_memory_only_nodes(count, nodes=2):
    """A machine with NUMA nodes that have memory and no CPUs, as those of accelerators or CXL."""
    found = machine(cores=8, nodes=nodes)
    total = nodes + count
    rows = [tuple(10 if a == b else 21 for b in range(total)) for a in range(total)]
    numa = [NumaNode(node, 32 * GIB, {}, rows[node]) for node in range(total)]
    return Topology.build(found.cpus, numa)


def test_a_pod_that_would_leave_others_nothing_but_strictly_reserved_cpus_is_refused(site):
    options = {"strict-cpu-reservation": "true"}
    site.furnish(onRejection="Share", cpuManagerPolicyOptions=options)
    site.report_hardware()
    site.create(pod("a", 6))
    assert site.decided("a") == "1-3,9-11"
    site.create(pod("last", 8))
    refused = decision(site, "last")
    assert (refused["admitted"], refused["reason"]) == (False, "EmptyNodeSharedPoolError")
    until(lambda: site.events("EmptyNodeSharedPoolError"), "the event on the pod", SOON)
    site.create(pod("b", 6))
    assert site.decided("b") == "4-6,12-14"
    until(lambda: shared_pool(site) == "7,15", "a pool without strictly reserved CPUs", SOON)


def test_without_the_option_the_same_pod_is_admitted_and_others_run_on_the_reserved_cpus(site):
    site.furnish()
    site.report_hardware()
    site.create(pod("a", 6))
    site.decided("a")
    site.create(pod("last", 8))
    assert site.decided("last") == "4-7,12-15"
    until(lambda: shared_pool(site) == "0,8", "the reserved CPUs to be the pool", SOON)


def test_huge_pages_that_others_took_are_given_to_nobody_until_they_are_free(site):
    whole = machine()
    paged = replace(whole, nodes=tuple(replace(node, hugepages={PAGES: 8 * GIB}) for node in whole.nodes))
    site.furnish(onRejection="Share")
    site.report_hardware(
        hardware=paged, in_use=[PagesInUse(0, PAGES, 6 * GIB), PagesInUse(1, PAGES, 5 * GIB)]
    )
    value = pod("db")
    for resources in (value["spec"]["resources"], value["spec"]["containers"][0]["resources"]):
        for amounts in (resources["requests"], resources["limits"]):
            amounts[PAGES] = "4Gi"
    site.create(value)
    refused = decision(site, "db")
    assert (refused["admitted"], refused["reason"]) == (False, "TopologyAffinityError")
    assert "hugepages-1Gi are in use without a grant" in refused["explanation"]
    site.report_hardware(hardware=paged, in_use=[PagesInUse(0, PAGES, 6 * GIB)])
    assert admitted(site, "db")["memoryNodes"] == "1"


def test_memory_of_nodes_without_cpus_is_given_only_where_the_profile_says_so(site):
    site.furnish(onRejection="Share", topologyManagerPolicy="best-effort")
    site.report_hardware(hardware=with_memory_only_nodes(2))
    site.create(pod("large", memory="70Gi"))
    refused = decision(site, "large")
    assert not refused["admitted"]
    assert "memory" in refused["explanation"]
    site.create(pod("small"))
    assert site.decided("small") == "1-2,9-10"
    assert site.allocation("small")["spec"]["memoryNodes"] == "0"
    policy = {"topologyManagerPolicy": "best-effort", "memoryOnlyNodePolicy": "Allocatable"}
    site.api.apply(profile(onRejection="Share", **policy))
    assert {"2", "3"} & set(admitted(site, "large")["memoryNodes"].replace("-", ",").split(","))


def test_nodes_without_cpus_do_not_count_when_settings_are_checked(site):
    site.furnish()
    site.report_hardware(hardware=with_memory_only_nodes(8))
    site.create(pod("a"))
    assert site.decided("a") == "1-2,9-10"
    until(lambda: valid(site) == "True", "the settings to be valid", SOON)


def test_pods_of_a_node_whose_settings_are_refused_are_told_so_and_decided_when_they_fit(site):
    site.furnish(onRejection="Share")
    site.report_hardware(hardware=machine(cores=18, nodes=9))
    site.create(pod("a", 2))
    refused = decision(site, "a")
    assert (refused["admitted"], refused["reason"]) == (False, "InvalidSettings")
    assert "max-allowable-numa-nodes" in refused["message"]
    (told,) = until(lambda: site.events("InvalidSettings"), "the event on the pod", SOON)
    assert told == f"{refused['message']} (on n1)"
    until(lambda: valid(site) == "False", "the settings to be refused", SOON)
    options = {"max-allowable-numa-nodes": "9"}
    site.api.apply(profile(onRejection="Share", topologyManagerPolicyOptions=options))
    admitted(site, "a")

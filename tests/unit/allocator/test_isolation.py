"""What cgroups get; specification, section 7."""

from dataclasses import replace

import pytest
from podnuma.allocator.decision import Isolation
from podnuma.allocator.isolation import quota, shares
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.request import ContainerRequest

from tests.unit.allocator.shapes import APP, GI, MI, admitted, amounts, g, machine, pod, s, settings


def values(wanted, policy="single-numa-node", scope="pod", **changes):
    """Decide and return the pod's quota, and per container (shares, quota, level)."""
    told = replace(settings(policy, scope), **changes)
    grant = admitted(NodeAllocator.empty(told, machine("DS12")), wanted).grant
    return grant.pod_quota, [(c.cpu_shares, c.cpu_quota, c.isolation.value) for c in grant.containers]


@pytest.mark.parametrize(("milli", "expected"), [(0, 2), (1, 2), (500, 512), (1000, 1024), (10**9, 262_144)])
def test_shares_follow_millicores_within_bounds(milli, expected):
    assert shares(milli) == expected


@pytest.mark.parametrize(
    ("milli", "period", "expected"),
    [(0, 100_000, -1), (1, 100_000, 1000), (3000, 100_000, 300_000), (500, 10_000, 5000)],
)
def test_quota_follows_millicores_from_a_least_value(milli, period, expected):
    assert quota(milli, period) == expected


def test_a_mixed_pod_keeps_its_quota_its_exclusive_container_has_none():
    assert values(pod((4, "4Gi"), g(2, "2Gi"), s(), s())) == (
        400_000,
        [(2048, -1, "container"), (4096, 400_000, "pod"), (4096, 400_000, "pod")],
    )


def test_a_pod_of_exclusive_containers_has_no_quota():
    assert values(pod((5, "5Gi"), g(3, "3Gi"), g(1, "1Gi"), g(1, "1Gi"))) == (
        -1,
        [(3072, -1, "container"), (1024, -1, "container"), (1024, -1, "container")],
    )


def test_a_fractional_budget_isolates_nobody():
    assert values(pod(("3500m", "4Gi"), g(2, "2Gi"), s())) == (
        350_000,
        [(2048, 200_000, "host"), (3584, 350_000, "host")],
    )


def test_one_exclusive_container_lifts_the_quota_of_a_pod_without_budget():
    assert values(pod(None, g(2, "2Gi"), g("500m", "1Gi"))) == (
        -1,
        [(2048, -1, "container"), (512, 50_000, "host")],
    )


def test_own_limits_go_before_the_budget():
    own = ContainerRequest("", APP, amounts("1", "128Mi"), amounts("3", "256Mi"))
    assert values(pod((4, "4Gi"), own)) == (400_000, [(1024, 300_000, "pod")])


def test_a_request_of_zero_is_not_the_budget():
    zero = ContainerRequest("", APP, amounts("0", None), amounts("2", None))
    assert values(pod((4, "4Gi"), zero)) == (400_000, [(2, 200_000, "pod")])


def test_overhead_is_the_pods_alone():
    wanted = replace(pod((4, "4Gi"), g(2, "2Gi"), s()), overhead=amounts("250m", "120Mi"))
    assert values(wanted)[0] == 425_000
    assert values(wanted)[1][1] == (4096, 400_000, "pod")


def test_shared_containers_in_container_scope_run_on_the_node_under_the_budgets_quota():
    assert values(pod((4, "4Gi"), g(2, "2Gi"), s()), scope="container") == (
        400_000,
        [(2048, -1, "container"), (4096, 400_000, "host")],
    )


def test_without_cfs_quota_nothing_is_limited():
    assert values(pod((4, "4Gi"), g(2, "2Gi"), s()), cfs_quota=False) == (
        -1,
        [(2048, -1, "container"), (4096, -1, "pod")],
    )


def test_the_period_is_the_nodes():
    assert values(pod((4, "4Gi"), s()), cfs_quota_period=10_000) == (40_000, [(4096, 40_000, "pod")])


def test_burstable_pods_are_limited_when_every_container_is():
    half = ContainerRequest("", APP, amounts("500m"), amounts("1"))
    assert values(pod(None, half, half))[0] == 200_000
    assert values(pod(None, half, s()))[0] == -1
    assert values(pod(None, s())) == (-1, [(2, -1, "host")])


def test_memory_limits_fall_back_to_the_budget():
    grant = admitted(
        NodeAllocator.empty(settings(), machine("DS12")), pod((4, "4Gi"), g(2, "2Gi"), s(), g("500m", "64Mi"))
    ).grant
    assert [container.memory_limit for container in grant.containers] == [2 * GI, 4 * GI, 64 * MI]


def test_levels_are_spelled_as_the_kubelet_does():
    assert [level.value for level in Isolation] == ["container", "pod", "host"]

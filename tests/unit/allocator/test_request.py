"""A pod as the allocator sees it; specification, sections 0.1, 0.6."""

import pytest
from podnuma.allocator.quantities import parse
from podnuma.allocator.request import PodRequest, aggregate, is_memory

from tests.unit.allocator.shapes import APP, INIT, SIDECAR, g, pod, s


def test_sidecars_run_beside_everything_and_inits_alone():
    def peak(*parts):
        containers = pod(None, *(s(kind) for kind, _ in parts)).containers
        return aggregate(containers, [size for _, size in parts])

    assert peak((INIT, 2), (INIT, 4), (APP, 2), (APP, 4)) == 6
    assert peak((INIT, 5), (APP, 2)) == 5
    assert peak((SIDECAR, 1), (APP, 1)) == 2
    assert peak((INIT, 5), (SIDECAR, 1), (SIDECAR, 2), (SIDECAR, 3), (APP, 1)) == 7
    assert peak((INIT, 5), (SIDECAR, 1), (SIDECAR, 2), (INIT, 5), (SIDECAR, 3), (APP, 1)) == 8
    assert peak((SIDECAR, 10), (INIT, 200), (APP, 100)) == 210


@pytest.mark.parametrize(
    ("requests", "limits", "pod_level"),
    [
        (None, None, False),
        ({}, {}, False),
        ({"example.com/gpu": parse("1")}, None, False),
        ({"cpu": parse("0")}, None, True),
        (None, {"memory": parse("1Gi")}, True),
        ({"hugepages-2Mi": parse("2Mi")}, {}, True),
    ],
)
def test_a_budget_is_cpu_memory_or_huge_pages_whatever_the_amount(requests, limits, pod_level):
    assert PodRequest("u", "lab", "u", (g(1),), requests, limits).pod_level is pod_level


def test_memory_and_every_size_of_huge_page_are_memory():
    assert [name for name in ("memory", "hugepages-1Gi", "cpu", "ephemeral-storage") if is_memory(name)] == [
        "memory",
        "hugepages-1Gi",
    ]

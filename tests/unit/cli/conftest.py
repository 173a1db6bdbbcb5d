"""The two pods of the Kubernetes announcement, as PodAllocations."""

from typing import Any

import pytest

from tests.unit.cli.objects import allocation_object, container


@pytest.fixture
def database() -> dict[str, Any]:
    """The announcement's database pod: a budget of 8 CPUs, 6 of them for one container."""
    return allocation_object(
        "shop/database",
        "1-4,49-52",
        container("migrate", "pod_exclusive", "1-4,49-52", kind="init"),
        container("database", "pod_exclusive", "1-3,49-51"),
        container("backup", "pod_shared", "4,52", kind="sidecar"),
        container("metrics", "pod_shared", "4,52"),
        memory=[{"resource": "memory", "size": "16Gi", "nodes": "0"}],
    )


@pytest.fixture
def training() -> dict[str, Any]:
    """The announcement's training pod in container scope: 3 CPUs of its own, a sidecar in the node pool."""
    return allocation_object(
        "ml/training",
        "6-8",
        container("training", "node_exclusive", "6-8"),
        container("mesh", "node_shared"),
        scope="container",
    )

"""What is decided and what is seen, side by side."""

from dataclasses import replace

from podnuma.api.pod_allocation import (
    ContainerStatus,
    ObservedCgroup,
    PodAllocationStatus,
    Verdict,
    read_pod_allocation,
)
from podnuma.cli.commands import top
from podnuma.cli.commands.top import ContainerUse

from tests.unit.cli.builders import allocation_object, database


def allocation(*containers: ContainerStatus):
    found = read_pod_allocation(allocation_object(database()))
    return replace(found, status=PodAllocationStatus(containers=containers))


def test_throttling_is_what_the_agent_told():
    rows = top.top_rows([allocation(ContainerStatus("backup", throttled_percent=25))], {})
    assert {row.key[2]: row.throttled for row in rows} == {"backup": 25, "database": None, "metrics": None}


def test_init_containers_have_ended():
    rows = top.top_rows([allocation()], {})
    assert [row.key[2] for row in rows] == ["backup", "database", "metrics"]
    assert {row.verdict for row in rows} == {"Pending"}


def test_drift_is_what_the_kernel_says_instead():
    right = ContainerStatus(
        "database", effective=ObservedCgroup(cpus="1-3,49-51"), verdict=Verdict.PINNED_AT_START
    )
    wrong = ContainerStatus("backup", effective=ObservedCgroup(cpus="0-95"), verdict=Verdict.NOT_PINNED)
    rows = {row.key[2]: row for row in top.top_rows([allocation(right, wrong)], {})}
    assert (rows["database"].drift, rows["database"].verdict) == ("", "PinnedAtStart")
    assert (rows["backup"].drift, rows["backup"].verdict) == ("kernel has 0-95", "NotPinned")
    assert rows["metrics"].drift == ""


def test_the_busiest_container_comes_first():
    use = {
        ("shop", "database", "metrics"): ContainerUse(900, 2**20),
        ("shop", "database", "database"): ContainerUse(5000, 2**30),
    }
    assert [row.key[2] for row in top.top_rows([allocation()], use)] == ["database", "metrics", "backup"]


def test_use_is_read_from_pod_metrics():
    metrics = {
        "metadata": {"name": "database", "namespace": "shop"},
        "containers": [{"name": "backup", "usage": {"cpu": "12345678n", "memory": "2Mi"}}],
    }
    assert top.use_of([metrics]) == {("shop", "database", "backup"): ContainerUse(13, 2 * 2**20)}

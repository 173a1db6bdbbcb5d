"""Huge page limits that a kubelet voided, on files."""

import pytest
from podnuma.agent.cgroups.writers.hugetlb import HugetlbLimits

GIB = 2**30


@pytest.fixture
def pod(bench):
    cgroup = bench.pod("db")
    for name in ("hugetlb.1GB.max", "hugetlb.2MB.max", "hugetlb.1GB.rsvd.max"):
        (bench.root / bench.layout.kubepods / name).write_text("max\n")
        bench.put(cgroup, name, "0")
    for name, pages in (("db", 2 * GIB), ("log", GIB)):
        container = bench.start(cgroup, name)
        bench.put(container, "hugetlb.1GB.max", str(pages))
        bench.put(container, "hugetlb.1GB.rsvd.max", str(pages))
        bench.put(container, "hugetlb.2MB.max", "0")
    return cgroup


def test_a_pod_gets_back_what_its_containers_have_together(bench, pod):
    limits = HugetlbLimits(bench.reader)
    assert limits.restore([pod]) == [pod]
    assert bench.file(pod, "hugetlb.1GB.max") == bench.file(pod, "hugetlb.1GB.rsvd.max") == str(3 * GIB)
    assert bench.file(pod, "hugetlb.2MB.max") == "0"
    assert limits.restore([pod]) == []


def test_a_limit_that_is_not_voided_stays(bench, pod):
    for name in ("hugetlb.1GB.max", "hugetlb.1GB.rsvd.max"):
        bench.put(pod, name, str(GIB))
    assert HugetlbLimits(bench.reader).restore([pod]) == []
    assert bench.file(pod, "hugetlb.1GB.max") == str(GIB)


def test_what_cannot_be_read_or_written_costs_only_itself(bench, pod):
    folder = bench.root / bench.layout.pod(pod)
    (folder / "hugetlb.1GB.max").chmod(0o444)
    bench.put(pod, "hugetlb.1GB.current", "5")
    (bench.root / bench.layout.kubepods / "hugetlb.4MB.max").write_text("max\n")
    (folder / "hugetlb.4MB.max").mkdir()
    HugetlbLimits(bench.reader).restore([bench.pod("gone"), pod])
    assert bench.file(pod, "hugetlb.1GB.rsvd.max") == str(3 * GIB)

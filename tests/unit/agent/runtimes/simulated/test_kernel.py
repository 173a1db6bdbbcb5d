from pathlib import PurePosixPath

import pytest
from podnuma.agent.model.cgroup_values import CpuMax
from podnuma.agent.runtimes.simulated.kernel import FakeKernel


@pytest.fixture
def kernel(tmp_path):
    kernel = FakeKernel(tmp_path, "0-15", "0-1")
    kernel.make(PurePosixPath("a/b"), CpuMax(200_000, 100_000))
    return kernel


def read(kernel, path):
    return (kernel.root / path).read_text().strip()


@pytest.mark.parametrize(
    ("parent", "child", "effective"),
    [
        ("", "", "0-15"),
        ("0-7", "", "0-7"),
        ("0-7", "4-9", "4-7"),
        ("0-3", "8-9", "0-3"),
        ("", "1,9", "1,9"),
        ("nonsense", "1", "1"),
    ],
)
def test_effective_sets_are_those_of_cgroup_v2(kernel, parent, child, effective):
    (kernel.root / "a/cpuset.cpus").write_text(parent)
    (kernel.root / "a/b/cpuset.cpus").write_text(child)
    kernel.settle(PurePosixPath())
    assert read(kernel, "a/b/cpuset.cpus.effective") == effective


def test_a_new_group_has_the_files_of_a_new_group(kernel):
    assert read(kernel, "a/b/cpu.max") == "200000 100000"
    assert read(kernel, "a/cpu.max") == "max 100000"
    assert read(kernel, "a/b/cpuset.cpus") == ""
    assert not (kernel.root / "cpuset.cpus").exists(), "the root of a cgroup tree has none"


def test_making_a_group_again_changes_nothing(kernel):
    (kernel.root / "a/b/cpuset.cpus").write_text("1")
    kernel.make(PurePosixPath("a/b"))
    assert read(kernel, "a/b/cpuset.cpus") == "1"


def test_a_removed_group_goes_with_all_below_it(kernel):
    kernel.remove(PurePosixPath("a"))
    assert not (kernel.root / "a").exists()
    kernel.remove(PurePosixPath("a"))

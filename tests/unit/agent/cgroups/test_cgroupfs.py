import errno
from pathlib import Path

import pytest
from podnuma.agent.cgroups.layout import CgroupDriver, CgroupLayout
from podnuma.agent.cgroups.writers.cgroupfs import CgroupfsWriter
from podnuma.agent.cgroups.writers.refusals import CgroupGone, WriteRefused, from_errno
from podnuma.agent.model.cgroup_ref import PodCgroup
from podnuma.agent.model.cgroup_values import CgroupWrite, CpuMax
from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.request import Qos

POD = PodCgroup("db", Qos.GUARANTEED)


@pytest.fixture
def writer(tmp_path):
    return CgroupfsWriter(tmp_path, CgroupLayout(CgroupDriver.CGROUPFS))


def folder(writer, *files):
    path = writer.root / writer.layout.folder(POD)
    path.mkdir(parents=True)
    for file in files:
        (path / file).write_text("")
    return path


def test_a_step_is_written_as_the_kernel_spells_it(writer):
    path = folder(writer, "cpuset.cpus", "cpuset.mems", "cpu.max")
    writer.write(CgroupWrite(POD, cpuset.parse("1,9"), nodeset.parse("0-1"), CpuMax(None, 100_000)))
    assert [(path / name).read_text() for name in ("cpuset.cpus", "cpuset.mems", "cpu.max")] == [
        "1,9\n",
        "0-1\n",
        "max 100000\n",
    ]


def test_a_missing_controller_is_switched_on_from_the_root_down(writer):
    path = folder(writer)
    for above in (writer.root, writer.root / "kubepods"):
        (above / "cgroup.subtree_control").write_text("memory")
    # Nothing makes the files appear here, so the write itself makes one; what counts is what was switched on.
    writer.write(CgroupWrite(POD, cpuset.parse("1")))
    assert (writer.root / "cgroup.subtree_control").read_text() == "+cpuset"
    assert (writer.root / "kubepods/cgroup.subtree_control").read_text() == "+cpuset"
    assert (path / "cpuset.cpus").read_text() == "1\n"


def test_no_controller_is_switched_on_where_processes_are(writer):
    """ZelAnton/ProcessKit-rs#39: the kernel takes it, and from then on nothing starts below."""
    path = folder(writer)
    for above in (writer.root, writer.root / "kubepods"):
        (above / "cgroup.subtree_control").write_text("memory")
        (above / "cgroup.procs").write_text("17\n")
    with pytest.raises(WriteRefused, match="has processes of its own"):
        writer.write(CgroupWrite(POD, cpuset.parse("1")))
    assert (writer.root / "cgroup.subtree_control").read_text() == "+cpuset", "those of the root may be there"
    assert (writer.root / "kubepods/cgroup.subtree_control").read_text() == "memory"
    assert not (path / "cpuset.cpus").exists()


def test_a_missing_cgroup_is_gone(writer):
    with pytest.raises(CgroupGone):
        writer.write(CgroupWrite(POD, cpuset.parse("1")))


def test_the_empty_set_is_never_written(writer):
    folder(writer, "cpuset.cpus")
    with pytest.raises(ValueError, match="never written"):
        writer.write(CgroupWrite(POD, cpuset.EMPTY))


def test_an_error_of_the_kernel_names_path_value_and_meaning(writer):
    path = folder(writer)
    (path / "cpuset.cpus").mkdir()
    with pytest.raises(WriteRefused) as caught:
        writer.write(CgroupWrite(POD, cpuset.parse("1,9")))
    assert f"{path}/cpuset.cpus <- 1,9: EISDIR" in str(caught.value)


def test_a_refused_limit_is_put_down_to_a_burst_that_somebody_set():
    refused = from_errno("/sys/fs/cgroup/kubepods/cpu.max", "50000 100000", OSError(errno.EINVAL, ""))
    assert "cpu.max.burst beside it is more" in refused.why
    assert (
        "burst" not in from_errno("/sys/fs/cgroup/kubepods/cpuset.cpus", "9", OSError(errno.EINVAL, "")).why
    )


@pytest.mark.parametrize(
    ("number", "meaning"),
    [
        (errno.EBUSY, "kernels before 5.17"),
        (errno.EINVAL, "cpuset.cpus.partition"),
        (errno.EACCES, "SELinux or AppArmor"),
        (errno.ENOSPC, "left without CPUs"),
    ],
)
def test_a_refused_set_of_cpus_is_put_down_to_what_it_can_be(number, meaning):
    """opencontainers/runc#1635, containers/crun#1625, containers/crun#582."""
    assert meaning in from_errno("/sys/fs/cgroup/kubepods/cpuset.cpus", "1-2", OSError(number, "")).why


def test_a_value_that_is_refused_keeps_no_other_from_being_written(writer, monkeypatch):
    where = folder(writer, "cpuset.cpus", "cpuset.mems", "cpu.max")
    write = Path.write_text

    def refused(path, text, **options):
        if path.name == "cpuset.mems":
            raise OSError(errno.EINVAL, "Invalid argument")
        return write(path, text, **options)

    monkeypatch.setattr(Path, "write_text", refused)
    with pytest.raises(WriteRefused, match=r"cpuset.mems <- 5: EINVAL"):
        writer.write(CgroupWrite(POD, cpuset.parse("1-2"), nodeset.parse("5"), CpuMax(None, 100_000)))
    assert (where / "cpuset.cpus").read_text() == "1-2\n"
    assert (where / "cpu.max").read_text() == "max 100000\n"


@pytest.mark.parametrize(
    ("number", "meaning"),
    [
        (errno.ENOENT, "its cgroup.controllers lacks it"),
        (errno.EBUSY, "has processes of its own"),
        (errno.EINVAL, "while a real-time thread"),
    ],
)
def test_a_controller_that_cannot_be_switched_on_is_no_end_of_a_cgroup(writer, monkeypatch, number, meaning):
    """rancher/rke2#5923: the kernel hands a controller down to kubepods only on conditions."""
    folder(writer)
    write = Path.write_text
    (writer.root / "cgroup.subtree_control").write_text("memory")

    def refused(path, text, **options):
        if path.name == "cgroup.subtree_control":
            raise OSError(number, "refused")
        return write(path, text, **options)

    monkeypatch.setattr(Path, "write_text", refused)
    with pytest.raises(WriteRefused, match=meaning) as caught:
        writer.write(CgroupWrite(POD, cpuset.parse("1")))
    assert f"{writer.root}/cgroup.subtree_control <- +cpuset" in str(caught.value)


def test_clearing_makes_a_group_follow_its_parent(writer):
    path = folder(writer, "cpuset.cpus", "cpuset.mems")
    (path / "cpuset.cpus").write_text("1,9\n")
    writer.clear(writer.layout.folder(POD))
    assert (path / "cpuset.cpus").read_text() == "\n"

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from podnuma.agent.cgroups import files
from podnuma.agent.cgroups.kept_files import FileBudget, FileGroup, KeptFolder
from podnuma.agent.cgroups.reader import CgroupReader
from podnuma.allocator import cpuset

LIMITS = FileGroup(
    tuple(files.File(f"cgroup.max.{what}", str, str) for what in ("depth", "descendants")), lambda *said: said
)


def folder_with(path: Path, cpus: str) -> Path:
    path.mkdir()
    (path / files.CPUS.name).write_text(f"{cpus}\n")
    return path


def test_a_kept_file_says_what_is_written_in_it_now(tmp_path):
    folder = folder_with(tmp_path / "pod", "1-2")
    budget = FileBudget(8)
    kept = KeptFolder(str(folder), budget)
    for text in ("1-2", "1-2", "7", "", "banana", "3"):
        (folder / files.CPUS.name).write_text(f"{text}\n")
        good = text not in ("", "banana")
        assert kept.value(files.CPUS) == (cpuset.parse(text) if good else None)
        assert kept.text(files.CPUS.name) == text
    assert budget.left == 7


def test_a_text_longer_than_a_page_is_read_to_its_end(tmp_path):
    every_second = ",".join(str(cpu) for cpu in range(0, 4096, 2))
    kept = KeptFolder(str(folder_with(tmp_path / "pod", every_second)), FileBudget(8))
    assert kept.value(files.CPUS) == cpuset.parse(every_second)


def test_a_folder_that_was_removed_and_made_again_is_another_one(tmp_path):
    folder = folder_with(tmp_path / "pod", "1-2")
    kept = KeptFolder(str(folder), FileBudget(8))
    assert kept.value(files.CPUS) == cpuset.parse("1-2")
    shutil.rmtree(folder)
    folder_with(folder, "5")
    assert not kept.exists()
    kept.close()
    assert kept.exists()
    assert kept.value(files.CPUS) == cpuset.parse("5")


def limited(folder: Path, depth: str, descendants: str = "max") -> Path:
    folder.mkdir(exist_ok=True)
    for what, text in (("depth", depth), ("descendants", descendants)):
        (folder / f"cgroup.max.{what}").write_text(f"{text}\n")
    return folder


def test_what_is_made_of_files_is_the_same_object_until_one_of_them_changes(tmp_path):
    kept = KeptFolder(str(limited(tmp_path / "pod", "1")), FileBudget(8))
    first = kept.made(LIMITS)
    assert first == ("1", "max")
    assert kept.made(LIMITS) is first
    for depth, descendants in (("2", "max"), ("2", "7"), ("1", "max")):
        limited(tmp_path / "pod", depth, descendants)
        assert kept.made(LIMITS) == kept.made(LIMITS) == (depth, descendants)


def test_what_is_made_of_files_misses_neither_long_nor_absent_ones(tmp_path):
    folder, budget = tmp_path / "pod", FileBudget(8)
    long = "5" * 5000
    kept = KeptFolder(str(limited(folder, long)), budget)
    assert kept.made(LIMITS) == (long, "max")
    limited(folder, f"{long[:-1]}6")
    assert kept.made(LIMITS) == (f"{long[:-1]}6", "max")
    (folder / "cgroup.max.depth").unlink()
    kept.close()
    assert kept.made(LIMITS) == (None, "max")
    limited(folder, "3")
    assert kept.made(LIMITS) == ("3", "max")
    kept.close()
    assert budget.left == 8
    assert KeptFolder(str(folder), FileBudget(0)).made(LIMITS) == ("3", "max")


def test_of_a_cgroup_that_was_removed_the_one_that_has_its_path_now_is_read(tmp_path, monkeypatch):
    """The kernel refuses to read what is open of a cgroup that is gone, whatever has its path."""
    folder, gone, read, budget = tmp_path / "pod", set(), os.pread, FileBudget(8)
    kept = KeptFolder(str(limited(folder, "1")), budget)
    alone = files.File("cgroup.max.depth", str, str)
    assert (kept.made(LIMITS), kept.value(alone)) == (("1", "max"), "1")

    def refuse(descriptor: int, count: int, at: int) -> bytes:
        if os.fstat(descriptor).st_ino in gone:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        return read(descriptor, count, at)

    monkeypatch.setattr(os, "pread", refuse)
    gone |= {file.stat().st_ino for file in folder.iterdir()}
    folder.rename(tmp_path / "away")
    assert (kept.made(LIMITS), kept.value(alone), kept.text(alone.name)) == ((None, None), None, None)
    assert budget.left == 8
    limited(folder, "2", "9")
    assert (kept.made(LIMITS), kept.value(alone), kept.text(alone.name)) == (("2", "9"), "2", "2")
    gone |= {file.stat().st_ino for file in folder.iterdir()}
    folder.rename(tmp_path / "far")
    limited(folder, "3")
    assert (kept.value(alone), kept.made(LIMITS)) == ("3", ("3", "max"))
    assert kept.made(LIMITS) is kept.made(LIMITS)
    assert budget.left == 6


@contextlib.contextmanager
def own_cgroup() -> Iterator[Path]:
    """Make a cgroup of version 2 for a test, and remove it."""
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines())
    folders = [mount[1] for mount in mounts if mount[2] == "cgroup2"]
    try:
        folder = Path(tempfile.mkdtemp(prefix="podnuma-test-", dir=folders[0] if folders else "/nowhere"))
    except OSError:
        pytest.skip("no cgroup of version 2 can be made here")
    try:
        yield folder
    finally:
        with contextlib.suppress(FileNotFoundError):
            folder.rmdir()


def test_a_kernel_s_cgroup_that_is_removed_and_made_again_is_read_as_it_is():
    with own_cgroup() as folder:
        kept = KeptFolder(str(folder), FileBudget(8))
        (folder / "cgroup.max.depth").write_text("5")
        assert kept.made(LIMITS) == ("5", "max")
        assert (kept.text("cgroup.procs"), kept.made(LIMITS) is kept.made(LIMITS)) == ("", True)
        folder.rmdir()
        assert (kept.made(LIMITS), kept.text("cgroup.procs")) == ((None, None), None)
        folder.mkdir()
        assert (kept.made(LIMITS), kept.text("cgroup.procs")) == (("max", "max"), "")
        folder.rmdir()
        folder.mkdir()
        assert kept.made(LIMITS) == ("max", "max")
        (folder / "cgroup.max.depth").write_text("6")
        assert kept.made(LIMITS) == ("6", "max")
        kept.close()


def test_what_is_beyond_the_budget_is_read_all_the_same(tmp_path):
    budget = FileBudget(1)
    folders = [
        KeptFolder(str(folder_with(tmp_path / f"pod{number}", f"{number}")), budget) for number in (1, 2)
    ]
    for _ in range(2):
        assert [each.value(files.CPUS) for each in folders] == [cpuset.parse("1"), cpuset.parse("2")]
        assert [each.text(files.CPUS.name) for each in folders] == ["1", "2"]
    assert budget.left == 0
    folders[0].close()
    assert budget.left == 1


def test_a_file_that_appears_later_is_found(tmp_path):
    (tmp_path / "pod").mkdir()
    kept = KeptFolder(str(tmp_path / "pod"), FileBudget(8))
    assert kept.value(files.CPUS) is None
    (tmp_path / "pod" / files.CPUS.name).write_text("4\n")
    assert kept.value(files.CPUS) == cpuset.parse("4")


def test_nothing_stays_open_of_what_no_pass_asks_for(bench, words):
    budget = FileBudget(1000)
    reader = CgroupReader(bench.root, bench.layout, budget)
    pod = bench.pod("db")
    db = bench.start(pod, "db")
    seen = reader.read([pod], [db])
    assert {pod, db} <= seen.keys()
    reader.sweep()
    bench.stop(db)
    assert db not in reader.read([pod], [db])
    for _ in range(2):
        reader.sweep()
    assert budget.left == 1000
    assert reader.read([pod], [db]).keys() == {words.burstable, words.best_effort, pod}


def test_restarts_of_a_container_leave_nothing_open(bench, words):
    budget = FileBudget(1000)
    bench.reconciler.reader = CgroupReader(bench.root, bench.layout, budget)
    bench.grant(words.pod("db", words.container("db", "1,9"), cpus="1,9"))
    pod, left = bench.pod("db"), []
    for number in range(5):
        db = bench.start(pod, "db", number=number)
        for _ in range(2):
            bench.run_pass()
        left.append(budget.left)
        bench.stop(db)
    assert len(set(left)) == 1
    assert left[0] < 1000

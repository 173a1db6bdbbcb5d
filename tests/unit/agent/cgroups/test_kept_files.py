import shutil
from pathlib import Path

from podnuma.agent.cgroups import files
from podnuma.agent.cgroups.kept_files import FileBudget, KeptFolder
from podnuma.agent.cgroups.reader import CgroupReader
from podnuma.allocator import cpuset


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

from podnuma.agent.cgroups.reader import values_in
from podnuma.agent.plan.places import Bandwidth, ContainerPlace, PodPlace, Qos, Values
from podnuma.allocator import cpuset, nodeset


def test_everything_that_exists_is_read_and_what_is_gone_is_left_out(bench, words):
    pod = bench.pod("db")
    db = bench.start(pod, "db", "200000 100000")
    bench.put(db, "cpuset.cpus", "1,9")
    bench.put(db, "memory.current", "4096")
    bench.kernel.settle(bench.layout.kubepods)
    gone = ContainerPlace(pod, "gone", "0" * 16)
    seen = bench.reader.read([db, gone])
    assert set(seen) == {words.burstable, words.best_effort, pod, db}
    assert seen[db] == Values(
        cpuset.parse("1,9"),
        None,
        Bandwidth(200_000, 100_000),
        cpuset.parse("1,9"),
        nodeset.parse("0-1"),
        4096,
    )


def test_crun_keeps_the_processes_in_a_child_group(bench):
    folder = bench.root / bench.layout.folder(bench.start(bench.pod("db"), "db"))
    (folder / "container").mkdir()
    (folder / "container/cpuset.cpus.effective").write_text("1\n")
    values = values_in(folder)
    assert values is not None
    assert values.effective_cpus == cpuset.parse("1")


def test_senseless_content_reads_as_nothing(bench):
    db = bench.start(bench.pod("db"), "db")
    for text in ("banana", "3-1", "0-99999999", "\x00"):
        bench.put(db, "cpuset.cpus", text)
        bench.put(db, "cpu.max", text)
        values = bench.reader.read([db])[db]
        assert (values.cpus, values.bandwidth) == (None, None)


def test_a_node_that_has_no_kubepods_is_empty(tmp_path, bench):
    reader = type(bench.reader)(tmp_path / "nowhere", bench.layout)
    assert reader.read([]) == {}
    assert reader.pods() == []
    assert reader.everything() is None


def test_only_guaranteed_pods_hang_below_kubepods(bench):
    bench.pod("b", Qos.BURSTABLE)
    bench.pod("g")
    assert bench.reader.pods() == [PodPlace("g", Qos.GUARANTEED)]

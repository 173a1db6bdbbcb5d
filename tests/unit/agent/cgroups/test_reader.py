import errno
import os

import pytest
from podnuma.agent.model.cgroup_ref import ContainerCgroup, PodCgroup
from podnuma.agent.model.cgroup_values import CgroupValues, CpuMax
from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.request import Qos


def test_everything_that_exists_is_read_and_what_is_gone_is_left_out(bench, words):
    pod = bench.pod("db")
    db = bench.start(pod, "db", "200000 100000")
    bench.put(db, "cpuset.cpus", "1,9")
    bench.put(db, "memory.current", "4096")
    bench.kernel.settle(bench.layout.kubepods)
    gone = ContainerCgroup(pod, "gone", "0" * 16)
    seen = bench.reader.read([pod], [db, gone])
    assert set(seen) == {words.burstable, words.best_effort, pod, db}
    assert seen[db] == CgroupValues(
        cpuset.parse("1,9"), None, CpuMax(200_000, 100_000), cpuset.parse("1,9"), nodeset.parse("0-1")
    )
    assert (bench.reader.resident(db), bench.reader.resident(gone)) == (4096, 0)


def test_a_container_with_a_quota_is_asked_how_often_it_was_held_back(bench):
    pod = bench.pod("db")
    limited, free = bench.start(pod, "limited", "200000 100000"), bench.start(pod, "free", "max 100000")
    for one in (limited, free):
        bench.put(one, "cpu.stat", "usage_usec 9\nnr_periods 200\nnr_throttled 49\nthrottled_usec 7")
    assert [bench.reader.throttled_percent(one) for one in (limited, free)] == [25, None]
    for text in ("", "nr_periods 0\nnr_throttled 0", "nr_periods banana"):
        bench.put(limited, "cpu.stat", text)
        assert bench.reader.throttled_percent(limited) is None


def test_crun_keeps_the_processes_in_a_child_group(bench):
    folder = bench.root / bench.layout.folder(bench.start(bench.pod("db"), "db"))
    (folder / "container").mkdir()
    (folder / "container/cpuset.cpus.effective").write_text("1\n")
    values = bench.reader.at(folder)
    assert values is not None
    assert values.effective_cpus == cpuset.parse("1")


@pytest.mark.parametrize(
    ("scope", "leaf", "felt"),
    [
        ("max 100000", "200000 100000", (200_000, 100_000)),
        ("1000 100000", "max 100000", (1000, 100_000)),
        ("200000 100000", "50000 50000", (50_000, 50_000)),
        ("max 100000", "max 100000", (None, 100_000)),
        ("max 100000", "", (None, 100_000)),
    ],
)
def test_of_the_quotas_of_a_container_and_of_the_group_in_it_the_narrower_counts(bench, scope, leaf, felt):
    """cri-o/cri-o#9251: crun gives both what the container was created with."""
    pod = bench.pod("db")
    db = bench.start(pod, "db", scope)
    inner = bench.root / bench.layout.folder(db) / "container"
    inner.mkdir()
    for name, text in (("cpuset.cpus.effective", "0-15"), ("cpu.max", leaf)):
        (inner / name).write_text(f"{text}\n")
    (inner / "cpu.stat").write_text("nr_periods 10\nnr_throttled 9\n")
    values = bench.reader.read([pod], [db])[db]
    assert values.cpu_max == CpuMax(*felt)
    assert bench.reader.throttled_percent(db) == (None if felt[0] is None else 90)


def test_the_main_process_is_the_first_one_where_the_processes_are(bench):
    db = bench.start(bench.pod("db"), "db")

    def first():
        return bench.reader.container(db).main_process

    assert first() is None
    for text, pid in (("77\n78", 77), ("0", None), ("banana", None), ("", None), ("79", 79)):
        bench.put(db, "cgroup.procs", text)
        assert first() == pid
    inner = bench.root / bench.layout.folder(db) / "container"
    inner.mkdir()
    (inner / "cpuset.cpus.effective").write_text("1\n")
    assert first() == 79
    (inner / "cgroup.procs").write_text("5\n")
    assert first() == 5


def test_senseless_content_reads_as_nothing(bench):
    pod = bench.pod("db")
    db = bench.start(pod, "db")
    for text in ("banana", "3-1", "0-99999999", "\x00"):
        bench.put(db, "cpuset.cpus", text)
        bench.put(db, "cpu.max", text)
        values = bench.reader.read([pod], [db])[db]
        assert (values.cpus, values.cpu_max) == (None, None)


def test_a_node_that_has_no_kubepods_is_empty(tmp_path, bench):
    reader = type(bench.reader)(tmp_path / "nowhere", bench.layout)
    assert reader.read([], []) == {}
    assert reader.pods(Qos.GUARANTEED) == []
    assert reader.everything() is None


def test_every_class_of_pods_lies_where_the_kubelet_puts_it(bench):
    cgroups = [bench.pod("b", Qos.BURSTABLE), bench.pod("e", Qos.BEST_EFFORT), bench.pod("g")]
    assert [bench.reader.pods(cgroup.qos) for cgroup in cgroups] == [[cgroup] for cgroup in cgroups]


def test_a_pod_has_cpus_of_its_own_when_somebody_wrote_them(bench):
    pod = bench.pod("b", Qos.BURSTABLE)
    bench.kernel.settle(bench.layout.kubepods)
    assert not bench.reader.has_own_cpus(pod)
    bench.put(pod, "cpuset.cpus", "3")
    assert bench.reader.has_own_cpus(pod)
    assert not bench.reader.has_own_cpus(PodCgroup("gone", Qos.BURSTABLE))


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_for_want_of_descriptors_or_memory_nothing_is_said_to_be_gone(bench, monkeypatch, number):
    """kubernetes/kubernetes#26246, GoogleCloudPlatform/k8s-node-tools#57"""
    pod = bench.pod("db")
    db = bench.start(pod, "db")

    def wanting(*_, **__):
        raise OSError(number, os.strerror(number))

    asked = {
        "listdir": lambda: bench.reader.pods(Qos.GUARANTEED),
        "scandir": lambda: bench.reader.containers(pod),
        "open": lambda: bench.reader.read([pod], [db]),
    }
    for function, ask in asked.items():
        with monkeypatch.context() as patch:
            patch.setattr(os, function, wanting)
            with pytest.raises(OSError, match=os.strerror(number)):
                ask()
        assert ask()

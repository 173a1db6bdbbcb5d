import asyncio
import contextlib
import logging

import pytest
from podnuma.agent import cleanup
from podnuma.agent.cgroups.lock import the_only_one
from podnuma.agent.cgroups.writers.cgroupfs import CgroupfsWriter
from podnuma.agent.model.cgroup_values import CpuMax
from podnuma.agent.settings import AgentSettings, Runtime
from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.request import Qos


@pytest.fixture
def settings(bench):
    return AgentSettings(
        "node", cgroup_root=bench.root, kubelet_root=bench.root / "kubelet", runtime=Runtime.SIMULATED
    )


def snapshot(bench):
    return {path: path.read_text() for path in sorted(bench.root.rglob("*")) if path.is_file()}


def start_pods(bench):
    mixed, exclusive = bench.pod("mixed"), bench.pod("exclusive")
    bench.put(mixed, "cpu.max", "400000 100000")
    bench.put(exclusive, "cpu.max", "300000 100000")
    return [
        bench.start(mixed, "db", "200000 100000"),
        bench.start(mixed, "log", "400000 100000"),
        bench.start(exclusive, "a", "200000 100000"),
        bench.start(exclusive, "b", "100000 100000"),
        bench.start(exclusive, "debugger"),
    ]


def test_the_node_is_as_if_podnuma_had_never_been_there(bench, words, settings):
    start_pods(bench)
    before = snapshot(bench)
    bench.grant(
        words.pod(
            "mixed",
            words.container("db", "1,9", mems="0"),
            words.container("log", "2,10", 400_000, mems="0"),
            cpus="1-2,9-10",
            quota=400_000,
        )
    )
    bench.grant(
        words.pod("exclusive", words.container("a", "4,12"), words.container("b", "5"), cpus="4-5,12")
    )
    bench.run_pass()
    assert snapshot(bench) != before
    outcomes = asyncio.run(cleanup.clean(settings))
    assert [outcome.why for outcome in outcomes if outcome.why] == []
    assert snapshot(bench) == before


def test_a_burstable_holder_and_its_neighbours_are_given_back_too(bench, words, settings):
    burstable, web = bench.pod("burstable", Qos.BURSTABLE), bench.pod("web", Qos.BURSTABLE)
    bench.put(burstable, "cpu.max", "200000 100000")
    bench.start(burstable, "db", "200000 100000")
    bench.start(web, "web")
    before = snapshot(bench)
    bench.grant(words.pod("burstable", words.container("db", "1,9"), cpus="1,9"))
    bench.run_pass()
    assert bench.cpus(web) == "0,2-8,10-15"
    assert asyncio.run(cleanup.clean(settings))
    assert snapshot(bench) == before


def test_where_nothing_can_be_emptied_all_cpus_stay_written(bench, words, settings, monkeypatch):
    """Linux refuses to empty the set of a cgroup that has processes."""

    def refuse(_self, folder):
        raise words.refused(str(folder), "", "ENOSPC")

    monkeypatch.setattr(CgroupfsWriter, "clear", refuse)
    cgroup = bench.start(bench.pod("db"), "db", "200000 100000")
    bench.grant(words.pod("db", words.container("db", "1,9", mems="0"), cpus="1,9"))
    bench.run_pass()
    outcomes = asyncio.run(cleanup.clean(settings))
    assert [outcome.why for outcome in outcomes if outcome.why] == []
    assert (bench.cpus(cgroup), bench.effective(cgroup)) == ("0-15", "0-15")
    assert bench.file(cgroup, "cpuset.mems.effective") == "0-1"
    assert bench.file(cgroup, "cpu.max") == "200000 100000"


def test_what_a_static_kubelet_pinned_stays(bench, words, settings):
    """Its state file says who pins here; an Audit node is one where that is so."""
    settings.kubelet_root.mkdir()
    (settings.kubelet_root / "cpu_manager_state").write_text('{"policyName": "static"}')
    pod = bench.pod("db")
    cgroup = bench.start(pod, "db", "max 100000")
    bench.put(cgroup, "cpuset.cpus", "1,9")
    bench.put(pod, "cpu.max", "max 100000")
    bench.put(words.burstable, "cpuset.cpus", "0,2-8")
    assert [outcome.cgroup for outcome in asyncio.run(cleanup.clean(settings))] == [words.burstable]
    assert bench.cpus(cgroup) == "1,9"
    assert bench.file(pod, "cpu.max") == bench.file(cgroup, "cpu.max") == "max 100000"


def test_an_untouched_node_is_left_alone(bench, settings):
    start_pods(bench)
    before = {path: path.stat().st_mtime_ns for path in bench.root.rglob("cpuset.*") if path.is_file()}
    assert asyncio.run(cleanup.clean(settings)) == ()
    assert {
        path: path.stat().st_mtime_ns for path in bench.root.rglob("cpuset.*") if path.is_file()
    } == before


def test_parents_are_given_back_before_their_children(words, bench):
    pod = bench.pod("p")
    cgroup = bench.start(pod, "c")
    seen = {cgroup: words.values("1"), pod: words.values("0-1"), words.burstable: words.values("0")}
    writes = cleanup.give_back(seen, cpuset.parse("0-15"), nodeset.parse("0-1"), quotas=True)
    assert [write.cgroup for write in writes][-1] == cgroup
    assert {cpuset.render(write.cpus or 0) for write in writes} == {"0-15"}, "runtimes know no empty set"


def test_no_quota_is_given_where_the_kubelet_gives_none(bench, words, settings):
    pod = bench.pod("p")
    cgroup = bench.start(pod, "c")
    bench.put(cgroup, "cpuset.cpus", "1,9")
    (bench.root / "kubelet").mkdir()
    (bench.root / "kubelet/config.yaml").write_text("kind: KubeletConfiguration\ncpuCFSQuota: false\n")
    asyncio.run(cleanup.clean(settings))
    assert bench.file(cgroup, "cpu.max") == "max 100000"
    unlimited = words.values("1,9", cpu_max=CpuMax(None, 100_000))
    (write,) = cleanup.give_back({cgroup: unlimited}, cpuset.parse("0-15"), nodeset.parse("0-1"), quotas=True)
    assert write.cpu_max == CpuMax(200_000, 100_000)


def test_a_guaranteed_pod_without_a_quota_says_that_this_kubelet_gives_none(bench, words, settings):
    """aws/karpenter-provider-aws#3300: it is told so elsewhere than in config.yaml."""
    bench.start(bench.pod("half"), "app")
    cgroup = bench.start(bench.pod("db"), "db")
    bench.grant(words.pod("db", words.container("db", "1,9"), cpus="1,9"))
    bench.run_pass()
    asyncio.run(cleanup.clean(settings))
    assert (bench.effective(cgroup), bench.file(cgroup, "cpu.max")) == ("0-15", "max 100000")


def test_what_cannot_be_given_back_is_named_and_the_exit_status_says_so(
    bench, words, settings, monkeypatch, caplog
):
    cgroup = bench.start(bench.pod("p"), "c")
    bench.put(cgroup, "cpuset.cpus", "1,9")

    def refuse(_self, write, _folder=None):
        raise words.refused(str(write.cgroup), "0-15", "EROFS")

    monkeypatch.setattr(CgroupfsWriter, "write", refuse)
    with pytest.raises(SystemExit) as caught:
        cleanup.main(settings)
    assert caught.value.code == 1
    assert "EROFS" in caplog.text


def test_a_node_without_a_kubelet_has_nothing_to_give_back(tmp_path):
    settings = AgentSettings("node", cgroup_root=tmp_path / "none", runtime=Runtime.SIMULATED)
    assert asyncio.run(cleanup.clean(settings)) == ()


def test_nothing_is_given_back_while_an_agent_runs(bench, settings, monkeypatch):
    """It would set everything again, and the cleanup would have said that all is given back."""
    monkeypatch.setattr(cleanup, "_PATIENCE", 0.0)
    start_pods(bench)
    with the_only_one(bench.root), pytest.raises(SystemExit, match="stop that first"):
        cleanup.main(settings)
    cleanup.main(settings)


def test_a_cleanup_waits_for_an_agent_that_is_ending(bench, settings, monkeypatch, caplog):
    monkeypatch.setattr(cleanup, "_LOOK", 0.01)
    caplog.set_level("INFO")
    with contextlib.ExitStack() as agent:
        agent.enter_context(the_only_one(bench.root))

        class Ends(logging.Handler):
            def emit(self, record):
                if record.getMessage().startswith("waiting"):
                    agent.close()

        handler = Ends()
        monkeypatch.setattr(cleanup.logger, "handlers", [handler])
        cleanup.main(settings)
    assert "given back: 0 of 0 cgroups" in caplog.messages

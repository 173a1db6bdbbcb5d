import asyncio
import errno
import threading
from pathlib import Path

import pytest
from podnuma.agent.discover import current as current_module
from podnuma.agent.discover.current import CurrentMachine, HardwareUnknown
from podnuma.agent.discover.machine import discover
from podnuma.agent.model.cgroup_values import KubepodsCpuset
from podnuma.allocator import cpuset, nodeset


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Found:
    def __init__(self):
        self.discoveries = []


def put(root, path, text):
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.fixture
def machine(tmp_path):
    for cpu in range(4):
        put(tmp_path, f"devices/system/cpu/cpu{cpu}/topology/thread_siblings_list", str(cpu))
        put(tmp_path, f"devices/system/cpu/cpu{cpu}/topology/physical_package_id", "0")
    put(tmp_path, "devices/system/cpu/online", "0-3")
    put(tmp_path, "devices/system/cpu/present", "0-3")
    put(tmp_path, "proc/meminfo", "MemTotal: 1024 kB\n")
    found, clock = Found(), Clock()
    current = CurrentMachine(tmp_path, tmp_path / "proc", found.discoveries.append, clock)
    return current, found, clock


async def test_the_tree_is_read_again_only_when_something_tells(machine, tmp_path):
    current, found, clock = machine
    assert await current.get() is await current.get()
    assert len(found.discoveries) == 1
    put(tmp_path, "devices/system/cpu/online", "0-2")
    assert (await current.get()).topology.all_cpus == cpuset.parse("0-2")
    assert (await current.get()).topology.offline == cpuset.parse("3")
    assert len(found.discoveries) == 2
    clock.now = 1000
    await current.get()
    assert len(found.discoveries) == 3


async def test_a_tree_that_changes_while_it_is_read_is_read_again_at_once(machine, tmp_path, monkeypatch):
    """CPUs that went offline after the list of those online was read: util-linux/util-linux#3265."""
    current, found, _ = machine
    changes = ["0-2", "0-1"]

    def discover_while_cpus_go(*roots):
        if changes:
            online = changes.pop(0)
            gone = f"devices/system/cpu/cpu{3 if online == '0-2' else 2}/topology/thread_siblings_list"
            (tmp_path / gone).unlink()
            answer = discover(*roots)
            put(tmp_path, "devices/system/cpu/online", online)
            return answer
        return discover(*roots)

    monkeypatch.setattr(current_module, "discover", discover_while_cpus_go)
    topology = (await current.get()).topology
    assert (topology.all_cpus, topology.unknown_siblings) == (cpuset.parse("0-1"), cpuset.EMPTY)
    assert len(found.discoveries) == 1
    await current.get()
    assert len(found.discoveries) == 1


async def test_siblings_that_become_known_are_read_soon(machine, tmp_path):
    current, found, clock = machine
    file = tmp_path / "devices/system/cpu/cpu2/topology/thread_siblings_list"
    file.unlink()
    assert (await current.get()).topology.unknown_siblings == cpuset.parse("2")
    file.write_text("2")
    clock.now = 5
    await current.get()
    assert len(found.discoveries) == 1
    clock.now = 15
    assert (await current.get()).topology.unknown_siblings == cpuset.EMPTY
    clock.now = 30
    await current.get()
    assert len(found.discoveries) == 2


async def test_a_change_is_read_although_who_asked_first_was_given_up(machine, tmp_path, monkeypatch):
    """A pass for a container's start ends at the runtime's deadline, wherever it is."""
    current, _, _ = machine
    assert (await current.get()).topology.all_cpus == cpuset.parse("0-3")
    put(tmp_path, "devices/system/cpu/online", "0-2")
    reads, go_on = threading.Event(), threading.Event()

    def slowly(*roots):
        reads.set()
        go_on.wait(30)
        return discover(*roots)

    monkeypatch.setattr(current_module, "discover", slowly)
    asked = asyncio.create_task(current.get())
    await asyncio.to_thread(reads.wait, 30)
    asked.cancel()
    go_on.set()
    await asyncio.gather(asked, return_exceptions=True)
    assert asked.cancelled()
    assert (await current.get()).topology.all_cpus == cpuset.parse("0-2")


async def test_the_last_machine_stays_while_the_tree_is_unreadable(machine, tmp_path):
    current, found, _ = machine
    before = await current.get()
    for path in sorted((tmp_path / "devices").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert await current.get() == before
    assert found.discoveries[-1].machine is None


async def test_for_want_of_descriptors_the_last_machine_stays_meanwhile(machine, tmp_path, monkeypatch):
    """kubernetes/kubernetes#26246: else its memory would be taken as 0, and its siblings as unknown."""
    current, found, clock = machine
    before = await current.get()
    put(tmp_path, "devices/system/cpu/online", "0-2")
    listed = Path.iterdir

    def wanting(path):
        if path.name == "cache":
            raise OSError(errno.ENFILE, "Too many open files in system")
        return listed(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "iterdir", wanting)
        assert await current.get() is before
        with pytest.raises(HardwareUnknown, match="Too many open files in system"):
            await CurrentMachine(tmp_path, tmp_path / "proc", found.discoveries.append, clock).get()
    assert len(found.discoveries) == 1
    assert (await current.get()).topology.all_cpus == cpuset.parse("0-2")


async def test_a_machine_that_was_never_made_out_is_told(tmp_path):
    found = Found()
    current = CurrentMachine(tmp_path / "none", tmp_path / "proc", found.discoveries.append)
    with pytest.raises(HardwareUnknown, match="names no online CPU"):
        await current.get()
    assert len(found.discoveries) == 1


async def test_memory_that_comes_to_a_node_is_read_at_once(machine, tmp_path):
    current, found, clock = machine
    assert (await current.get()).topology.nodes[0].memory == 2**20
    clock.now = 60
    put(tmp_path, "proc/meminfo", "MemTotal: 2048 kB\nMemFree: 5 kB\n")
    assert (await current.get()).topology.nodes[0].memory == 2**21
    put(tmp_path, "proc/meminfo", "MemTotal: 2048 kB\nMemFree: 7 kB\n")
    clock.now = 120
    await current.get()
    assert len(found.discoveries) == 2


async def test_huge_pages_of_another_node_or_size_are_read_although_the_machine_has_as_much(
    machine, tmp_path
):
    """kubernetes/kubernetes#80452, kubernetes/kubernetes#111757"""
    current, _, clock = machine
    put(tmp_path, "proc/meminfo", "MemTotal: 1024 kB\nHugetlb: 1048576 kB\n")
    put(tmp_path, "devices/system/node/online", "0-1")
    for node, count in enumerate((512, 0)):
        folder = f"devices/system/node/node{node}"
        put(tmp_path, f"{folder}/cpulist", f"{2 * node}-{2 * node + 1}")
        put(tmp_path, f"{folder}/meminfo", f"Node {node} MemTotal: 512 kB\n")
        put(tmp_path, f"{folder}/hugepages/hugepages-2048kB/nr_hugepages", f"{count}\n")
        put(tmp_path, f"{folder}/hugepages/hugepages-1048576kB/nr_hugepages", "0\n")

    async def pages():
        clock.now += 11
        return [dict(node.hugepages) for node in (await current.get()).topology.nodes]

    gibi = 2**30
    assert await pages() == [{"hugepages-2Mi": gibi}, {}]
    put(tmp_path, "devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "0\n")
    put(tmp_path, "devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages", "512\n")
    assert await pages() == [{}, {"hugepages-2Mi": gibi}]
    put(tmp_path, "devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages", "0\n")
    put(tmp_path, "devices/system/node/node1/hugepages/hugepages-1048576kB/nr_hugepages", "1\n")
    assert await pages() == [{}, {"hugepages-1Gi": gibi}]


async def test_memory_that_changes_all_the_time_is_not_read_all_the_time(machine, tmp_path):
    """As with the balloon of a virtual machine (kubernetes/kubernetes#105613). No container waits for it."""
    current, found, clock = machine
    for second in range(60):
        clock.now = float(second)
        put(tmp_path, "proc/meminfo", f"MemTotal: {2048 - second} kB\n")
        for _ in range(3):
            await current.get()
    assert len(found.discoveries) == 6
    clock.now = 75.0
    assert (await current.get()).topology.nodes[0].memory == (2048 - 59) * 1024


async def test_what_the_cgroup_of_all_pods_lacks_is_told_at_once_and_comes_back(machine):
    current, found, _ = machine

    async def has(cpus, memory_nodes):
        current.kubepods = lambda: KubepodsCpuset("kubepods.slice", cpus, memory_nodes)
        return (await current.get()).topology

    assert (await has(cpuset.parse("0-3"), nodeset.parse("0"))).outside == cpuset.EMPTY
    limited = await has(cpuset.parse("2-3,7"), nodeset.parse("0"))
    assert (limited.outside, limited.all_cpus) == (cpuset.parse("0-1"), cpuset.parse("0-3"))
    assert (await current.get()).cpus_for_pods == cpuset.parse("2-3")
    assert found.discoveries[-1].machine is (await current.get())
    assert (await has(cpuset.parse("0-3"), nodeset.parse("1"))).outside_memory == nodeset.parse("0")
    untold = await has(None, None)
    assert (untold.outside, untold.outside_memory) == (cpuset.EMPTY, nodeset.EMPTY)


async def test_the_event_loop_runs_on_while_the_tree_is_read(machine, monkeypatch):
    current, _, _ = machine
    read, others_ran = discover, threading.Event()

    def wait_for_others(*roots):
        assert others_ran.wait(30), "nothing else ran meanwhile"
        return read(*roots)

    monkeypatch.setattr(current_module, "discover", wait_for_others)
    reading = asyncio.create_task(current.get())
    await asyncio.sleep(0)
    others_ran.set()
    assert (await reading).topology.all_cpus == cpuset.parse("0-3")

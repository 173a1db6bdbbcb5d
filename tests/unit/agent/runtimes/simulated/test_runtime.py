import asyncio
from pathlib import PurePosixPath

import pytest
from podnuma.agent.apiserver.watch import Changed, Listed, WatchEventType
from podnuma.agent.cgroups.layout import CgroupDriver, CgroupLayout
from podnuma.agent.model.cgroup_values import CgroupTarget
from podnuma.agent.model.containers import StartRefused
from podnuma.agent.runtimes.simulated.kernel import FakeKernel
from podnuma.agent.runtimes.simulated.runtime import SimulatedRuntime
from podnuma.agent.start.hook import StartAnswer
from podnuma.allocator import cpuset


class Hook:
    def __init__(self):
        self.asked = []
        self.refusals = 0

    async def start(self, starting, _within):
        self.asked.append(starting)
        if self.refusals:
            self.refusals -= 1
            raise StartRefused("not yet")
        return StartAnswer(CgroupTarget(cpuset.parse("1,9")))

    def pod_admitted(self, _):
        raise AssertionError("there is no sandbox here")

    def values(self, _):
        return None

    async def before_start(self, _):
        raise AssertionError("nothing runs here, so nothing is about to")


class Runtime(SimulatedRuntime):
    """A runtime that has been given its hook."""

    def __init__(self, root, hook):
        super().__init__(FakeKernel(root, "0-15", "0-1"), CgroupLayout(CgroupDriver.SYSTEMD), lambda: None)
        self.hook = hook

    def take(self, event):
        self.take_pods(self.hook, event)


@pytest.fixture
def hook():
    return Hook()


@pytest.fixture
def runtime(tmp_path, hook):
    runtime = Runtime(tmp_path, hook)
    runtime.boot()
    return runtime


def pod(uid="u-1", phase="Running", qos="Guaranteed", statuses=(), init_statuses=()):
    limits = {"cpu": "2", "memory": "1Gi"}
    return {
        "metadata": {"name": uid, "namespace": "default", "uid": uid},
        "spec": {
            "nodeName": "n",
            "initContainers": [{"name": "init"}, {"name": "side", "restartPolicy": "Always"}],
            "containers": [
                {"name": "app", "resources": {"requests": limits, "limits": limits}},
                {"name": "log"},
            ],
        },
        "status": {
            "phase": phase,
            "qosClass": qos,
            "containerStatuses": list(statuses),
            "initContainerStatuses": list(init_statuses),
        },
    }


async def running(runtime):
    for _ in range(5):
        await asyncio.sleep(0)
    return {container.name: container for container in await runtime.containers()}


async def test_a_pod_runs_its_containers_and_its_init_containers_before(runtime):
    runtime.take(Listed((pod(phase="Pending"),)))
    assert set(await running(runtime)) == {"init"}
    runtime.take(Changed(WatchEventType.MODIFIED, pod()))
    assert set(await running(runtime)) == {"side", "app", "log"}


async def test_containers_start_with_the_values_of_the_hook(runtime, tmp_path):
    runtime.take(Listed((pod(),)))
    found = await running(runtime)
    (folder,) = tmp_path.rglob(f"*{found['app'].id}*")
    assert (folder / "cpuset.cpus.effective").read_text() == "1,9\n"
    assert (folder / "cpu.max").read_text() == "200000 100000\n"


async def test_a_refused_container_is_tried_again(runtime, hook, reached):
    hook.refusals = 1
    runtime.take(Listed((pod(),)))
    assert len(await running(runtime)) == 2
    await reached(lambda: len(runtime._running) == 3)


async def test_ended_containers_and_pods_leave_the_tree(runtime, tmp_path):
    runtime.take(Listed((pod(),)))
    await running(runtime)
    ended = {"name": "app", "restartCount": 0, "state": {"terminated": {"exitCode": 0}}}
    runtime.take(Changed(WatchEventType.MODIFIED, pod(statuses=[ended])))
    assert set(await running(runtime)) == {"side", "log"}
    runtime.take(Changed(WatchEventType.ADDED, pod("u-2")))
    await running(runtime)
    runtime.take(Changed(WatchEventType.DELETED, pod()))
    runtime.take(Changed(WatchEventType.MODIFIED, pod("u-2", phase="Succeeded")))
    assert await running(runtime) == {}
    assert not list(tmp_path.rglob("kubepods-pod*"))


async def test_a_restart_is_a_new_instance(runtime):
    runtime.take(Listed((pod(),)))
    before = (await running(runtime))["app"].id
    runtime.take(
        Changed(WatchEventType.MODIFIED, pod(statuses=[{"name": "app", "restartCount": 1, "state": {}}]))
    )
    assert (await running(runtime))["app"].id != before


async def test_a_second_process_finds_the_containers_running(runtime, hook, tmp_path):
    runtime.take(Listed((pod(),)))
    before = {container.id for container in (await running(runtime)).values()}
    asked = len(hook.asked)
    again = Runtime(tmp_path, hook)
    again.boot()
    again.take(Listed((pod(),)))
    assert {container.id for container in (await running(again)).values()} == before
    assert len(hook.asked) == asked


async def test_what_ended_while_nobody_looked_is_swept(runtime, tmp_path):
    runtime.take(Listed((pod(),)))
    await running(runtime)
    again = Runtime(tmp_path, Hook())
    again.boot()
    again.take(Listed(()))
    assert not list(tmp_path.rglob("kubepods-pod*"))


@pytest.mark.parametrize("hostile", [{}, {"metadata": []}, {"metadata": {"uid": "x"}, "spec": 5}])
async def test_senseless_pods_are_no_containers(runtime, hostile):
    runtime.take(Listed((hostile, pod())))
    runtime.take(Changed(WatchEventType.MODIFIED, hostile))
    assert len(await running(runtime)) == 3


@pytest.mark.usefixtures("runtime")
def test_the_tree_has_the_slices_of_a_kubelet(tmp_path):
    assert (tmp_path / PurePosixPath("kubepods.slice/kubepods-burstable.slice/cpuset.cpus")).is_file()

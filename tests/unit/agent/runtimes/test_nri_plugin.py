import asyncio
import dataclasses
import json

import pytest
from podnuma.agent.model.cgroup_ref import ContainerCgroup, PodCgroup
from podnuma.agent.model.cgroup_values import CgroupTarget, CgroupWrite, CpuMax
from podnuma.agent.model.containers import StartRefused
from podnuma.agent.nri import values as nri
from podnuma.agent.nri.plugin import Refused
from podnuma.agent.runtimes.container_cache import ContainerCache
from podnuma.agent.runtimes.nri_plugin import NriPlugin, qos_of, starting_of
from podnuma.agent.runtimes.start_priority import StartPriority
from podnuma.agent.start.hook import StartAnswer
from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.request import Qos

POD = nri.PodSandbox(
    id="sandbox",
    uid="uid-1",
    namespace="shop",
    name="db",
    labels={"app": "db"},
    cgroup_parent="/kubepods.slice/kubepods-poduid_1.slice",
)
DB = nri.NriContainer(
    id="id-1",
    pod_sandbox_id="sandbox",
    pod_uid="uid-1",
    name="db",
    state=nri.NriContainerState.CREATED,
    resources=nri.LinuxResources(cpu_quota=200_000, cpu_period=100_000, memory_limit=2**30),
    created_at=5_000_000_000,
)
RUNTIME = nri.RuntimeInfo("containerd", "v2", request_timeout=4.0)


class Hook:
    def __init__(self):
        self.asked = []
        self.created = []
        self.admitted = []
        self.answer = StartAnswer()
        self.closed = False
        self.under_way = set()

    def fail_closed(self):
        return self.closed

    async def wait_fail_closed(self, *, closed):
        raise NotImplementedError

    def update_begins(self, cgroup):
        self.under_way.add(cgroup.id)
        return self.answer.values

    def update_ended(self, container_id):
        self.under_way.remove(container_id)

    def pod_admitted(self, uid):
        self.admitted.append(uid)

    async def before_start(self, cgroup):
        self.created.append(cgroup)

    async def start(self, starting, within):
        self.asked.append((starting, within))
        if isinstance(self.answer, Exception):
            raise self.answer
        if isinstance(self.answer, asyncio.Event):
            await self.answer.wait()
        return self.answer


@pytest.fixture
def hook():
    return Hook()


@pytest.fixture
def inventory():
    return ContainerCache(lambda: None)


@pytest.fixture
def plugin(hook, inventory):
    return NriPlugin(inventory, StartPriority(), hook, 0.25, lambda: None)


async def test_a_container_starts_with_the_values_of_the_hook(plugin, hook):
    await plugin.configured(RUNTIME)
    hook.answer = StartAnswer(
        CgroupTarget(cpuset.parse("1,9"), nodeset.parse("0"), CpuMax(None, 100_000), memory_limit=2**31)
    )
    answer = await plugin.create_container(POD, DB)
    assert answer == nri.CreateContainerResponse(
        nri.LinuxResources(cpus="1,9", mems="0", cpu_quota=0, cpu_period=100_000), ()
    ), "a memory limit of the kubelet's own stays; no quota is one that was never set, which crun understands"
    unlimited = dataclasses.replace(DB, resources=nri.LinuxResources(cpu_quota=0, cpu_period=100_000))
    answer = await plugin.create_container(POD, unlimited)
    assert answer.adjust == nri.LinuxResources(cpus="1,9", mems="0", memory_limit=2**31), (
        "a runtime on a kernel without quotas fails where it is told a period"
    )
    starting, within = hook.asked[0]
    assert within == 1.0, "a quarter of the runtime's patience"
    assert starting.cgroup == ContainerCgroup(PodCgroup("uid-1", Qos.GUARANTEED), "db", "id-1")
    assert starting.cpu_max == CpuMax(200_000, 100_000)
    assert (starting.namespace, starting.labels, starting.local) == ("shop", {"app": "db"}, False)


async def test_a_budget_in_an_annotation_is_told_to_the_hook(plugin, hook):
    same = {"cpu": "4", "memory": "8Gi"}
    budget = json.dumps({"requests": same, "limits": same})
    pod = dataclasses.replace(
        POD,
        cgroup_parent="/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-poduid_1.slice",
        annotations={"podnuma.dev/resources": budget},
    )
    await plugin.create_container(pod, DB)
    starting, _ = hook.asked[0]
    assert (starting.annotated, starting.cgroup.pod.qos) == (True, Qos.BURSTABLE)


async def test_a_memory_limit_is_given_where_the_kubelet_gave_none(plugin, hook):
    hook.answer = StartAnswer(CgroupTarget(cpuset.parse("1"), memory_limit=2**31))
    bare = nri.NriContainer(id="id-2", pod_sandbox_id="sandbox", pod_uid="uid-1", name="log")
    answer = await plugin.create_container(POD, bare)
    assert answer.adjust.memory_limit == 2**31


async def test_what_others_give_up_rides_on_the_answer(plugin, hook):
    other = ContainerCgroup(PodCgroup("uid-2", Qos.GUARANTEED), "web", "id-9")
    hook.answer = StartAnswer(CgroupTarget(cpuset.parse("1")), (CgroupWrite(other, cpuset.parse("0,2-8")),))
    answer = await plugin.create_container(POD, DB)
    assert answer.updates == (
        nri.ContainerUpdate("id-9", nri.LinuxResources(cpus="0,2-8"), ignore_failure=True),
    )


async def test_a_refusal_reaches_the_kubelet_with_its_text(plugin, hook):
    hook.answer = StartRefused("podnuma: not decided yet")
    with pytest.raises(Refused, match="not decided yet"):
        await plugin.create_container(POD, DB)


async def test_an_answer_that_would_come_too_late_is_a_refusal(plugin, hook):
    await plugin.configured(nri.RuntimeInfo("containerd", "v2", request_timeout=0.1))
    hook.answer = asyncio.Event()
    with pytest.raises(Refused, match=r"could not be taken off this container's CPUs within 0\.1 s"):
        await plugin.create_container(POD, DB)


async def test_what_no_kubelet_started_is_left_alone(plugin, hook):
    foreign = nri.PodSandbox(id="x", uid="", namespace="", name="x", cgroup_parent="/user.slice")
    assert await plugin.create_container(foreign, DB) == nri.CreateContainerResponse()
    assert hook.asked == []


async def test_a_resize_by_the_kubelet_unpins_nothing(plugin, hook):
    hook.answer = StartAnswer(CgroupTarget(cpuset.parse("1,9"), nodeset.parse("0"), CpuMax(None, 100_000)))
    (update,) = await plugin.update_container(
        POD, DB, nri.LinuxResources(cpu_quota=100_000, cpu_period=100_000)
    )
    assert update.resources == nri.LinuxResources(cpus="1,9", mems="0", cpu_quota=-1, cpu_period=100_000)
    (memory_only,) = await plugin.update_container(POD, DB, nri.LinuxResources(memory_limit=5))
    assert memory_only.resources == nri.LinuxResources(cpus="1,9", mems="0")
    hook.answer = StartAnswer()
    assert await plugin.update_container(POD, DB, nri.LinuxResources(memory_limit=5)) == ()


async def test_after_an_update_there_is_a_pass(hook, inventory):
    """The kubelet has written the pod's own cgroup, of which no runtime knows."""
    calls = []
    plugin = NriPlugin(inventory, StartPriority(), hook, 0.25, lambda: calls.append(1))
    await plugin.update_container(POD, DB, nri.LinuxResources(cpu_quota=100_000, cpu_period=100_000))
    assert calls == [1]


async def test_after_the_kubelet_has_written_the_quota_of_a_pod_there_is_a_pass(hook, inventory):
    calls = []
    plugin = NriPlugin(inventory, StartPriority(), hook, 0.25, lambda: calls.append(1))
    await plugin.event(nri.NriEvent.POST_UPDATE_POD_SANDBOX, POD, None)
    assert calls == [1]


async def test_the_inventory_follows_the_events(plugin, inventory):
    stopped = nri.NriContainer("id-0", "sandbox", "uid-1", "old", state=nri.NriContainerState.STOPPED)
    being_made = nri.NriContainer("id-9", "sandbox", "uid-1", "new", state=nri.NriContainerState.CREATED)
    running = dataclasses.replace(DB, state=nri.NriContainerState.RUNNING)
    await plugin.synchronize([POD], [running, stopped, being_made])
    (known,) = inventory.all()
    assert (known.pod_uid, known.namespace, known.pod_name, known.name, known.started) == (
        "uid-1",
        "shop",
        "db",
        "db",
        5.0,
    )
    new = nri.NriContainer("id-2", "sandbox", "uid-1", "log", created_at=1)
    await plugin.event(nri.NriEvent.POST_START_CONTAINER, POD, new)
    assert {container.id for container in inventory.all()} == {"id-1", "id-2"}
    await plugin.stop_container(POD, DB)
    await plugin.event(nri.NriEvent.REMOVE_CONTAINER, POD, new)
    assert {container.id for container in inventory.all()} == {"id-1", "id-2"}, "they ended a moment ago"


async def test_a_container_that_exists_and_does_not_run_yet_is_looked_at(plugin, hook, inventory):
    await plugin.event(nri.NriEvent.START_CONTAINER, POD, DB)
    assert [cgroup.id for cgroup in hook.created] == ["id-1"]
    assert [container.id for container in inventory.all()] == ["id-1"]
    foreign = nri.PodSandbox(id="x", uid="", namespace="", name="x", cgroup_parent="/user.slice")
    await plugin.event(nri.NriEvent.START_CONTAINER, foreign, DB)
    assert len(hook.created) == 1


@pytest.mark.parametrize(
    ("parent", "qos"),
    [
        ("/kubepods.slice/kubepods-podx.slice", Qos.GUARANTEED),
        ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podx.slice", Qos.BURSTABLE),
        ("kubepods-besteffort-podx.slice", Qos.BEST_EFFORT),
        ("kubepods-podx.slice", Qos.GUARANTEED),
        ("/kubepods/burstable/podx", Qos.BURSTABLE),
        ("/kubepods/podx", Qos.GUARANTEED),
        ("/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podx.slice", Qos.GUARANTEED),
        ("/user.slice", None),
        ("", None),
    ],
)
def test_the_class_of_a_pod_is_where_its_cgroup_is(parent, qos):
    assert qos_of(parent) is qos


def test_a_pod_from_a_file_is_local():
    static = nri.PodSandbox(
        "s", "hash", "kube-system", "etcd", {}, {"kubernetes.io/config.source": "file"}, "", POD.cgroup_parent
    )
    assert is_local(static)
    from_api = nri.PodSandbox(
        "s", "uid", "shop", "db", {}, {"kubernetes.io/config.source": "api"}, "", POD.cgroup_parent
    )
    assert not is_local(from_api)


def is_local(pod):
    starting = starting_of(pod, DB)
    assert starting is not None
    return starting.local


@pytest.mark.parametrize(
    ("closed", "policy"), [(True, nri.FailurePolicy.FAIL), (False, nri.FailurePolicy.IGNORE)]
)
def test_the_hook_says_which_failure_policy_is_registered(plugin, hook, closed, policy):
    hook.closed = closed
    assert plugin.failure_policy() is policy


async def test_a_sandbox_says_that_the_kubelet_has_admitted_its_pod(plugin, hook):
    await plugin.event(nri.NriEvent.RUN_POD_SANDBOX, POD, None)
    assert hook.admitted == [POD.uid]

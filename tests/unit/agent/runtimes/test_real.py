import asyncio
import socket as sockets

import pytest
from podnuma.agent.cri import sockets as cri_sockets
from podnuma.agent.cri import watch
from podnuma.agent.cri.values import CriContainer, CriContainerState
from podnuma.agent.nri.link import LinkState
from podnuma.agent.nri.values import FailurePolicy
from podnuma.agent.runtimes import real
from podnuma.agent.runtimes.backend import NodeNotReady
from podnuma.agent.settings import AgentSettings, Runtime


def side(root, runtime=Runtime.AUTO, kubepods="kubepods.slice"):
    (root / "cgroup" / kubepods).mkdir(parents=True, exist_ok=True)
    (root / "cgroup/cgroup.controllers").write_text("cpuset cpu")
    settings = AgentSettings("node", cgroup_root=root / "cgroup", run_root=root / "run", runtime=runtime)
    return real.real_backend(settings, lambda: None)


def test_a_node_without_cgroup_v2_is_told_what_it_needs(tmp_path):
    (tmp_path / "cgroup").mkdir()
    with pytest.raises(NodeNotReady, match="is not a cgroup v2 mount"):
        real.real_backend(AgentSettings("node", cgroup_root=tmp_path / "cgroup"), lambda: None)


@pytest.mark.parametrize("controllers", ["cpu io memory pids", ""])
def test_a_node_without_the_cpuset_controller_pins_nothing_and_says_so(tmp_path, controllers):
    """k3d-io/k3d#1082: with its values runtimes would start no container that holds CPUs."""
    (tmp_path / "kubepods.slice").mkdir()
    (tmp_path / "cgroup.controllers").write_text(f"{controllers}\n")
    with pytest.raises(NodeNotReady, match=f"lacks cpuset \\({controllers or 'it is empty'}\\)"):
        real.real_backend(AgentSettings("node", cgroup_root=tmp_path), lambda: None)


def test_a_node_whose_kubelet_has_not_started_is_waited_for(tmp_path):
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu")
    with pytest.raises(NodeNotReady, match=r"no kubepods yet.* cgroupsPerQOS: false"):
        real.real_backend(AgentSettings("node", cgroup_root=tmp_path), lambda: None)


@pytest.mark.parametrize(
    ("runtime", "kubepods", "names"),
    [
        (Runtime.AUTO, "kubepods.slice", ["NRI", "CRI", "Systemd", "Files"]),
        (Runtime.NRI, "kubepods.slice", ["NRI", "Systemd", "Files"]),
        (Runtime.CRI, "kubepods", ["CRI", "Files"]),
    ],
)
def test_ways_to_write_follow_from_what_the_node_has(tmp_path, runtime, kubepods, names):
    assert [way.name for way in side(tmp_path, runtime, kubepods).mechanisms] == names


async def test_while_nobody_is_connected_nothing_is_known_about_containers(tmp_path):
    with pytest.raises(OSError, match="no runtime is connected; NRI: not started; CRI: not asked yet"):
        await side(tmp_path).runtime.containers()


async def test_the_last_word_of_a_lost_runtime_counts_for_a_while(tmp_path, monkeypatch):
    node = side(tmp_path).runtime
    node._seen_at = asyncio.get_running_loop().time()
    assert await node.containers() == ()
    monkeypatch.setattr(real, "_GRACE", 0.0)
    with pytest.raises(OSError, match="no runtime is connected"):
        await node.containers()


async def test_a_socket_is_looked_for_until_there_is_one(tmp_path, monkeypatch, reached):
    monkeypatch.setattr(real, "_HEAD_START", 0.0)
    monkeypatch.setattr(real, "_LOOK_AGAIN", 0.01)
    node = side(tmp_path, Runtime.CRI).runtime
    task = asyncio.create_task(node._follow_cri())
    try:
        await reached(lambda: "no runtime listens" in (node._cri_trouble or ""))
        path = tmp_path / "run/containerd/containerd.sock"
        path.parent.mkdir(parents=True)
        with sockets.socket(sockets.AF_UNIX) as server:
            server.bind(str(path))
            await reached(lambda: "no socket" not in (node._cri_trouble or ""))
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Wish:
    """A hook and a plugin whose failure policy changes when a test says so, and a link that takes it."""

    def __init__(self):
        self.policy = FailurePolicy.IGNORE
        self.registered = []
        self.changed = asyncio.Event()

    def fail_closed(self):
        return self.policy is FailurePolicy.FAIL

    def failure_policy(self):
        return self.policy

    def register_with(self, policy):
        self.registered.append(policy)

    async def wait_fail_closed(self, *, closed):
        while self.fail_closed() is not closed:
            await self.changed.wait()
            self.changed.clear()


async def test_a_profile_that_changes_its_mind_about_undecided_starts_is_told_to_the_runtime(
    tmp_path, reached
):
    node, wish = side(tmp_path).runtime, Wish()
    node.link = wish
    task = asyncio.create_task(node._follow_failure_policy(wish, wish))
    try:
        for policy in (FailurePolicy.FAIL, FailurePolicy.IGNORE):
            wish.policy = policy
            wish.changed.set()
            await reached(lambda expected=policy: wish.registered[-1:] == [expected])
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_container_that_nri_missed_is_known_soon(tmp_path, monkeypatch, reached):
    """Its cgroup is there, NRI is connected, and the CRI lists it."""
    monkeypatch.setattr(real, "_LOOK_AT_CGROUPS", 0.01)
    node = side(tmp_path).runtime
    container_id = "a" * 64
    pod = tmp_path / "cgroup/kubepods.slice/kubepods-podu1.slice"
    (pod / f"cri-containerd-{container_id}.scope").mkdir(parents=True)
    monkeypatch.setattr(type(node.link), "state", LinkState.SYNCHRONIZED)

    async def ask(_):
        return [CriContainer(container_id, "", "u1", "default", "p", "db", 0, CriContainerState.RUNNING, 1)]

    monkeypatch.setattr(type(node), "_ask_cri", ask)
    task = asyncio.create_task(node._look_for_missed(lambda _: set()))
    try:
        await reached(lambda: node._by_nri.all() != ())
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    (found,) = await node.containers()
    assert (found.id, found.pod_uid, found.name) == (container_id, "u1", "db")


def test_a_runtime_that_tells_nothing_any_more_is_registered_with_anew(tmp_path, monkeypatch):
    """Some go on without a plugin that was late and leave it connected."""
    node = side(tmp_path).runtime
    heard = [3]
    ended: list[str] = []
    monkeypatch.setattr(type(node.link), "heard", property(lambda _: heard[0]))
    monkeypatch.setattr(node.link, "register_anew", ended.append)

    def missed(number):
        container_id = str(number) * 64
        return CriContainer(container_id, "", "u1", "default", "p", "db", 0, CriContainerState.RUNNING, 1)

    node._found_missed([missed(1), missed(2)])
    heard[0] += 1
    node._found_missed([missed(3)])
    assert ended == [], "one that it missed is no reason: to register holds up each start on the node"
    node._found_missed([missed(4)])
    (why,) = ended
    assert "plugin_request_timeout" in why
    assert len(node._by_nri.all()) == 4


async def test_without_a_socket_nobody_can_be_asked_who_a_container_is(tmp_path):
    with pytest.raises(OSError, match=r"no runtime listens .*agent.runtimeDirectory"):
        await side(tmp_path).runtime._ask_cri()


async def test_runtimes_of_which_none_has_a_container_of_a_pod_are_named(tmp_path, monkeypatch, reached):
    """None of them is the kubelet's, and none is followed as if it were."""

    async def none(*_):
        return None

    monkeypatch.setattr(real, "_HEAD_START", 0.0)
    monkeypatch.setattr(real, "choose_socket", none)
    found = [tmp_path / "run/crio/crio.sock", tmp_path / "run/containerd/containerd.sock"]
    monkeypatch.setattr(cri_sockets, "find_sockets", lambda _: tuple(found))
    node = side(tmp_path, Runtime.CRI).runtime
    task = asyncio.create_task(node._follow_cri())
    try:
        await reached(lambda: "none of the runtimes at" in (node._cri_trouble or ""))
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert node._cri_trouble == (
        f"none of the runtimes at {found[0]}, {found[1]} lists a container of this node's pods;"
        " --cri-socket of the agent names the one that the kubelet uses"
    )


@pytest.mark.timeout(10)
async def test_a_socket_at_which_nobody_has_ever_answered_is_left_for_another(tmp_path, monkeypatch):
    """cri-o/cri-o#4445: a runtime that is starting, or hangs, beside the one that the kubelet uses."""

    async def never(_):
        while True:
            yield watch.RuntimeLost("no answer")
            await asyncio.sleep(0)

    monkeypatch.setattr(watch, "watch", never)
    node = side(tmp_path, Runtime.CRI).runtime
    await node._follow(tmp_path / "run/crio/crio.sock")
    with pytest.raises(OSError, match="CRI: no answer"):
        await node.containers()


@pytest.mark.timeout(10)
async def test_a_runtime_that_may_not_be_looked_at_is_told_with_what_to_set(tmp_path, monkeypatch, reached):
    """suse-edge/charts#126: the part that asks the runtime ended with a traceback, again and again."""

    def denied(root):
        raise PermissionError(13, "Permission denied", str(root / "run/crio/crio.sock"))

    monkeypatch.setattr(cri_sockets, "find_sockets", denied)
    monkeypatch.setattr(real, "_HEAD_START", 0)
    node = side(tmp_path, Runtime.CRI).runtime
    following = asyncio.create_task(node._follow_cri())
    await reached(lambda: "not asked" not in (node._cri_trouble or ""))
    with pytest.raises(OSError, match=r"Permission denied.*agent\.seLinuxType"):
        await node.containers()
    assert not following.done()
    following.cancel()

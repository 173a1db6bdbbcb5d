"""Containers of which NRI does not tell: containerd/containerd#13698, cri-o/cri-o#10090."""

import pytest
from podnuma.agent.cri.values import CriContainer, CriContainerState
from podnuma.agent.runtimes.missed import MissedContainers

RUNNING, CREATED, EXITED = CriContainerState.RUNNING, CriContainerState.CREATED, CriContainerState.EXITED


class Runtime:
    """What NRI told of, what the CRI lists, how often it was asked, and who was found."""

    def __init__(self, reader):
        self.told: set[str] = set()
        self.listed = {}
        self.asked = 0
        self.found = []
        self.missed = MissedContainers(reader, lambda _: self.told, self.ask, self.take)

    async def ask(self):
        self.asked += 1
        return [
            CriContainer(id=id_, pod_sandbox_id="", pod_uid="db", pod_namespace="default", pod_name="db",
                         name="db", attempt=0, state=state, created_at=1)
            for id_, state in self.listed.items()
        ]  # fmt: skip

    def take(self, containers):
        self.found += [container.id for container in containers]
        self.told.update(self.found)


@pytest.fixture
def runtime(bench):
    return Runtime(bench.reader)


async def test_a_container_of_which_nri_does_not_tell_is_found_by_its_cgroup(bench, runtime):
    pod = bench.pod("db")
    sandbox, told, missed = (bench.start(pod, name).id for name in ("pause", "log", "db"))
    runtime.told = {sandbox, told}
    runtime.listed = {told: RUNNING, missed: RUNNING}
    await runtime.missed.look()
    assert (runtime.asked, runtime.found) == (0, []), "it may just be starting"
    await runtime.missed.look()
    assert (runtime.asked, runtime.found) == (1, [missed])
    await runtime.missed.look()
    assert runtime.asked == 1


@pytest.mark.parametrize("listed", [None, EXITED])
async def test_who_is_no_running_container_is_asked_for_once(bench, runtime, listed):
    """A sandbox that NRI did not tell of either, say (containerd/nri#63)."""
    sandbox = bench.start(bench.pod("db"), "pause")
    runtime.listed = {} if listed is None else {sandbox.id: listed}
    for _ in range(4):
        await runtime.missed.look()
    assert (runtime.asked, runtime.found) == (1, [])


async def test_a_container_that_is_being_set_up_is_looked_at_again(bench, runtime):
    db = bench.start(bench.pod("db"), "db")
    runtime.listed = {db.id: CREATED}
    for _ in range(3):
        await runtime.missed.look()
    assert runtime.found == []
    runtime.listed = {db.id: RUNNING}
    await runtime.missed.look()
    assert runtime.found == [db.id]


async def test_where_nri_tells_of_everybody_nobody_is_asked(bench, runtime):
    runtime.told = {bench.start(bench.pod("db"), name).id for name in ("pause", "db")}
    for _ in range(3):
        await runtime.missed.look()
    assert runtime.asked == 0

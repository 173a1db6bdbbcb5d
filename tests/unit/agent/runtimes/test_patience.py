import asyncio
from typing import TYPE_CHECKING

import pytest
from podnuma.agent.cgroups.layout import CgroupDriver, CgroupLayout
from podnuma.agent.cgroups.reader import CgroupReader
from podnuma.agent.cgroups.writers import systemd
from podnuma.agent.cri.errors import LateError
from podnuma.agent.cri.values import UpdateOutcome
from podnuma.agent.model.cgroup_ref import ContainerCgroup, PodCgroup
from podnuma.agent.model.cgroup_values import CgroupWrite
from podnuma.agent.nri import values as nri
from podnuma.agent.nri.link import LinkState
from podnuma.agent.reconcile.apply import Mechanism, WriteOutcome, apply_writes
from podnuma.agent.runtimes.mechanisms import CriMechanism, NriMechanism, SystemdMechanism
from podnuma.agent.runtimes.patience import Patient
from podnuma.agent.runtimes.start_priority import StartPriority
from podnuma.allocator import cpuset
from podnuma.allocator.request import Qos

if TYPE_CHECKING:
    from collections.abc import Callable

PODS = [PodCgroup(f"p{number}", Qos.GUARANTEED) for number in range(50)]
CONTAINERS = [ContainerCgroup(pod, "c", f"{pod.uid:0<16}") for pod in PODS]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Far:
    """A systemd and a runtime; `hangs`: those about which it does not answer."""

    state, runtime = LinkState.SYNCHRONIZED, nri.RuntimeInfo("containerd", "v2", (0, 12, 1))

    def __init__(self, hangs) -> None:
        self.hangs = set(hangs)
        self.asked: list[str] = []

    def ask(self, about):
        self.asked.append(about)
        return about in self.hangs

    async def set_unit_properties(self, unit, properties):
        del properties
        if self.ask(unit):
            await asyncio.Event().wait()

    async def update_containers(self, updates):
        if self.ask(updates[0].container_id):
            raise TimeoutError
        return ()

    async def update(self, container_id, resources):
        del resources
        if self.ask(container_id):
            raise LateError("UpdateContainerResources", "DEADLINE_EXCEEDED", "late")
        return UpdateOutcome.UPDATED


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def patient(clock, tmp_path, monkeypatch):
    """Return a function that makes the way to write of a name, to a far end."""
    monkeypatch.setattr(systemd, "_DEADLINE", 0.02)

    def make(name, far, most):
        async def connect():
            return far

        reader = CgroupReader(tmp_path, CgroupLayout(CgroupDriver.SYSTEMD))
        ways: dict[str, Callable[[], Mechanism]] = {
            "Systemd": lambda: SystemdMechanism(systemd.SystemdWriter(connect, reader.layout), reader),
            "NRI": lambda: NriMechanism(far, StartPriority()),
            "CRI": lambda: CriMechanism(lambda: far, StartPriority()),
        }
        return Patient(ways[name](), most, clock)

    return make


async def run(way, cgroups):
    writes = [CgroupWrite(cgroup, cpuset.parse("1")) for cgroup in cgroups]
    return [result.outcome for result in await apply_writes(writes, [way], {}, lambda: True)]


@pytest.mark.parametrize(("name", "most"), [("Systemd", 1), ("NRI", 3), ("CRI", 3)])
async def test_a_pass_waits_for_a_few_unanswered_writes_and_not_for_hundreds(patient, clock, name, most):
    cgroups = PODS if name == "Systemd" else CONTAINERS
    units = CgroupLayout(CgroupDriver.SYSTEMD)
    far = Far(units.unit(pod) for pod in PODS) if name == "Systemd" else Far(each.id for each in CONTAINERS)
    way = patient(name, far, most)
    assert set(await run(way, cgroups)) == {WriteOutcome.REFUSED}
    assert len(far.asked) == most
    clock.now += 6.0
    far.hangs.clear()
    assert set(await run(way, cgroups)) == {WriteOutcome.DONE}


@pytest.mark.parametrize("name", ["NRI", "CRI"])
async def test_a_single_container_that_hangs_holds_nobody_else_up(patient, name):
    way = patient(name, Far([CONTAINERS[0].id]), 3)
    for _ in range(5):
        assert await run(way, CONTAINERS) == [WriteOutcome.REFUSED] + [WriteOutcome.DONE] * 49

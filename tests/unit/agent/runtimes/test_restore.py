from typing import TYPE_CHECKING, cast

import pytest
from podnuma.agent.cgroups.writers.refusals import CgroupGone, WriteRefused
from podnuma.agent.cgroups.writers.systemd import NoSuchUnit, SystemdWriter
from podnuma.agent.cri.values import UpdateOutcome
from podnuma.agent.model.cgroup_values import CgroupWrite
from podnuma.agent.runtimes.restore import Restorer

if TYPE_CHECKING:
    from podnuma.agent.cri.client import CriClient


class Forgetful:
    """A runtime that knows no container."""

    async def update(self, container_id, resources):
        del container_id, resources
        return UpdateOutcome.GONE


async def test_a_container_that_its_runtime_has_forgotten_is_given_back_all_the_same(bench, words):
    """Else it is said to be given back, and stays on its CPUs until it ends."""
    cgroup = bench.start(bench.pod("db"), "db")
    bench.put(cgroup, "cpuset.cpus", "1,9")
    restorer = Restorer(bench.reader, cast("CriClient", Forgetful()), None, bench.writer)
    await restorer.restore(CgroupWrite(cgroup, words.cpus("0-15")), empty=True)
    assert bench.cpus(cgroup) == ""
    bench.stop(cgroup)
    with pytest.raises(CgroupGone):
        await restorer.restore(CgroupWrite(cgroup, words.cpus("0-15")), empty=True)


class Bus:
    """A systemd that answers each question with one error."""

    def __init__(self, error):
        self.error = error

    async def connect(self):
        return self

    async def set_unit_properties(self, unit, properties):
        del unit, properties
        raise self.error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (NoSuchUnit("Unit crio-db.scope not found."), ""),
        (OSError("Cannot set property AllowedCPUs, or unknown property."), "unknown property"),
    ],
)
async def test_what_systemd_cannot_give_back_is_given_back_by_file(bench, words, error, told):
    """A unit that systemd does not know any more is no cgroup that is gone; a refusal is told besides."""
    cgroup = bench.start(bench.pod("db"), "db")
    bench.put(cgroup, "cpuset.cpus", "1,9")
    restorer = Restorer(bench.reader, None, SystemdWriter(Bus(error).connect, bench.layout), bench.writer)
    said = ""
    try:
        await restorer.restore(CgroupWrite(cgroup, words.cpus("0-15")), empty=True)
    except WriteRefused as refused:
        said = refused.why
    assert told in said
    assert bool(told) == bool(said)
    assert bench.cpus(cgroup) == ""

import asyncio

import pytest
from podnuma.agent.cgroups.layout import CgroupDriver, CgroupLayout
from podnuma.agent.cgroups.writers import systemd
from podnuma.agent.cgroups.writers.refusals import CgroupGone, WriteRefused
from podnuma.agent.model.cgroup_ref import PodCgroup, QosCgroup
from podnuma.agent.model.cgroup_values import CgroupWrite, CpuMax
from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.request import Qos


class Bus:
    def __init__(self, error=None):
        self.error = error
        self.calls = []

    async def set_unit_properties(self, unit, properties):
        self.calls.append((unit, list(properties)))
        if self.error is not None:
            raise self.error


def write(bus, write, unit=None):
    async def connect():
        return bus

    asyncio.run(systemd.SystemdWriter(connect, CgroupLayout(CgroupDriver.SYSTEMD)).write(write, unit))


def test_a_slice_is_confined_by_a_mask_of_bytes_lowest_first():
    bus = Bus()
    write(bus, CgroupWrite(QosCgroup(Qos.BURSTABLE), cpuset.parse("0,3-8,11-15")))
    assert bus.calls == [
        ("kubepods-burstable.slice", [("AllowedCPUs", "ay", bytes([0b11111001, 0b11111001]))])
    ]


def test_cpu_ids_above_255_have_their_place_in_the_mask():
    mask = systemd.unit_mask(cpuset.parse("300"))
    assert len(mask) == 38
    assert mask[37] == 1 << 4


def test_quota_is_spelled_per_second_with_its_period():
    bus = Bus()
    pod = PodCgroup("0f-1", Qos.GUARANTEED)
    write(bus, CgroupWrite(pod, cpu_max=CpuMax(300_000, 100_000)))
    write(bus, CgroupWrite(pod, mems=nodeset.parse("1"), cpu_max=CpuMax(None, 100_000)))
    assert bus.calls == [
        (
            "kubepods-pod0f_1.slice",
            [("CPUQuotaPerSecUSec", "t", 3_000_000), ("CPUQuotaPeriodUSec", "t", 100_000)],
        ),
        (
            "kubepods-pod0f_1.slice",
            [
                ("AllowedMemoryNodes", "ay", b"\x02"),
                ("CPUQuotaPerSecUSec", "t", 2**64 - 1),
                ("CPUQuotaPeriodUSec", "t", 100_000),
            ],
        ),
    ]


def test_a_unit_that_is_gone_is_gone():
    with pytest.raises(CgroupGone):
        write(Bus(systemd.NoSuchUnit("x")), CgroupWrite(QosCgroup(Qos.BURSTABLE), cpuset.parse("1")))


def test_a_refusal_names_unit_value_and_text():
    with pytest.raises(WriteRefused) as caught:
        write(Bus(OSError("Access denied")), CgroupWrite(QosCgroup(Qos.BURSTABLE), cpuset.parse("1-2")))
    assert str(caught.value) == "kubepods-burstable.slice <- AllowedCPUs=1-2: Access denied"


def test_a_bus_that_does_not_answer_is_given_up(monkeypatch):
    monkeypatch.setattr(systemd, "_DEADLINE", 0.01)

    class Silent(Bus):
        async def set_unit_properties(self, *_):
            await asyncio.Event().wait()

    with pytest.raises(WriteRefused, match="did not answer"):
        write(Silent(), CgroupWrite(QosCgroup(Qos.BURSTABLE), cpuset.parse("1")))


def test_the_empty_set_is_never_sent():
    with pytest.raises(ValueError, match="never written"):
        write(Bus(), CgroupWrite(QosCgroup(Qos.BURSTABLE), cpuset.EMPTY))

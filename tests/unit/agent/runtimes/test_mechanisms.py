from types import SimpleNamespace

import pytest
from podnuma.agent.cgroups.layout import CgroupDriver, CgroupLayout
from podnuma.agent.cgroups.reader import CgroupReader
from podnuma.agent.cgroups.writers.cgroupfs import CgroupfsWriter
from podnuma.agent.cgroups.writers.refusals import CgroupGone, NotAnswered, WriteRefused
from podnuma.agent.cgroups.writers.systemd import NoSuchUnit, SystemdWriter
from podnuma.agent.cri import values as cri
from podnuma.agent.cri.errors import LateError
from podnuma.agent.model.cgroup_ref import ContainerCgroup, PodCgroup, QosCgroup
from podnuma.agent.model.cgroup_values import CgroupWrite, CpuMax
from podnuma.agent.nri import values as nri
from podnuma.agent.nri.errors import NotConnectedError
from podnuma.agent.nri.link import LinkState
from podnuma.agent.runtimes.mechanisms import CriMechanism, FilesMechanism, NriMechanism, SystemdMechanism
from podnuma.agent.runtimes.start_priority import StartPriority
from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.request import Qos

SLICE = QosCgroup(Qos.BURSTABLE)
DB = ContainerCgroup(PodCgroup("db", Qos.GUARANTEED), "db", "0123456789abcdef")
STEP = CgroupWrite(DB, cpuset.parse("1,9"), nodeset.parse("0"), CpuMax(None, 100_000))


class Link:
    def __init__(self, version=(0, 12, 1), failed=(), error=None):
        self.runtime = nri.RuntimeInfo("containerd", "v2", version)
        self.state = LinkState.SYNCHRONIZED
        self.failed = failed
        self.error = error
        self.updates = []

    async def update_containers(self, updates):
        self.updates += updates
        if self.error is not None:
            raise self.error
        return self.failed


async def test_nri_takes_containers_where_updates_cannot_deadlock():
    assert NriMechanism(Link(), StartPriority()).takes(DB)
    assert not NriMechanism(Link(), StartPriority()).takes(SLICE)
    assert not NriMechanism(Link(version=(0, 11, 0)), StartPriority()).takes(DB)
    down = Link()
    down.state = LinkState.DOWN
    assert not NriMechanism(down, StartPriority()).takes(DB)


async def test_nri_sends_named_fields():
    link = Link()
    await NriMechanism(link, StartPriority()).write(STEP)
    assert link.updates == [
        nri.ContainerUpdate(DB.id, nri.LinuxResources(cpus="1,9", mems="0", cpu_quota=-1, cpu_period=100_000))
    ]
    assert not link.updates[0].resources.unified


@pytest.mark.parametrize(
    "link",
    [Link(failed=(nri.ContainerUpdate("x", nri.LinuxResources()),)), Link(error=NotConnectedError("away"))],
)
async def test_a_refusal_by_nri_is_told(link):
    with pytest.raises(WriteRefused, match="cpus 1,9"):
        await NriMechanism(link, StartPriority()).write(STEP)


class Client:
    def __init__(self, answer):
        self.answer = answer
        self.updates = []

    async def update(self, container_id, resources):
        self.updates.append((container_id, resources))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_cri_sends_what_changes_and_nothing_else():
    client = Client(cri.UpdateOutcome.UPDATED)
    await CriMechanism(lambda: client, StartPriority()).write(CgroupWrite(DB, cpuset.parse("1,9")))
    assert client.updates == [(DB.id, cri.LinuxContainerResources(cpus="1,9"))]


async def test_an_ended_container_is_gone_and_a_late_answer_is_due_again():
    with pytest.raises(CgroupGone):
        await CriMechanism(lambda: Client(cri.UpdateOutcome.GONE), StartPriority()).write(STEP)
    with pytest.raises(WriteRefused):
        await CriMechanism(
            lambda: Client(LateError("Update", "DEADLINE_EXCEEDED", "")), StartPriority()
        ).write(STEP)


async def test_without_a_socket_cri_takes_nothing():
    assert not CriMechanism(lambda: None, StartPriority()).takes(DB)


async def test_units_are_found_by_the_name_that_the_runtime_gave(tmp_path):
    reader = CgroupReader(tmp_path, CgroupLayout(CgroupDriver.SYSTEMD))
    (tmp_path / "kubepods.slice/kubepods-poddb.slice" / f"crio-{DB.id}.scope").mkdir(parents=True)
    calls = []

    async def connect():
        return SimpleNamespace(set_unit_properties=record)

    async def record(unit, _):
        calls.append(unit)

    systemd = SystemdMechanism(SystemdWriter(connect, reader.layout), reader)
    await systemd.write(CgroupWrite(DB, cpuset.parse("1")))
    await systemd.write(CgroupWrite(SLICE, cpuset.parse("1")))
    assert calls == [f"crio-{DB.id}.scope", "kubepods-burstable.slice"]
    with pytest.raises(CgroupGone):
        await systemd.write(CgroupWrite(ContainerCgroup(DB.pod, "gone", "f" * 16), cpuset.parse("1")))


async def test_files_are_written_where_the_runtime_made_them(tmp_path):
    layout = CgroupLayout(CgroupDriver.CGROUPFS)
    folder = tmp_path / "kubepods/poddb" / f"crio-{DB.id}"
    folder.mkdir(parents=True)
    (folder / "cpuset.cpus").write_text("")
    files = FilesMechanism(CgroupfsWriter(tmp_path, layout), CgroupReader(tmp_path, layout))
    await files.write(CgroupWrite(DB, cpuset.parse("1,9")))
    assert (folder / "cpuset.cpus").read_text() == "1,9\n"


@pytest.mark.parametrize("driver", CgroupDriver)
async def test_what_crun_left_in_the_group_of_the_processes_is_replaced_too(tmp_path, driver):
    """cri-o/cri-o#9251: a container created with a quota keeps it in there, whatever is set above."""
    layout = CgroupLayout(driver)
    reader = CgroupReader(tmp_path, layout)
    folder = (
        tmp_path
        / layout.pod(DB.pod)
        / (f"crio-{DB.id}" + (".scope" if driver is CgroupDriver.SYSTEMD else ""))
    )
    leaf = folder / "container"
    leaf.mkdir(parents=True)
    for where in (folder, leaf):
        (where / "cpuset.cpus").write_text("")
        (where / "cpuset.mems").write_text("0-1\n")
        (where / "cpuset.cpus.effective").write_text("0-15\n")
        (where / "cpu.max").write_text("200000 100000\n")

    async def connect():
        return SimpleNamespace(set_unit_properties=accept)

    async def accept(unit, properties):
        del unit, properties

    way = (
        SystemdMechanism(SystemdWriter(connect, layout), reader)
        if driver is CgroupDriver.SYSTEMD
        else FilesMechanism(CgroupfsWriter(tmp_path, layout), reader)
    )
    await way.write(CgroupWrite(DB, cpuset.parse("1,9"), nodeset.parse("0"), CpuMax(None, 100_000)))
    assert (leaf / "cpu.max").read_text() == "max 100000\n"
    assert (leaf / "cpuset.mems").read_text() == "0\n"
    assert (leaf / "cpuset.cpus").read_text() == "", "it follows the container's own"


def of_systemd(root, answer: Exception | None):
    """Return the way by files where systemd is in charge and answers so, what it is asked for, and a file."""
    layout = CgroupLayout(CgroupDriver.SYSTEMD)
    asked: list[str] = []

    async def set_properties(unit, properties):
        asked.append(f"{unit} {[name for name, _, _ in properties]}")
        if answer is not None:
            raise answer

    async def connect():
        return SimpleNamespace(set_unit_properties=set_properties)

    file = root / layout.qos(Qos.BURSTABLE) / "cpuset.cpus"
    file.parent.mkdir(parents=True)
    file.write_text("")
    units = SystemdWriter(connect, layout)
    return FilesMechanism(CgroupfsWriter(root, layout), CgroupReader(root, layout), units), asked, file


@pytest.mark.parametrize("answer", [None, NoSuchUnit("kubepods-burstable.slice"), OSError("refused")])
async def test_systemd_is_told_what_is_written_by_file_so_that_it_puts_nothing_older_back(tmp_path, answer):
    files, asked, file = of_systemd(tmp_path, answer)
    await files.write(CgroupWrite(SLICE, cpuset.parse("1,9")))
    assert asked == ["kubepods-burstable.slice ['AllowedCPUs']"]
    assert file.read_text() == "1,9\n"


async def test_while_systemd_does_not_answer_no_file_is_written_either(tmp_path):
    """What it was asked for it may carry out late, over the file."""
    files, _, file = of_systemd(tmp_path, TimeoutError())
    with pytest.raises(NotAnswered):
        await files.write(CgroupWrite(SLICE, cpuset.parse("1,9")))
    assert file.read_text() == ""

"""Hardware survives the API unchanged, and hardware that contradicts itself is refused."""

import datetime as dt
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podnuma.allocator import cpuset
from podnuma.api.decoding import FieldErrors, Fields, InvalidObjectError
from podnuma.api.hardware import Hardware, read_hardware, render_hardware

from tests.unit.api.objects import MACHINES, cpu_sets, machine, topologies

SMALL = {
    "cores": [{"id": 0, "cpus": "0,2"}, {"id": 1, "cpus": "1,3"}],
    "sockets": [{"id": 0, "cpus": "0-3"}],
    "caches": [{"id": 7, "cpus": "0-3"}],
    "numaNodes": [
        {
            "id": 0,
            "cpus": "0-3",
            "memory": "8Gi",
            "hugepages": {"hugepages-2Mi": "1Gi"},
            "distances": [10, 21],
        },
        {"id": 4, "cpus": "", "memory": "4Gi", "distances": [21, 10]},
    ],
}


def read(body) -> Hardware:
    fields = Fields.of(body, "status.hardware", FieldErrors())
    found = read_hardware(fields)
    fields.errors.check("NodeTopology w1")
    assert found is not None
    return found


def test_a_small_machine_reads_as_what_it_is():
    topology = read(SMALL).topology
    assert [(cpu.id, cpu.core, cpu.socket, cpu.node, cpu.uncore) for cpu in topology.cpus] == [
        (0, 0, 0, 0, 7),
        (1, 1, 0, 0, 7),
        (2, 0, 0, 0, 7),
        (3, 1, 0, 0, 7),
    ]
    assert [(node.id, node.memory) for node in topology.nodes] == [(0, 8 * 2**30), (4, 4 * 2**30)]
    assert topology.nodes[0].hugepages == {"hugepages-2Mi": 2**30}
    assert topology.nodes[1].distances == (21, 10)


@pytest.mark.parametrize("path", MACHINES, ids=lambda path: path.stem)
def test_every_recorded_machine_is_read_as_it_was_rendered(path):
    hardware = Hardware(machine(path))
    body = json.loads(json.dumps(render_hardware(hardware)))
    assert read(body) == hardware


def test_a_machine_of_384_cpus_takes_few_kilobytes():
    (path,) = [path for path in MACHINES if "384cpu" in path.stem]
    assert len(json.dumps(render_hardware(Hardware(machine(path))))) < 10_000


@given(topologies(), cpu_sets | st.just(cpuset.EMPTY))
def test_any_machine_is_read_as_it_was_rendered(topology, offline):
    machine = replace(topology, offline=cpuset.CpuSet(offline & ~topology.all_cpus))
    hardware = Hardware(machine, ("cpu7/topology/core_id: permission denied",))
    assert read(json.loads(json.dumps(render_hardware(hardware)))) == hardware


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cores": [{"id": 0, "cpus": "0-2"}]}, 'status.hardware.cores "3": these CPUs are missing'),
        ({"sockets": [{"id": 0, "cpus": "0-5"}]}, 'sockets "4-5": these CPUs are in none of the numaNodes'),
        ({"caches": [{"id": 0, "cpus": "9"}]}, 'caches "9": these CPUs are in none of the numaNodes'),
        (
            {"cores": [{"id": 0, "cpus": "0-2"}, {"id": 1, "cpus": "2-3"}]},
            'cores "2": these CPUs are listed twice',
        ),
        ({"cores": [{"id": 0, "cpus": "0-3,"}]}, r"cores\[0\].cpus .*is not an id or a range"),
        ({"numaNodes": []}, "in none of the numaNodes"),
        ({"numaNodes": [{"id": 0, "cpus": "0-3"}]}, r"numaNodes\[0\].memory: is required"),
        ({"cores": [{"id": 0, "cpus": "0-20000"}]}, "cores: has more than 8192 CPUs"),
        (
            {"numaNodes": [{"id": 0, "cpus": "0-3", "memory": "1Gi", "distances": [10, 20]}]},
            "NUMA node 0 lists 2 distances",
        ),
        (
            {
                "numaNodes": [
                    {"id": 0, "cpus": "0-3", "memory": "1Gi"},
                    {"id": 0, "cpus": "", "memory": "1Gi"},
                ]
            },
            "NUMA node 0 is listed twice",
        ),
    ],
)
def test_hardware_that_contradicts_itself_is_refused(change, words):
    with pytest.raises(InvalidObjectError, match=words):
        read({**SMALL, **change})


def test_a_machine_without_cpus_is_refused():
    with pytest.raises(InvalidObjectError, match="no online CPU"):
        read({})


def test_cpus_without_a_cache_are_in_none():
    topology = read({**SMALL, "caches": [{"id": 0, "cpus": "0-2"}]}).topology
    assert [cpu.uncore for cpu in topology.cpus] == [0, 0, 0, None]
    assert render_hardware(Hardware(topology))["caches"] == [{"id": 0, "cpus": "0-2"}]


@pytest.mark.parametrize("number", [2**31, 2**32 - 1, 2**63 - 1])
def test_every_number_that_a_kernel_gives_a_cache_is_read(number):
    topology = read({**SMALL, "caches": [{"id": number, "cpus": "0-3"}]}).topology
    assert topology.caches == ((number, 0b1111),)


def test_cpus_with_unknown_siblings_are_in_no_core():
    body = {**SMALL, "cores": [{"id": 0, "cpus": "0,2"}], "unknownSiblingsCPUs": "1,3"}
    topology = read(body).topology
    assert topology.unknown_siblings == cpuset.parse("1,3")
    assert render_hardware(Hardware(topology)) == body


def test_nodes_of_one_kind_share_what_is_read():
    assert read(json.loads(json.dumps(SMALL))) is read(json.loads(json.dumps(SMALL)))
    other = SMALL | {"isolatedCPUs": "3"}
    assert read(other).topology.isolated == cpuset.parse("3")
    assert read(SMALL).topology.isolated == cpuset.EMPTY


def test_what_is_wrong_is_noted_each_time_at_its_path():
    for path in ("status.hardware", "elsewhere"):
        fields = Fields.of(SMALL | {"sockets": [{"id": 0, "cpus": "0-2"}]}, path, FieldErrors())
        assert read_hardware(fields) is None
        with pytest.raises(InvalidObjectError, match=f"{path}.sockets"):
            fields.errors.check("NodeTopology w1")


def test_values_that_are_no_json_are_refused_as_others_are():
    fields = Fields.of(SMALL | {"isolatedCPUs": dt.date(2026, 1, 1)}, "status.hardware", FieldErrors())
    assert read_hardware(fields) is None


def test_what_the_cgroup_of_all_pods_lacks_comes_back_as_it_was_written():
    body = SMALL | {"outsideKubepodsCPUs": "3", "outsideKubepodsMemoryNodes": "0"}
    found = read(body)
    assert (found.topology.outside, found.topology.outside_memory) == (cpuset.parse("3"), 1)
    assert render_hardware(found) == body

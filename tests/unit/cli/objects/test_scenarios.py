import pytest
from podnuma.allocator import CpuManagerPolicy, TopologyManagerPolicy, TopologyManagerScope, check
from podnuma.cli.objects.scenarios import ScenarioError, read_scenario, read_settings

NODES = [{"id": 0, "memoryBytes": 2**30}, {"id": 1, "memoryBytes": "2Gi", "hugepages": {"2Mi": "1Gi"}}]


def topology(**fields):
    return read_scenario({"topology": {"numaNodes": NODES, **fields}}).topology


@pytest.mark.parametrize(
    ("numbering", "cpu", "core", "node"),
    [
        ("linear", 1, 0, 0),
        ("linear", 8, 8, 1),
        ("interleaved", 1, 1, 0),
        ("interleaved", 8, 0, 0),
        ("interleaved", 4, 4, 1),
        ("roundrobin", 1, 1, 1),
        ("roundrobin", 2, 2, 0),
        ("roundrobin", 9, 1, 1),
    ],
)
def test_compact_machines_number_their_cpus(numbering, cpu, core, node):
    machine = topology(sockets=2, coresPerNuma=4, threadsPerCore=2, numbering=numbering)
    found = machine.cpus[cpu]
    assert len(machine.cpus) == 16
    # A core is named by its lowest CPU.
    assert (found.id, found.core, found.node, found.socket) == (cpu, core, node, node)


def test_caches_split_the_cores_of_a_node():
    machine = topology(sockets=2, coresPerNuma=4, uncorePerNuma=2)
    assert [cpu.uncore for cpu in machine.cpus] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_listed_cpus_with_equal_numbers_are_threads_of_one_core():
    cpus = [
        {"id": 5, "core": 9, "socket": 0, "numa": 0, "uncore": 4},
        {"id": 3, "core": 9, "socket": 0, "numa": 0},
        {"id": 1, "core": 9, "socket": 1, "numa": 1},
    ]
    machine = topology(cpus=cpus)
    assert [(cpu.id, cpu.core) for cpu in machine.cpus] == [(1, 1), (3, 3), (5, 3)]


def test_a_machine_may_have_isolated_cpus_and_unknown_siblings():
    machine = topology(sockets=2, coresPerNuma=2, isolated="2-3", unknownSiblings="1")
    assert (machine.isolated, machine.unknown_siblings) == (0b1100, 0b10)


def test_memory_takes_numbers_and_quantities():
    machine = topology(sockets=2, coresPerNuma=1)
    assert [node.memory for node in machine.nodes] == [2**30, 2**31]
    assert machine.nodes[1].hugepages == {"hugepages-2Mi": 2**30}
    assert [node.distances for node in machine.nodes] == [(10, 20), (20, 10)]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"cpus": [{"id": 0, "core": 0, "socket": 0, "numa": 7}]}, "CPU 0 is on NUMA node 7"),
        ({"sockets": 2, "coresPerNuma": 1, "isolated": "3-"}, "topology.isolated: "),
        ({"cpus": [{"id": 0, "core": 0, "socket": 0}]}, "cpus[0].numa: null is not an integer"),
        ({"sockets": True, "coresPerNuma": 1}, "topology.sockets: True is not an integer"),
        ({"sockets": 2, "coresPerNuma": 1, "numaNodes": [{"id": 0}]}, "memoryBytes: missing"),
        (
            {
                "sockets": 1,
                "coresPerNuma": 1,
                "numaNodes": [{"id": 0, "memoryBytes": 1, "hugepages": {"2Mi": 5}}],
            },
            "5 bytes is not a whole number of 2Mi pages",
        ),
        ({"sockets": 1, "coresPerNuma": 1, "numaNodes": [{"id": 0, "memoryBytes": 1}] * 2}, "listed twice"),
    ],
)
def test_a_contradiction_is_named(fields, reason):
    with pytest.raises(ScenarioError) as error:
        topology(**fields)
    assert reason in str(error.value)


def test_settings_carry_the_kubelets_names():
    settings = read_settings(
        {
            "cpuManagerPolicy": "static",
            "cpuManagerPolicyOptions": {"full-pcpus-only": "true"},
            "reservedCPUs": "0,4",
            "reservedMemory": [{"numaNode": 1, "limits": {"memory": "1Gi"}}],
            "topologyManagerPolicy": "restricted",
            "topologyManagerScope": "pod",
        }
    )
    assert settings.cpu_manager_policy is CpuManagerPolicy.STATIC
    assert settings.reserved_system_cpus == 0b10001
    assert settings.reserved_memory[0].limits == {"memory": 2**30}
    assert settings.topology_manager_policy is TopologyManagerPolicy.RESTRICTED
    assert settings.topology_manager_scope is TopologyManagerScope.POD
    assert settings.pod_level_managers


def test_gates_are_those_that_mean_something_here():
    assert not read_settings({"featureGates": {"PodLevelResources": False}}).pod_level_managers
    with pytest.raises(ScenarioError, match="MemoryQoS has no meaning"):
        read_settings({"featureGates": {"MemoryQoS": True}})
    options = {"align-by-socket": "true"}
    with pytest.raises(ScenarioError, match="align-by-socket needs feature gate"):
        read_settings(
            {"cpuManagerPolicyOptions": options, "featureGates": {"CPUManagerPolicyAlphaOptions": False}}
        )


def test_a_node_reservation_is_held_against_the_reserved_memory():
    kubelet = {
        "memoryManagerPolicy": "Static",
        "reservedMemory": [{"numaNode": 0, "limits": {"memory": "1Gi"}}],
        "nodeReservation": {"memory": "2Gi"},
    }
    (problem,) = check(read_settings(kubelet), topology(sockets=2, coresPerNuma=1))
    assert "add 1Gi" in problem.message

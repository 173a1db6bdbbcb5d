"""Objects to read, and strategies that make values to render."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st
from podnuma.allocator import (
    AssignmentType,
    ContainerGrant,
    ContainerKind,
    Cpu,
    CpuManagerPolicy,
    GrantedDevice,
    IsolatedCpuPolicy,
    Isolation,
    KubeletRelease,
    ManagerSettings,
    MemoryBlock,
    MemoryManagerPolicy,
    MemoryOnlyNodePolicy,
    NumaNode,
    PodGrant,
    Quantity,
    ReservedMemory,
    Topology,
    TopologyManagerPolicy,
    TopologyManagerScope,
    cpuset,
    nodeset,
)
from podnuma.api.node_settings import (
    Management,
    Mode,
    NodeSettings,
    OnDevicesUnknown,
    OnRejection,
    OnUndecided,
    PodPolicy,
    ResizePolicy,
)
from podnuma.api.selector import LabelSelector, Operator, Requirement

ROOT = Path(__file__).parents[3]
MACHINES = sorted((ROOT / "tests" / "machines").glob("*.json"))


def crd(plural: str) -> dict[str, Any]:
    """One of crds/."""
    definition: dict[str, Any] = yaml.safe_load((ROOT / "crds" / f"{plural}.yaml").read_text())
    return definition


def schema(plural: str) -> dict[str, Any]:
    """The schema of the one version of a kind."""
    (version,) = crd(plural)["spec"]["versions"]
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return found


def example(name: str) -> dict[str, Any]:
    """One of examples/."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "examples" / f"{name}.yaml").read_text())
    return found


def machine(path: Path) -> Topology:
    """The topology of a recorded machine."""
    facts = json.loads(path.read_text())
    return Topology.build(
        [Cpu(cpu["id"], cpu["core"], cpu["socket"], cpu["numa"], cpu["l3"]) for cpu in facts["cpus"]],
        [
            NumaNode(node["id"], node["memoryBytes"] or 0, distances=tuple(node["distances"] or ()))
            for node in facts["numaNodes"]
        ],
    )


# Things that are not what is expected.

junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([1, -1]).map(lambda sign: sign * 10**5000)
    | st.floats()
    | st.text(max_size=20)
    | st.just("\ud800")
    | st.just("9" * 5000)
    | st.just("0-" + "9" * 30)
    | st.binary(max_size=3)
    | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8) | st.integers() | st.none(), inner, max_size=4)
    ),
    max_leaves=12,
)


@st.composite
def spoiled(draw: st.DrawFn, original: Any) -> Any:
    """``original`` with a few of its parts, at any depth, replaced by junk or removed."""
    value = original
    for _ in range(draw(st.integers(1, 3))):
        value = draw(_spoiled_once(value))
    return value


@st.composite
def _spoiled_once(draw: st.DrawFn, value: Any) -> Any:
    if isinstance(value, Mapping) and value and draw(st.integers(0, 5)):
        key = draw(st.sampled_from(sorted(value, key=repr)))
        copy = dict(value)
        if draw(st.integers(0, 9)) == 0:
            del copy[key]
        else:
            copy[key] = draw(_spoiled_once(value[key]))
        return copy
    if isinstance(value, list) and value and draw(st.integers(0, 5)):
        index = draw(st.integers(0, len(value) - 1))
        return [*value[:index], draw(_spoiled_once(value[index])), *value[index + 1 :]]
    return draw(junk)


# Values as the allocator has them.

cpu_sets = st.sets(st.integers(0, 4095), min_size=1, max_size=40).map(cpuset.of)
node_sets = st.sets(st.integers(0, 1023), min_size=1, max_size=8).map(nodeset.of)
sizes = st.integers(0, 2**63 - 1) | st.integers(0, 2**40).map(lambda size: size << 20)
resources = st.sampled_from(["memory", "hugepages-2Mi", "hugepages-1Gi"])
blocks = st.lists(st.builds(MemoryBlock, resources, node_sets, sizes), max_size=4).map(tuple)
names = st.from_regex(r"\A[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?\Z")


granted_devices = st.lists(
    st.builds(GrantedDevice, names, names, st.just(nodeset.EMPTY) | node_sets), max_size=2
).map(tuple)


@st.composite
def grants(draw: st.DrawFn) -> PodGrant:
    """Any pod grant that keeps the invariants of the decision module."""
    pod_level = draw(st.booleans())
    bubble = draw(st.none() | cpu_sets) if pod_level else None
    inside = (
        st.none()
        if pod_level and bubble is None
        else cpu_sets
        if bubble is None
        else st.sets(st.sampled_from(list(cpuset.ids(bubble))), min_size=1).map(cpuset.of)
    )
    containers = [
        ContainerGrant(
            name=name,
            kind=draw(st.sampled_from(ContainerKind)),
            cpu_assignment=draw(st.sampled_from(AssignmentType)),
            memory_assignment=draw(st.sampled_from(AssignmentType)),
            isolation=draw(st.sampled_from(Isolation)),
            cpus=draw(st.none() | inside),
            memory_nodes=draw(st.none() | node_sets),
            memory=draw(blocks),
            cpu_quota=draw(st.just(-1) | st.integers(0, 2**40)),
            cpu_period=draw(st.integers(1000, 1_000_000)),
            memory_limit=draw(st.none() | sizes),
            cpu_shares=draw(st.integers(2, 262144)),
            devices=draw(granted_devices),
        )
        for name in draw(st.lists(names, max_size=5, unique=True))
    ]
    return PodGrant(
        uid=draw(names),
        namespace=draw(names),
        name=draw(names),
        scope=draw(st.sampled_from(TopologyManagerScope)),
        pod_level=pod_level,
        cpus=bubble,
        memory=draw(blocks) if pod_level else (),
        containers=tuple(containers),
        pod_quota=draw(st.just(-1) | st.integers(0, 2**40)),
        pod_shares=draw(st.integers(2, 262144)),
    )


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    """Small machines with odd ids: gaps, sockets of -1, memory-only nodes, CPUs without cache."""
    nodes = sorted(draw(st.sets(st.integers(0, 1023), min_size=1, max_size=4)))
    cpus = sorted(draw(st.sets(st.integers(0, 8191), min_size=1, max_size=12)))
    distances = st.lists(st.integers(10, 255), min_size=len(nodes), max_size=len(nodes)).map(tuple)
    return Topology.build(
        [
            Cpu(
                cpu,
                draw(st.integers(0, 3)),
                draw(st.integers(-1, 2)),
                draw(st.sampled_from(nodes)),
                draw(st.none() | st.integers(0, 5) | st.integers(2**31, 2**63 - 1)),
            )
            for cpu in cpus
        ],
        [
            NumaNode(
                node,
                draw(sizes),
                draw(st.dictionaries(st.sampled_from(["hugepages-2Mi", "hugepages-1Gi"]), sizes)),
                draw(st.just(()) | distances),
            )
            for node in nodes
        ],
        isolated=draw(st.sets(st.sampled_from(cpus)).map(cpuset.of)),
        unknown_siblings=draw(st.sets(st.sampled_from(cpus)).map(cpuset.of)),
        kinds=draw(st.dictionaries(st.sampled_from(["performance", "efficient", "capacity-512"]), cpu_sets)),
    )


label_names = st.from_regex(
    r"\A([a-z0-9]([a-z0-9.-]{0,9}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,9}[A-Za-z0-9])?\Z"
)
label_values = st.from_regex(r"\A([A-Za-z0-9]([A-Za-z0-9_.-]{0,9}[A-Za-z0-9])?)?\Z")
requirements = st.builds(
    Requirement,
    label_names,
    st.sampled_from([Operator.IN, Operator.NOT_IN]),
    st.lists(label_values, min_size=1, max_size=3).map(tuple),
) | st.builds(Requirement, label_names, st.sampled_from([Operator.EXISTS, Operator.DOES_NOT_EXIST]))
selectors = st.builds(
    LabelSelector,
    st.dictionaries(label_names, label_values, max_size=3),
    st.lists(requirements, max_size=3).map(tuple),
)


@st.composite
def node_settings(draw: st.DrawFn) -> NodeSettings:
    """Any settings of a node, also such as no machine could use."""
    reserved = draw(st.none() | cpu_sets)
    settings = ManagerSettings(
        cpu_manager_policy=draw(st.sampled_from(CpuManagerPolicy)),
        cpu_manager_policy_options=draw(
            st.dictionaries(st.sampled_from(["full-pcpus-only", "align-by-socket"]), st.just("true"))
        ),
        reserved_system_cpus=reserved,
        reserved_cpu=None if reserved else draw(st.none() | st.builds(Quantity, st.integers(0, 2**63 - 1))),
        memory_manager_policy=draw(st.sampled_from(MemoryManagerPolicy)),
        reserved_memory=draw(
            st.lists(
                st.builds(
                    ReservedMemory, st.integers(0, 1023), st.dictionaries(resources, sizes, min_size=1)
                ),
                max_size=3,
            ).map(tuple)
        ),
        topology_manager_policy=draw(st.sampled_from(TopologyManagerPolicy)),
        topology_manager_scope=draw(st.sampled_from(TopologyManagerScope)),
        topology_manager_policy_options=draw(
            st.dictionaries(st.just("max-allowable-numa-nodes"), st.integers(8, 99).map(str))
        ),
        isolated_cpu_policy=draw(st.sampled_from(IsolatedCpuPolicy)),
        memory_only_node_policy=draw(st.sampled_from(MemoryOnlyNodePolicy)),
        exclusive_core_kind=draw(st.sampled_from(["", "performance", "x" * 64])),
        kubelet_release=draw(st.sampled_from(KubeletRelease)),
        cfs_quota=draw(st.booleans()),
        cfs_quota_period=draw(st.integers(1000, 1_000_000)),
    )
    pod_policy = PodPolicy(
        management=draw(st.sampled_from(Management)),
        pod_selector=draw(selectors),
        namespace_selector=draw(selectors),
        on_rejection=draw(st.sampled_from(OnRejection)),
        on_undecided=draw(st.sampled_from(OnUndecided)),
        on_devices_unknown=draw(st.sampled_from(OnDevicesUnknown)),
        resize=draw(st.sampled_from(ResizePolicy)),
        mode=draw(st.sampled_from(Mode)),
    )
    return NodeSettings(settings, pod_policy)


# The announcement's two pods, as they are held on a machine of 96 CPUs in 8 NUMA nodes.


def container(
    name: str, cpu: AssignmentType, cpus: str | None, kind: ContainerKind = ContainerKind.APP
) -> ContainerGrant:
    pool = cpu in (AssignmentType.POD_SHARED, AssignmentType.NODE_SHARED)
    return ContainerGrant(
        name=name,
        kind=kind,
        cpu_assignment=cpu,
        memory_assignment=cpu,
        isolation=Isolation.POD if pool else Isolation.CONTAINER,
        cpus=None if cpus is None else cpuset.parse(cpus),
        memory_nodes=None if cpus is None else nodeset.of([0]),
        memory=(),
        cpu_quota=300_000 if pool else -1,
        cpu_period=100_000,
        memory_limit=16 * 2**30 if pool else 12 * 2**30,
        cpu_shares=8192,
    )


DATABASE = PodGrant(
    uid="u1",
    namespace="shop",
    name="database",
    scope=TopologyManagerScope.POD,
    pod_level=True,
    cpus=cpuset.parse("1-4,49-52"),
    memory=(MemoryBlock("memory", nodeset.of([0]), 16 * 2**30),),
    containers=(
        container("migrate", AssignmentType.POD_SHARED, "1-4,49-52", ContainerKind.INIT),
        container("metrics", AssignmentType.POD_SHARED, "4,52", ContainerKind.SIDECAR),
        container("database", AssignmentType.POD_EXCLUSIVE, "1-3,49-51"),
    ),
    pod_quota=800_000,
    pod_shares=8192,
)
TRAINING = PodGrant(
    uid="u2",
    namespace="ml",
    name="training",
    scope=TopologyManagerScope.CONTAINER,
    pod_level=False,
    cpus=None,
    memory=(),
    containers=(
        container("mesh", AssignmentType.NODE_SHARED, None, ContainerKind.SIDECAR),
        container("training", AssignmentType.NODE_EXCLUSIVE, "6-8"),
    ),
    pod_quota=400_000,
    pod_shares=4096,
)

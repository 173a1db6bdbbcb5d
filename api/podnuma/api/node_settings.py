"""The settings of one node, as NodeProfile and NodeTopology spell them.

Field names and value formats are those of KubeletConfiguration, so that a kubelet configuration
can be pasted. Two parts: what the three managers are set to (``ManagerSettings``, the allocator's),
and which pods podnuma manages and what it does with them (``PodPolicy``). Field defaults are the
schema's; they are the kubelet's where the kubelet has the field.

Whether values fit together and fit a machine is checked by ``allocator.check``, and by CEL rules
in the schema. Here only their form is read.
"""

import contextlib
import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from podnuma.allocator import (
    CpuManagerPolicy,
    IsolatedCpuPolicy,
    KubeletRelease,
    ManagerSettings,
    MemoryManagerPolicy,
    MemoryOnlyNodePolicy,
    ReservedMemory,
    TopologyManagerPolicy,
    TopologyManagerScope,
    cpuset,
    quantities,
)
from podnuma.allocator.placement.packing import Packing
from podnuma.api import names
from podnuma.api.decoding import Fields, boolean, choice, integer, parsed, text
from podnuma.api.hardware import LONGEST_KIND
from podnuma.api.quantity import read_bytes, read_quantity, render_quantity
from podnuma.api.selector import EVERYTHING, LabelSelector, read_selector, render_selector

MAX_OPTIONS: Final = 16
MAX_TOPOLOGY_OPTIONS: Final = 8
MAX_RESERVED: Final = 64
MAX_LIMITS: Final = 8
LONGEST_LIST: Final = 1024
HIGHEST_NODE: Final = 1023
DEFAULT_PERIOD: Final = 100_000
DEFAULT_RELEASE: Final = 300
LONGEST_RELEASE: Final = 86_400

_MICROS: Final = {"us": 1, "ms": 1000, "s": 1_000_000}
_DURATION: Final = re.compile(r"([0-9]{1,9})(us|ms|s)", re.ASCII)


class KubeletVersion(enum.Enum):
    """Whose CPUs are taken where kubelet releases differ: the newest, the node's own, or a given one."""

    NEWEST = "Newest"
    NODE = "Node"
    V1_37 = "1.37"
    V1_38 = "1.38"

    def release(self, of_node: str) -> KubeletRelease:
        """Return the release to decide as, on a node whose kubelet has the version `of_node`.

        A version that cannot be read ("" included) counts as the newest.
        """
        if self is KubeletVersion.NODE:
            with contextlib.suppress(ValueError):
                return KubeletRelease.of(of_node)
        return KubeletRelease.V1_37 if self is KubeletVersion.V1_37 else KubeletRelease.V1_38


class Management(enum.Enum):
    """Which of the selected pods are managed: all, or those that ask for it by label."""

    ALL = "All"
    OPT_IN = "OptIn"


class OnRejection(enum.Enum):
    """What follows when a pod does not fit its node."""

    EVICT = "Evict"
    SHARE = "Share"


class OnUndecided(enum.Enum):
    """What happens to a container that starts before its pod is decided."""

    WAIT = "Wait"
    SHARE = "Share"


class OnDevicesUnknown(enum.Enum):
    """What happens to a pod whose devices of device plugins its kubelet does not tell."""

    DECIDE = "Decide"
    WAIT = "Wait"


class ResizePolicy(enum.Enum):
    """What happens when a running pod is resized in place."""

    FOLLOW = "Follow"
    WHOLE_CPUS_ONLY = "WholeCPUsOnly"
    IGNORE = "Ignore"


class Mode(enum.Enum):
    """Whether decisions are written to cgroups or only reported."""

    ENFORCE = "Enforce"
    AUDIT = "Audit"


class PlacementTime(enum.Enum):
    """When a pod gets its CPUs and memory: once the scheduler has bound it, or before."""

    AFTER_BINDING = "AfterBinding"
    BEFORE_BINDING = "BeforeBinding"


class WhenNothingFits(enum.Enum):
    """What becomes of a gated pod that no node can hold now."""

    WAIT = "Wait"
    RELEASE = "Release"


@dataclass(frozen=True, slots=True)
class PodPolicy:
    """Which pods podnuma manages on a node, and what it does with them beside deciding.

    `release_after` is in seconds: for so long what a pod held stays taken after the pod is gone from the
    API, if the node's agent is silent and nobody tells whether its processes are gone.
    """

    management: Management = Management.ALL
    pod_selector: LabelSelector = EVERYTHING
    namespace_selector: LabelSelector = EVERYTHING
    on_rejection: OnRejection = OnRejection.EVICT
    on_undecided: OnUndecided = OnUndecided.WAIT
    on_devices_unknown: OnDevicesUnknown = OnDevicesUnknown.DECIDE
    mode: Mode = Mode.ENFORCE
    resize: ResizePolicy = ResizePolicy.FOLLOW
    release_after: int = DEFAULT_RELEASE
    placement: PlacementTime = PlacementTime.AFTER_BINDING
    packing: Packing = Packing.COMPACT
    when_nothing_fits: WhenNothingFits = WhenNothingFits.WAIT

    @property
    def places(self) -> bool:
        """Whether pods are placed on the node before the scheduler binds them."""
        return self.placement is PlacementTime.BEFORE_BINDING

    def manages(self, pod_labels: Mapping[str, str], namespace_labels: Mapping[str, str]) -> bool:
        """Whether a pod with these labels, in a namespace with those, is managed."""
        asked = self.management is Management.ALL or pod_labels.get(names.MANAGED_LABEL) == "true"
        return (
            asked
            and self.pod_selector.matches(pod_labels)
            and self.namespace_selector.matches(namespace_labels)
        )


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """Everything that is set for a node: how the managers decide, and for which pods."""

    managers: ManagerSettings
    pod_policy: PodPolicy


def read_node_settings(spec: Fields, release: KubeletRelease = KubeletRelease.V1_38) -> NodeSettings:
    """Read the settings in the spec of a NodeProfile or NodeTopology, which name the release differently."""
    return NodeSettings(_read_managers(spec, release), _read_pod_policy(spec))


def render_node_settings(node: NodeSettings) -> dict[str, Any]:
    """Render the JSON of settings, every policy written out; read back they are equal."""
    return _render_managers(node.managers) | _render_pod_policy(node.pod_policy)


def _read_managers(spec: Fields, release: KubeletRelease) -> ManagerSettings:
    reserved = spec.optional("reservedSystemCPUs", parsed(cpuset.parse, LONGEST_LIST), cpuset.EMPTY)
    amount = _reserved_cpu(spec)
    return ManagerSettings(
        cpu_manager_policy=spec.optional("cpuManagerPolicy", choice(CpuManagerPolicy), CpuManagerPolicy.NONE),
        cpu_manager_policy_options=spec.mapping("cpuManagerPolicyOptions", text(16), MAX_OPTIONS),
        # The kubelet, too, forgets the amounts once the list is given; an empty list is no list.
        reserved_system_cpus=reserved or None,
        reserved_cpu=None if reserved else amount,
        memory_manager_policy=spec.optional(
            "memoryManagerPolicy", choice(MemoryManagerPolicy), MemoryManagerPolicy.NONE
        ),
        reserved_memory=tuple(_read_reserved(item) for item in spec.items("reservedMemory", MAX_RESERVED)),
        topology_manager_policy=spec.optional(
            "topologyManagerPolicy", choice(TopologyManagerPolicy), TopologyManagerPolicy.NONE
        ),
        topology_manager_scope=spec.optional(
            "topologyManagerScope", choice(TopologyManagerScope), TopologyManagerScope.CONTAINER
        ),
        topology_manager_policy_options=spec.mapping(
            "topologyManagerPolicyOptions", text(16), MAX_TOPOLOGY_OPTIONS
        ),
        isolated_cpu_policy=spec.optional(
            "isolatedCPUPolicy", choice(IsolatedCpuPolicy), IsolatedCpuPolicy.UNUSED
        ),
        memory_only_node_policy=spec.optional(
            "memoryOnlyNodePolicy", choice(MemoryOnlyNodePolicy), MemoryOnlyNodePolicy.UNUSED
        ),
        exclusive_core_kind=spec.optional("exclusiveCoreKind", text(LONGEST_KIND, shortest=1), ""),
        kubelet_release=release,
        cfs_quota=spec.optional("cpuCFSQuota", boolean, default=True),
        cfs_quota_period=spec.optional("cpuCFSQuotaPeriod", parsed(_micros, 16), DEFAULT_PERIOD),
    )


def _reserved_cpu(spec: Fields) -> quantities.Quantity | None:
    """Return the CPUs of kubeReserved and systemReserved together; None when neither names any."""
    amounts = [
        spec.mapping(name, read_quantity, MAX_OPTIONS).get("cpu")
        for name in ("kubeReserved", "systemReserved")
    ]
    found = [amount.nano for amount in amounts if amount is not None]
    return quantities.Quantity(sum(found)) if found else None


def _read_reserved(item: Fields) -> ReservedMemory:
    return ReservedMemory(
        node=item.required("numaNode", integer(0, HIGHEST_NODE), 0),
        limits=item.mapping("limits", read_bytes, MAX_LIMITS),
    )


def _micros(value: str) -> int:
    match = _DURATION.fullmatch(value)
    if match is None:
        raise ValueError("is not a duration; write a whole number with us, ms or s, for example 100ms")
    return int(match[1]) * _MICROS[match[2]]


def _render_micros(micros: int) -> str:
    return f"{micros // 1000}ms" if micros % 1000 == 0 else f"{micros}us"


def _read_pod_policy(spec: Fields) -> PodPolicy:
    return PodPolicy(
        management=spec.optional("management", choice(Management), Management.ALL),
        pod_selector=read_selector(spec, "podSelector"),
        namespace_selector=read_selector(spec, "namespaceSelector"),
        on_rejection=spec.optional("onRejection", choice(OnRejection), OnRejection.EVICT),
        on_undecided=spec.optional("onUndecided", choice(OnUndecided), OnUndecided.WAIT),
        on_devices_unknown=spec.optional(
            "onDevicesUnknown", choice(OnDevicesUnknown), OnDevicesUnknown.DECIDE
        ),
        mode=spec.optional("mode", choice(Mode), Mode.ENFORCE),
        resize=spec.optional("resize", choice(ResizePolicy), ResizePolicy.FOLLOW),
        release_after=spec.optional("releaseAfterSeconds", integer(0, LONGEST_RELEASE), DEFAULT_RELEASE),
        placement=spec.optional("placement", choice(PlacementTime), PlacementTime.AFTER_BINDING),
        packing=spec.optional("packing", choice(Packing), Packing.COMPACT),
        when_nothing_fits=spec.optional("whenNothingFits", choice(WhenNothingFits), WhenNothingFits.WAIT),
    )


def _render_managers(settings: ManagerSettings) -> dict[str, Any]:
    body: dict[str, Any] = {
        "cpuManagerPolicy": settings.cpu_manager_policy.value,
        "memoryManagerPolicy": settings.memory_manager_policy.value,
        "topologyManagerPolicy": settings.topology_manager_policy.value,
        "topologyManagerScope": settings.topology_manager_scope.value,
        "isolatedCPUPolicy": settings.isolated_cpu_policy.value,
        "memoryOnlyNodePolicy": settings.memory_only_node_policy.value,
        "kubeletVersion": settings.kubelet_release.value,
        "cpuCFSQuota": settings.cfs_quota,
        "cpuCFSQuotaPeriod": _render_micros(settings.cfs_quota_period),
    }
    if settings.exclusive_core_kind:
        body["exclusiveCoreKind"] = settings.exclusive_core_kind
    if settings.cpu_manager_policy_options:
        body["cpuManagerPolicyOptions"] = dict(settings.cpu_manager_policy_options)
    if settings.topology_manager_policy_options:
        body["topologyManagerPolicyOptions"] = dict(settings.topology_manager_policy_options)
    if settings.reserved_system_cpus:
        body["reservedSystemCPUs"] = cpuset.render(settings.reserved_system_cpus)
    elif settings.reserved_cpu is not None:
        body["kubeReserved"] = {"cpu": render_quantity(settings.reserved_cpu, "cpu")}
    if settings.reserved_memory:
        body["reservedMemory"] = [
            {
                "numaNode": reserved.node,
                "limits": {
                    resource: quantities.format_bytes(size) for resource, size in reserved.limits.items()
                },
            }
            for reserved in settings.reserved_memory
        ]
    return body


def _render_pod_policy(pod_policy: PodPolicy) -> dict[str, Any]:
    body: dict[str, Any] = {
        "management": pod_policy.management.value,
        "onRejection": pod_policy.on_rejection.value,
        "onUndecided": pod_policy.on_undecided.value,
        "onDevicesUnknown": pod_policy.on_devices_unknown.value,
        "mode": pod_policy.mode.value,
        "resize": pod_policy.resize.value,
        "releaseAfterSeconds": pod_policy.release_after,
        "placement": pod_policy.placement.value,
        "packing": pod_policy.packing.value,
        "whenNothingFits": pod_policy.when_nothing_fits.value,
    }
    if not pod_policy.pod_selector.selects_everything:
        body["podSelector"] = render_selector(pod_policy.pod_selector)
    if not pod_policy.namespace_selector.selects_everything:
        body["namespaceSelector"] = render_selector(pod_policy.namespace_selector)
    return body

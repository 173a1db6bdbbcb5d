"""Pods whose sidecars hold CPUs, and how many of those a pod budget with shared sidecars would free.

Without a pod budget, a container gets CPUs of its own only in a Guaranteed pod, and such a pod needs
a CPU request for every sidecar too. With one, the sidecars share a pool:

    today     every sidecar holds its own request            1 + 1 + 2        = 4 CPUs
    with it   together they hold what they need, in whole    250m + 250m + 250m -> 1 CPU
    freed                                                                       3 CPUs per pod

Looked at are Guaranteed pods without a budget in which one container has whole CPUs and others run
beside it. The container with the most CPUs is the main one, or the one that the annotation
kubectl.kubernetes.io/default-container names; init containers that end count for nothing.
What a sidecar needs is twice what it uses now, where the cluster measures that, else an assumption.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from podnuma.allocator import quantities
from podnuma.allocator.eligibility import guaranteed_like
from podnuma.allocator.request import CPU, ContainerKind, ContainerRequest, PodRequest
from podnuma.api.decoding import InvalidObjectError
from podnuma.api.pod import read_pod, read_pod_facts

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
HEADROOM = 2
_WHOLE = 1000

Usage = Mapping[tuple[str, str], Mapping[str, int]]
"""Millicores used now: (namespace, pod) -> container -> amount."""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A container beside the main one, in millicores; `measured` says where `needs` comes from."""

    name: str
    holds: int
    needs: int
    measured: bool


@dataclass(frozen=True, slots=True)
class PodSavings:
    """What one pod could give back. Amounts in millicores."""

    namespace: str
    workload: str
    pod: str
    main: str
    main_holds: int
    sidecars: tuple[Sidecar, ...]

    @property
    def held(self) -> int:
        """What the sidecars hold today."""
        return sum(sidecar.holds for sidecar in self.sidecars)

    @property
    def pool(self) -> int:
        """What they would share: their needs together in whole CPUs, one at least."""
        needs = sum(sidecar.needs for sidecar in self.sidecars)
        return max(_WHOLE, -(-needs // _WHOLE) * _WHOLE)

    @property
    def freed(self) -> int:
        """What the pod would give back."""
        return max(0, self.held - self.pool)


@dataclass(frozen=True, slots=True)
class SidecarSurvey:
    """All pods that were looked at. `saving` are the findings that free something."""

    findings: tuple[PodSavings, ...]
    looked_at: int
    with_budget: int
    unreadable: tuple[str, ...]

    @property
    def saving(self) -> tuple[PodSavings, ...]:
        """The findings that free something."""
        return tuple(finding for finding in self.findings if finding.freed)

    def by_workload(self) -> list[tuple[PodSavings, ...]]:
        """Group the saving findings by workload, the largest saving first."""
        groups: dict[tuple[str, str], list[PodSavings]] = defaultdict(list)
        for finding in self.saving:
            groups[finding.namespace, finding.workload].append(finding)
        return sorted(map(tuple, groups.values()), key=lambda group: (-total_freed(group), group[0].pod))


def total_freed(findings: Iterable[PodSavings]) -> int:
    """Add up what findings free, in millicores."""
    return sum(finding.freed for finding in findings)


def survey_sidecars(pods: Sequence[Mapping[str, Any]], usage: Usage, assumed: int) -> SidecarSurvey:
    """Look at every pod that has not ended. `assumed`: millicores for a sidecar that is not measured."""
    findings: list[PodSavings] = []
    unreadable: list[str] = []
    looked_at = with_budget = 0
    for value in pods:
        try:
            facts, pod = read_pod_facts(value), read_pod(value)
        except InvalidObjectError as error:
            unreadable.append(str(error))
            continue
        if facts.finished:
            continue
        looked_at += 1
        with_budget += pod.pod_level
        finding = None if pod.pod_level else _finding(pod, value, usage, assumed)
        findings += [finding] if finding else []
    return SidecarSurvey(tuple(findings), looked_at, with_budget, tuple(unreadable))


def _finding(pod: PodRequest, value: Mapping[str, Any], usage: Usage, assumed: int) -> PodSavings | None:
    if not all(guaranteed_like(container) for container in pod.containers):
        return None
    lasting = [one for one in pod.containers if one.kind is not ContainerKind.INIT]
    main = _main(lasting, value["metadata"].get("annotations") or {})
    if main is None or len(lasting) == 1:
        return None
    used = usage.get((pod.namespace, pod.name), {})
    return PodSavings(
        namespace=pod.namespace,
        workload=workload_of(value),
        pod=pod.name,
        main=main.name,
        main_holds=main.requests[CPU].milli,
        sidecars=tuple(_sidecar(one, used, assumed) for one in lasting if one is not main),
    )


def _main(containers: Sequence[ContainerRequest], annotations: Mapping[str, str]) -> ContainerRequest | None:
    whole = [one for one in containers if one.requests[CPU].integral and one.kind is ContainerKind.APP]
    named = [one for one in whole if one.name == annotations.get(DEFAULT_CONTAINER)]
    return max(named or whole, key=lambda one: one.requests[CPU].milli, default=None)


def _sidecar(container: ContainerRequest, used: Mapping[str, int], assumed: int) -> Sidecar:
    holds = container.requests[CPU].milli
    measured = container.name in used
    needs = used[container.name] * HEADROOM if measured else assumed
    return Sidecar(container.name, holds, min(holds, needs), measured)


def workload_of(pod: Mapping[str, Any]) -> str:
    """Name what created a pod: "Deployment/api", "StatefulSet/db", or "Pod/one" if nothing did."""
    metadata = pod["metadata"]
    for owner in metadata.get("ownerReferences") or []:
        if owner.get("controller"):
            hashed = (metadata.get("labels") or {}).get("pod-template-hash")
            if owner["kind"] == "ReplicaSet" and hashed and owner["name"].endswith(f"-{hashed}"):
                return f"Deployment/{owner['name'].removesuffix(f'-{hashed}')}"
            return f"{owner['kind']}/{owner['name']}"
    return f"Pod/{metadata['name']}"


def container_usage(metrics: Sequence[Mapping[str, Any]]) -> Usage:
    """Read PodMetrics of metrics.k8s.io."""
    used: dict[tuple[str, str], dict[str, int]] = {}
    for pod in metrics:
        key = (pod["metadata"].get("namespace", "default"), pod["metadata"]["name"])
        used[key] = {
            one["name"]: quantities.parse(one["usage"]["cpu"]).milli
            for one in pod.get("containers", [])
            if "cpu" in one.get("usage", {})
        }
    return used

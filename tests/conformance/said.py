"""What podnuma says to a scenario, in words for assertions.

db = said(scenario(...)).last
assert db.bubble == "1-3,9-11" and db.cpus("postgres") == "1-2,9-10"
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from podnuma.allocator import Admitted, PodRequest, Rejected
from podnuma.allocator.explain.explanation import Explanation, explain
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.api.pod import read_pod
from podnuma.api.pod_defaults import with_api_defaults
from podnuma.cli.commands import replay
from podnuma.cli.objects.scenarios import read_scenario, read_settings

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One step's report."""

    report: Json

    @property
    def admitted(self) -> bool:
        return bool(self.report["admitted"])

    @property
    def reason(self) -> str:
        return str(self.report.get("reason", ""))

    @property
    def message(self) -> str:
        return str(self.report.get("message", ""))

    @property
    def bubble(self) -> str | None:
        """The CPUs of the pod as a whole, None without a bubble of CPUs."""
        found: str | None = self.report["pod"]["cpuset"]
        return found

    @property
    def bubble_memory(self) -> dict[str, tuple[int, tuple[int, ...]]]:
        """Bytes and NUMA nodes of the pod as a whole, by resource."""
        return _blocks(self.report["pod"]["memory"])

    @property
    def qos(self) -> str:
        return str(self.report["pod"]["qos"])

    @property
    def default(self) -> str:
        """The node's default set."""
        return str(self.report["state"]["defaultCPUSet"])

    @property
    def held(self) -> set[str]:
        """The pods that hold CPUs."""
        return set(self.report["state"]["cpus"])

    def cpus(self, container: str) -> str:
        """Return the CPUs a container runs on."""
        return str(self._container(container)["cpuset"])

    def exclusive(self, container: str) -> bool:
        return bool(self._container(container)["cpuExclusive"])

    def assignment(self, container: str) -> tuple[str, str]:
        """Return the assignment types of CPU and memory."""
        one = self._container(container)
        return one["cpuAssignment"], one["memoryAssignment"]

    def mems(self, container: str) -> list[int] | None:
        """Return the NUMA nodes in cpuset.mems, None if it is not set."""
        found: list[int] | None = self._container(container)["memoryNUMANodes"]
        return found

    def memory(self, container: str) -> dict[str, tuple[int, tuple[int, ...]]]:
        """Return bytes and NUMA nodes by resource."""
        return _blocks(self._container(container)["memoryBlocks"])

    def groups(self) -> dict[int, list[int]]:
        """Return the group of every NUMA node."""
        return {row["id"]: row["cells"] for row in self.report["state"]["numa"]}

    def free(self, resource: str) -> int:
        """Return the free bytes of all NUMA nodes."""
        return sum(row["memory"].get(resource, {"free": 0})["free"] for row in self.report["state"]["numa"])

    def _container(self, name: str) -> Json:
        (found,) = (one for one in self.report["pod"]["containers"] if one["name"] == name)
        return dict(found)


def _blocks(blocks: list[Json] | None) -> dict[str, tuple[int, tuple[int, ...]]]:
    return {one["type"]: (one["size"], tuple(one["numaNodes"])) for one in blocks or ()}


@dataclass(frozen=True, slots=True)
class Said:
    """All steps of one scenario."""

    steps: tuple[Step, ...]
    start: Json

    @property
    def last(self) -> Step:
        return self.steps[-1]

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)


def said(scenario: Json) -> Said:
    """Play a scenario."""
    result = replay.play(scenario)
    return Said(tuple(Step(step) for step in result.get("steps", ())), result["start"])


def node(scenario: Json) -> NodeAllocator:
    """Return the empty node of a scenario."""
    read = read_scenario(scenario)
    return NodeAllocator.empty(read_settings(read.kubelet), read.topology)


def decide(node: NodeAllocator, pod: Json) -> Admitted | Rejected:
    """Decide about a pod as written in a manifest."""
    return node.decide(stored(pod))


def granted(node: NodeAllocator, pod: Json) -> Admitted:
    """Decide about a pod that is to fit, and hold it."""
    decision = decide(node, pod)
    assert isinstance(decision, Admitted), decision
    node.hold(decision)
    return decision


def explained(node: NodeAllocator, pod: Json) -> Explanation:
    """Explain the decision about a pod as written in a manifest."""
    return explain(node, stored(pod))


def stored(pod: Json) -> PodRequest:
    """Return a pod of a manifest as the API server would store it."""
    return read_pod(with_api_defaults({**pod, "metadata": {"namespace": "default", **pod["metadata"]}}))

"""What is known of the cluster now: NodeTopologies, PodAllocations and labels of nodes, fed by watches.

A PodAllocation is kept as the few values that every page needs and as its text, which is read in full when
its node or pod is looked at: thirty thousand of them are a hundred megabytes, not a gigabyte. Whoever shows
something subscribes to the names of the nodes that have changed; no name is ever lost, and a slow reader
gets each name once.
"""

import asyncio
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from podnuma.allocator import cpuset
from podnuma.allocator.cpuset import CpuSet
from podnuma.api import names
from podnuma.api.pod_allocation import DEVICES_PENDING
from podnuma.api.pod_allocation_status import Phase
from podnuma.api.resource_types import NODE, NODE_TOPOLOGY, POD_ALLOCATION

_DIGITS = re.compile(r"([0-9]+)")

Json = dict[str, Any]
Key = tuple[str, str]


_GIVEN_BACK = frozenset(one.value for one in Phase if one.given_back)


@dataclass(frozen=True, slots=True)
class KeptAllocation:
    """A PodAllocation: what every page needs of it, and its text."""

    key: Key
    node: str
    admitted: bool
    phase: str
    reason: str
    exclusive: CpuSet
    shared: CpuSet
    created: str
    pod_uid: str
    text: str

    @property
    def refused(self) -> bool:
        """Whether the pod does not fit; one whose devices are not known yet is not decided."""
        return not self.admitted and self.reason != DEVICES_PENDING

    @property
    def holds(self) -> bool:
        """Whether the pod still holds what it was given."""
        return self.admitted and self.phase not in _GIVEN_BACK

    def value(self) -> Json:
        """Return the object."""
        value: Json = json.loads(self.text)
        return value


class Subscription:
    """The names of nodes that have changed since they were last taken."""

    def __init__(self) -> None:
        self._changed: set[str] = set()
        self._event = asyncio.Event()

    def add(self, name: str) -> None:
        """Note a change."""
        self._changed.add(name)
        self._event.set()

    async def wait(self) -> None:
        """Wait for a change."""
        await self._event.wait()

    def take(self) -> list[str]:
        """Return what has changed, by name, and forget it."""
        taken = sorted(self._changed)
        self._changed.clear()
        self._event.clear()
        return taken


@dataclass(slots=True)
class LiveObjects:
    """The objects by kind. `problems`: what cannot be followed now, and why, by resource.

    `changes`: how often something on a node has changed.
    """

    topologies: dict[str, Json] = field(default_factory=dict)
    labels: dict[str, dict[str, str]] = field(default_factory=dict)
    allocations: dict[Key, KeptAllocation] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    changes: Counter[str] = field(default_factory=Counter)
    _by_node: dict[str, set[Key]] = field(default_factory=lambda: defaultdict(set))
    _rows: dict[str, int] = field(default_factory=dict)
    _subscriptions: list[Subscription] = field(default_factory=list)

    def on_node(self, node: str) -> list[KeptAllocation]:
        """Return the allocations of a node, by namespace and name."""
        return [self.allocations[key] for key in sorted(self._by_node.get(node, ()))]

    def row_of(self, node: str) -> int:
        """Return where a node stands in the list of all, numbers in names counted as numbers."""
        if self._rows.keys() != self.topologies.keys():
            ordered = sorted(self.topologies, key=_natural)
            self._rows = {name: row for row, name in enumerate(ordered)}
        return self._rows.get(node, 0)

    def keep(self, value: Json) -> None:
        """Take an object as it is now."""
        name, kind = _name(value), value.get("kind")
        metadata = {key: one for key, one in value["metadata"].items() if key != "managedFields"}
        if kind == NODE_TOPOLOGY.kind:
            self.topologies[name] = {**value, "metadata": metadata}
            self._tell(name)
        elif kind == NODE.kind:
            labels = {str(key): str(text) for key, text in (metadata.get("labels") or {}).items()}
            if self.labels.get(name) != labels:
                self.labels[name] = labels
                self._tell(name)
        elif kind == POD_ALLOCATION.kind:
            self._drop(_key(value))
            kept = keep_allocation({**value, "metadata": metadata})
            self.allocations[kept.key] = kept
            self._by_node[kept.node].add(kept.key)
            self._tell(kept.node)

    def forget(self, value: Json) -> None:
        """Take that an object is gone."""
        name, kind = _name(value), value.get("kind")
        if kind == NODE_TOPOLOGY.kind:
            self.topologies.pop(name, None)
            self._tell(name)
        elif kind == NODE.kind:
            self.labels.pop(name, None)
        elif kind == POD_ALLOCATION.kind:
            self._drop(_key(value))

    def replace(self, kind: str, values: Sequence[Json]) -> None:
        """Take a whole list: what is not in it is gone."""
        present = {_key(value) for value in values}
        for gone in [key for key in self._keys(kind) if key not in present]:
            self.forget({"kind": kind, "metadata": {"namespace": gone[0], "name": gone[1]}})
        for value in values:
            self.keep({**value, "kind": kind})

    def problem(self, resource: str, text: str) -> None:
        """Note why a resource cannot be followed now; empty: it is followed."""
        if self.problems.get(resource, "") != text:
            self.problems[resource] = text
            self._tell("")

    @contextmanager
    def subscribed(self) -> Iterator[Subscription]:
        """Hear of changes for as long as the context lasts."""
        own = Subscription()
        self._subscriptions.append(own)
        try:
            yield own
        finally:
            self._subscriptions.remove(own)

    def _keys(self, kind: str) -> list[Key]:
        if kind == POD_ALLOCATION.kind:
            return list(self.allocations)
        return [("", name) for name in (self.topologies if kind == NODE_TOPOLOGY.kind else self.labels)]

    def _drop(self, key: Key) -> None:
        old = self.allocations.pop(key, None)
        if old is not None:
            self._by_node[old.node].discard(key)
            self._tell(old.node)

    def _tell(self, name: str) -> None:
        self.changes[name] += 1
        for one in self._subscriptions:
            one.add(name)


def _natural(name: str) -> list[tuple[int, str]]:
    parts = _DIGITS.split(name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def keep_allocation(value: Json) -> KeptAllocation:
    """Return what is kept of a PodAllocation. A field that cannot be read is as if it were not there."""
    spec, status = _mapping(value.get("spec")), _mapping(value.get("status"))
    decision, summary = _mapping(spec.get("decision")), _mapping(spec.get("summary"))
    return KeptAllocation(
        key=_key(value),
        node=str(spec.get("nodeName") or ""),
        admitted=decision.get("admitted") is True,
        phase=str(status.get("phase") or Phase.PENDING.value),
        reason=str(decision.get("reason") or ""),
        exclusive=_cpus(summary.get("exclusive")),
        shared=_cpus(summary.get("shared")),
        created=str(value["metadata"].get("creationTimestamp") or ""),
        pod_uid=str(spec.get("podUID") or ""),
        text=json.dumps(value, separators=(",", ":")),
    )


def _cpus(text: object) -> CpuSet:
    """Read the CPUs in a column of the summary, where "-" is none and "node" the pool of the node."""
    if not isinstance(text, str) or text in (names.NOTHING, "node", ""):
        return cpuset.EMPTY
    try:
        return cpuset.parse(text)
    except ValueError:
        return cpuset.EMPTY


def _key(value: Json) -> Key:
    return str(value["metadata"].get("namespace") or ""), _name(value)


def _name(value: Json) -> str:
    return str(value["metadata"]["name"])


def _mapping(value: object) -> Json:
    return value if isinstance(value, dict) else {}

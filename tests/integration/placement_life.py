"""A long life with placement on a real API server, scheduler and kwok: gated pods come and go.

As in `operator_life`, the operator is killed at requests drawn by the seed. What must hold besides, at rest:
every pod that is bound holds what it asked for, and none is gated that a NUMA node has room for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from podnuma.allocator import cpuset

from tests.integration.operator_life import NODES, Life
from tests.integration.placement_site import furnish, gated_pod, gates

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from testbed.api import Json
    from testbed.kwok import Kwok

# CPUs of `operator_site.machine` by NUMA node, without those that are reserved.
NUMA_NODES = [cpuset.parse(listed) for listed in ("1-3,9-11", "4-7,12-15")]


class PlacementLife(Life):
    """One cluster, and an operator that places pods."""

    rest_seconds = 15.0  # ten, from when an operator that was just started decides
    profile_spec: Mapping[str, Any] = {"onRejection": "Share", "placement": "BeforeBinding"}
    placement = True

    def furnish(self, kwok: Kwok) -> None:
        """Have nodes that place."""
        self.start()
        furnish(self.site, kwok, *NODES, onRejection="Share")
        self.stop()

    def _steps_to_die_in(self) -> list[Callable[[], None]]:
        return [self.create] * 8 + [self.delete] * 7 + [self.finish] + [self.replace] * 2

    def _create(self, name: str) -> None:
        self.site.create(gated_pod(name, self.rng.choice([2, 2, 3, 4, 6, 9])))

    def finish(self) -> None:
        if names := sorted(name for name, value in self._pods().items() if value["spec"].get("nodeName")):
            self.site.finish(self.rng.choice(names), self.rng.choice(["Succeeded", "Failed"]))

    def _is_final(self, decision: Json) -> bool:
        return bool(decision["reason"] == "Admitted")

    def _assert_at_rest(self) -> None:
        held, pods = self.site.allocations(), self._pods()
        bound = {name: value for name, value in pods.items() if value["spec"].get("nodeName")}
        wanted = {name: (one["metadata"]["uid"], one["spec"]["nodeName"]) for name, one in bound.items()}
        found = {name: (spec["podUID"], spec["nodeName"]) for name, spec in held.items()}
        assert wanted == found, f"pods that are bound {wanted}, what is held {found}"
        assert {spec["decision"]["reason"] for spec in held.values()} <= {"Admitted"}
        largest = max(map(int.bit_count, self._free(held)))
        for name in pods.keys() - bound.keys():
            wants = int(pods[name]["spec"]["resources"]["limits"]["cpu"])
            assert gates(pods[name]), f"{name} is neither gated nor bound"
            assert wants > largest, f"{name} is gated for {wants} CPUs, {largest} are free on one NUMA node"

    @staticmethod
    def _free(held: Mapping[str, Json]) -> list[int]:
        taken = dict.fromkeys(NODES, 0)
        for spec in held.values():
            taken[spec["nodeName"]] |= cpuset.parse(spec.get("cpus", ""))
        return [numa & ~cpus for cpus in taken.values() for numa in NUMA_NODES]

"""Why a gated pod waits: what keeps it from each node on which pods are placed, counted by reason. Pure.

nowhere      no such node manages it or could ever accept it: it is not podnuma's, and is released
release      the profiles of all nodes that might accept it say so, and Karpenter has added none of these: it
             adds no node for a pod that excludes nodes by name, which would wait for ever where it was let go
wait         otherwise, with the cause on one node and the smallest change that would fit there
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from podnuma.allocator.explain.brief import brief
from podnuma.allocator.explain.explanation import explain
from podnuma.api.node_settings import WhenNothingFits
from podnuma.api.scheduling import Obstacle

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from podnuma.allocator.decision import Rejected
    from podnuma.allocator.request import PodRequest
    from podnuma.operator.placement.placing_nodes import PlacingNodes

PASSING = frozenset({Obstacle.RESOURCES, Obstacle.CORDON})
"""Obstacles that may go while the pod waits."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """How the nodes that place pods stand to one pod.

    `unfit` are those that might take it and cannot now, `unready` counts those that might once they are
    ready, `fits` those that can now; `text` says why, for people.
    """

    unfit: tuple[str, ...]
    unready: int
    fits: int
    released: bool
    text: str

    @property
    def nowhere(self) -> bool:
        """Whether waiting makes no sense."""
        return not self.unfit and not self.unready and not self.fits


def outlook(  # noqa: PLR0913 - what it sums up
    pod: PodRequest,
    nodes: PlacingNodes,
    obstacles: Mapping[str, Obstacle],
    refused: Mapping[str, Rejected],
    *,
    fits: int,
    unready: int,
    karpenters: Collection[str] = (),
) -> Outlook:
    """Sum up: `obstacles` by node, the answers of the nodes without one, and which Karpenter has added."""
    unfit = sorted(refused.keys() | {name for name, why in obstacles.items() if why in PASSING})
    parts = [f"{why.value} {number}" for why, number in sorted(Counter(obstacles.values()).items())]
    reasons = Counter(answer.reason for answer in refused.values())
    parts += [f"{why.value} {number}" for why, number in reasons.items()]
    parts += [f"not ready {unready}"] if unready else []
    total = len(obstacles) + len(refused) + fits + unready
    text = f"{fits} of {total} nodes can hold it now"
    if parts:
        text += f" ({', '.join(parts)})"
    if refused:
        example = min(refused)
        cause = brief(nodes.allocator(example), pod, explain(nodes.allocator(example), pod))
        text += f"; on {example}: {cause}"
    released = bool(unfit) and all(
        nodes.policy(name).when_nothing_fits is WhenNothingFits.RELEASE for name in unfit
    )
    if released and not set(karpenters).isdisjoint(unfit):
        released = False
        text += "; not released, as Karpenter adds no node for a pod that excludes nodes by name"
    return Outlook(tuple(unfit), unready, fits, released, text)

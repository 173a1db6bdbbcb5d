"""How many nodes a pod may not go to, and what keeps it from them, in words."""

from collections.abc import Mapping
from typing import Final

from podnuma.api.scheduling import Obstacle
from podnuma.cli.render.wording import count

_BY: Final = {
    Obstacle.NODE_NAME: "spec.nodeName",
    Obstacle.SYSTEM: "operating system",
    Obstacle.FEATURE: "node features",
    Obstacle.SELECTOR: "nodeSelector",
    Obstacle.AFFINITY: "node affinity",
    Obstacle.VOLUME: "volumes",
    Obstacle.CORDON: "cordon",
    Obstacle.TAINT: "taints",
    Obstacle.RESOURCES: "free resources",
}


def not_considered(left_out: Mapping[Obstacle, int], nowhere: Mapping[str, str] | None = None) -> str:
    """Write how many nodes were left out and by what; `nowhere`: the node selector of a pod that has no node.

    A selector that alone leaves out every node is written, with the next step.
    """
    why = ", ".join(f"{number} by {_BY[one]}" for one, number in sorted(left_out.items(), key=_in_order))
    text = f"not considered: {count(sum(left_out.values()), 'node')}: {why}"
    if nowhere and set(left_out) == {Obstacle.SELECTOR}:
        labels = ",".join(f"{key}={value}" for key, value in sorted(nowhere.items()))
        text += (
            f"; {labels} is on none of them: kubectl label node NODE {labels.replace(',', ' ')}, "
            "or correct the pod's nodeSelector"
        )
    return text


def _in_order(counted: tuple[Obstacle, int]) -> int:
    return list(Obstacle).index(counted[0])

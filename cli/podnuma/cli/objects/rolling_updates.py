"""How many pods an object keeps ready while it replaces them: old ones go only when enough others are.

    Deployment    `maxUnavailable` may be missing while new pods come, rounded down; `maxSurge` may be there
                  beside all that are asked for, rounded up; each is a quarter where it is not said. So of
                  up to three replicas that say nothing no old pod goes before a new one is ready. Where both
                  come out as zero, one may be missing
    Rollout       (Argo) the same for a canary; with `blueGreen`, and where traffic is routed by something
                  else than the number of pods, all new pods are ready before the first old one goes
    DaemonSet     with `maxSurge` the new pod of a node is ready before the old one goes

Each is one number: an old pod goes only while more than so many are ready, old and new ones together.

A StatefulSet with a `partition` leaves so many of its first pods as they are.
"""

from collections.abc import Mapping
from typing import Any, Final

from podnuma.api.stored_json import object_at, text_at

_DEFAULT: Final = "25%"
_WHOLE: Final = 100


def pods_kept_ready(kind: str, spec: Mapping[str, Any], replicas: int) -> int:
    """Return the number for an object with this spec; 0 for one that deletes old pods first."""
    match kind:
        case "Deployment":
            return _kept_by_deployment(spec, replicas)
        case "Rollout":
            return _kept_by_rollout(spec, replicas)
        case "DaemonSet":
            update = object_at(spec, "updateStrategy")
            surge = object_at(update, "rollingUpdate").get("maxSurge", 0)
            return 1 if text_at(update, "type") != "OnDelete" and _share(surge, _WHOLE, up=True) else 0
        case _:
            return 0


def pods_left_alone(kind: str, spec: Mapping[str, Any]) -> int:
    """Return how many of the first pods of an object with this spec a rollout does not replace."""
    update = object_at(spec, "updateStrategy")
    if kind != "StatefulSet" or text_at(update, "type") == "OnDelete":
        return 0
    partition = object_at(update, "rollingUpdate").get("partition", 0)
    return max(0, partition) if isinstance(partition, int) and not isinstance(partition, bool) else 0


def _kept_by_deployment(spec: Mapping[str, Any], replicas: int) -> int:
    strategy = object_at(spec, "strategy")
    if text_at(strategy, "type") == "Recreate":
        return 0
    return _kept(object_at(strategy, "rollingUpdate"), replicas)


def _kept_by_rollout(spec: Mapping[str, Any], replicas: int) -> int:
    strategy = object_at(spec, "strategy")
    canary = object_at(strategy, "canary")
    routed = canary.get("trafficRouting") and canary.get("dynamicStableScale") is not True
    if "blueGreen" in strategy or routed:
        return max(0, 2 * replicas - 1)
    return _kept(canary, replicas)


def _kept(rolling: Mapping[str, Any], replicas: int) -> int:
    missing = _share(rolling.get("maxUnavailable"), replicas, up=False)
    if not missing and not _share(rolling.get("maxSurge"), replicas, up=True):
        missing = 1
    return max(0, replicas - missing)


def _share(value: Any, whole: int, *, up: bool) -> int:
    """Return a number of pods that is written as one or as percents; the default where it is neither."""
    if isinstance(value, int) and not isinstance(value, bool):
        return max(0, value)
    percents = value if isinstance(value, str) else _DEFAULT
    digits = percents.removesuffix("%")
    if digits == percents or not (digits.isascii() and digits.isdigit()):
        digits = _DEFAULT.removesuffix("%")
    product = int(digits) * whole
    return -(-product // _WHOLE) if up else product // _WHOLE

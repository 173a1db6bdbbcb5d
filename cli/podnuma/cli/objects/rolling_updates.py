"""How many pods a Deployment keeps ready while it replaces them: they go only when others are.

`maxUnavailable` may be missing while new pods come, rounded down; `maxSurge` may be there beside all that are
asked for, rounded up; each is a quarter where it is not said. So of a Deployment of up to three replicas that
says nothing no old pod goes before a new one is ready. Where both come out as zero, one may be missing.
"""

from collections.abc import Mapping
from typing import Any, Final

from podnuma.api.stored_json import object_at, text_at

_DEFAULT: Final = "25%"
_WHOLE: Final = 100


def pods_kept_ready(spec: Mapping[str, Any], replicas: int) -> int:
    """Return how many pods stay ready while those of a Deployment with this spec are replaced."""
    strategy = object_at(spec, "strategy")
    if text_at(strategy, "type") == "Recreate":
        return 0
    rolling = object_at(strategy, "rollingUpdate")
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

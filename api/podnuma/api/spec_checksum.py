"""The checksum in the spec of a PodAllocation, like those of the kubelet's checkpoints.

``spec.decision.checksum`` covers the whole stored spec, including fields that this version does not know,
except itself and the summary. If it does not match, the spec is not what was decided: it was edited by hand,
restored in part, or changed by a webhook. Nobody acts on such a spec.

It guards against mistakes, not against people: whoever may write PodAllocations can compute it.
"""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from podnuma.api.decoding import Fields, text

LONGEST_CHECKSUM: Final = 64

_DIGITS: Final = 32
_DECISION, _CHECKSUM, _SUMMARY = "decision", "checksum", "summary"
_JSON: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def with_checksum(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec with the checksum that fits it."""
    return {**spec, _DECISION: {**spec[_DECISION], _CHECKSUM: checksum(spec)}}


def check_checksum(spec: Fields) -> None:
    """Note an error if a spec is not what its checksum stands for; one without a checksum is believed."""
    decision = spec.fields(_DECISION)
    stated = decision.optional(_CHECKSUM, text(LONGEST_CHECKSUM, shortest=1), "")
    if stated and not spec.errors.count and stated != checksum(spec.content):
        message = "does not fit this spec, which somebody has changed; the operator puts it back"
        spec.errors.add(decision.at(_CHECKSUM), stated, message)


def checksum(spec: Mapping[Any, Any]) -> str:
    """Return the checksum of a spec; "" of one that cannot be written as JSON."""
    content = {name: value for name, value in spec.items() if name != _SUMMARY}
    decision = content.get(_DECISION)
    if isinstance(decision, Mapping):
        content[_DECISION] = {name: value for name, value in decision.items() if name != _CHECKSUM}
    try:
        written = _JSON.encode(content)
    except (TypeError, ValueError, RecursionError):
        return ""
    return sha256(_as_stored(written)).hexdigest()[:_DIGITS]


def _as_stored(written: str) -> bytes:
    try:
        return written.encode()
    except UnicodeEncodeError:  # half of a surrogate pair is stored as U+FFFD
        return written.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()

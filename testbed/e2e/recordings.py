"""What the kubelet does with the suite's pods, kept beside the snapshot of the machine on which it was seen.

A recording depends on the machine, on the pods (`made_of`), and on the code that starts and watches them: its
name ends in a hash of these, and another one of them makes another recording. podnuma has no part in it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.e2e.reference import Recording, Seen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from testbed.api import Json
    from testbed.vm.snapshot import Snapshot

_CODE = ("cluster", "kubelet", "observe", "pods", "recordings", "reference")


def load(snapshot: Snapshot, name: str, made_of: bytes) -> Recording | None:
    """Return a recording of a machine; None if there is none yet."""
    file = _file(snapshot, name, made_of)
    if not file.exists():
        return None
    kept = json.loads(file.read_text())
    return Recording(kept["outcomes"], _places(kept["values"]), _places(kept["first"]), kept["counts"])


def keep(snapshot: Snapshot, name: str, made_of: bytes, recording: Recording) -> None:
    """Keep a recording of a machine."""
    kept: Json = {
        "outcomes": recording.outcomes,
        "values": _entries(recording.values),
        "first": _entries(recording.first_outputs),
        "counts": recording.counts,
    }
    file = _file(snapshot, name, made_of)
    scratch = file.with_suffix(".new")
    scratch.write_text(json.dumps(kept, indent=1))
    scratch.rename(file)


def _file(snapshot: Snapshot, name: str, made_of: bytes) -> Path:
    digest = hashlib.sha256(made_of)
    for module in _CODE:
        digest.update((Path(__file__).parent / f"{module}.py").read_bytes())
    return snapshot.folder / f"{name}-{digest.hexdigest()[:16]}.json"


def _entries(values: Mapping[tuple[str, str], Seen]) -> list[list[object]]:
    return [[*place, dataclasses.asdict(seen)] for place, seen in values.items()]


def _places(entries: list[tuple[str, str, dict[str, str]]]) -> dict[tuple[str, str], Seen]:
    return {(pod, container): Seen(**seen) for pod, container, seen in entries}

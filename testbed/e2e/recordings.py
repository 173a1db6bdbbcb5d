"""What the kubelet does with the suite's pods, kept beside the snapshot of the machine on which it was seen.

A recording depends on the machine, on the pods, and on the code that starts and watches them: its name is a
hash of these, and another one of them makes another recording. podnuma has no part in it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.e2e.reference import CONTAINER_SCOPE, POD_SCOPE, ROOT, Recording, Seen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from testbed.api import Json
    from testbed.vm.snapshot import Snapshot

_CODE = ("cluster", "kubelet", "observe", "pods", "recordings", "reference")


def load(snapshot: Snapshot) -> Recording | None:
    """Return the recording of a machine; None if there is none yet."""
    file = _file(snapshot)
    if not file.exists():
        return None
    kept = json.loads(file.read_text())
    return Recording(kept["outcomes"], _places(kept["values"]), _places(kept["first"]), kept["counts"])


def keep(snapshot: Snapshot, recording: Recording) -> None:
    """Keep the recording of a machine."""
    kept: Json = {
        "outcomes": recording.outcomes,
        "values": _entries(recording.values),
        "first": _entries(recording.first_outputs),
        "counts": recording.counts,
    }
    file = _file(snapshot)
    scratch = file.with_suffix(".new")
    scratch.write_text(json.dumps(kept, indent=1))
    scratch.rename(file)


def _file(snapshot: Snapshot) -> Path:
    digest = hashlib.sha256()
    for path in (name for wave in (*POD_SCOPE, *CONTAINER_SCOPE) for name in wave):
        digest.update(path.encode() + (ROOT / path).read_bytes())
    for name in _CODE:
        digest.update((Path(__file__).parent / f"{name}.py").read_bytes())
    return snapshot.folder / f"recording-{digest.hexdigest()[:16]}.json"


def _entries(values: Mapping[tuple[str, str], Seen]) -> list[list[object]]:
    return [[*place, dataclasses.asdict(seen)] for place, seen in values.items()]


def _places(entries: list[tuple[str, str, dict[str, str]]]) -> dict[tuple[str, str], Seen]:
    return {(pod, container): Seen(**seen) for pod, container, seen in entries}

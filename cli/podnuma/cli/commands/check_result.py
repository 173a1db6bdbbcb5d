"""The answer to one question of `podnuma check`."""

from dataclasses import dataclass
from enum import StrEnum


class CheckState(StrEnum):
    """The answer to one question."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "unknown"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One question's answer: what was found, and the next step, empty where there is none."""

    check: str
    state: CheckState
    found: str
    next_step: str = ""

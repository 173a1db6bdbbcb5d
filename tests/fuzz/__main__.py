"""`make fuzz SECONDS=n SEED=m`: changed inputs for everything that reads what others wrote.

An input that reaches a line of podnuma for the first time is kept and changed further. The seed and the
target give the sequence of inputs. Exits 1 when anything raised what it must not, and prints the input.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.fuzz.mutation import changed
from tests.fuzz.targets import TARGETS, Target

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

_KEPT = 2000
_LARGEST = 50_000  # characters; what is changed further must not grow without end
_SHOWN = 20_000


@dataclass(slots=True)
class Finding:
    """An input that broke something, and how."""

    target: str
    case: int
    value: Any
    error: BaseException


@dataclass(slots=True)
class Run:
    """One target, fed with one sequence of inputs. `lines` are those of podnuma reached so far."""

    target: Target
    seed: int
    cases: int = 0
    lines: set[tuple[CodeType, int]] = field(default_factory=set)
    _fresh: bool = False

    def feed(self, enough: Callable[[], bool]) -> Finding | None:
        """Feed until `enough` says so, or something breaks."""
        rng = random.Random(f"{self.seed} {self.target.name}")
        corpus = list(self.target.seeds)
        for value in corpus:
            if (finding := self._try(value)) is not None:
                return finding
        while not enough():
            # What was found last leads further most often.
            place = max(rng.randrange(len(corpus)), rng.randrange(len(corpus)))
            value = changed(corpus[place], rng)
            if (finding := self._try(value)) is not None:
                return finding
            if self._fresh and len(corpus) < _KEPT and len(repr(value)) < _LARGEST:
                corpus.append(value)
        return None

    def _try(self, value: Any) -> Finding | None:
        self.cases += 1
        self._fresh = False
        sys.settrace(self._enter)
        try:
            self.target.act(value)
        except Exception as error:  # noqa: BLE001 - this is what is looked for
            return Finding(self.target.name, self.cases, value, error)
        finally:
            sys.settrace(None)
        return None

    def _enter(self, frame: FrameType, _event: str, _argument: object) -> Any:
        return self._line if "/podnuma/" in frame.f_code.co_filename else None

    def _line(self, frame: FrameType, event: str, _argument: object) -> Any:
        if event == "line":
            place = (frame.f_code, frame.f_lineno)
            if place not in self.lines:
                self.lines.add(place)
                self._fresh = True
        return self._line


def _after(seconds: float) -> Callable[[], bool]:
    end = time.process_time() + seconds
    return lambda: time.process_time() > end


def main(arguments: list[str] | None = None) -> int:
    """Feed every target for its share of the time."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0, help="of processor time, in all")
    parser.add_argument("--target", choices=[target.name for target in TARGETS], help="only this one")
    chosen = parser.parse_args(arguments)
    targets = [target for target in TARGETS if chosen.target in {None, target.name}]
    found = 0
    for target in targets:
        run = Run(target, chosen.seed)
        finding = run.feed(_after(chosen.seconds / len(targets)))
        sys.stdout.write(f"{target.name}: seed {chosen.seed}, {run.cases:,} inputs, {len(run.lines)} lines\n")
        if finding is not None:
            found += 1
            sys.stdout.write(f"FOUND by input {finding.case}: {finding.value!r:.{_SHOWN}}\n")
            traceback.print_exception(finding.error, file=sys.stdout)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

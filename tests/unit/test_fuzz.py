"""Everything that reads what others wrote, fed for a moment; `make fuzz` feeds it for longer."""

import pytest

from tests.fuzz.__main__ import Run
from tests.fuzz.targets import TARGETS, Target

INPUTS = 100
every_target = pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])


def fed(target, seed=7, inputs=INPUTS):
    run = Run(target, seed)
    return run, run.feed(lambda: run.cases >= inputs)


@every_target
def test_no_input_raises_what_its_reader_does_not_promise(target):
    run, finding = fed(target)
    assert finding is None, f"{finding.value!r}: {finding.error!r}"
    assert run.cases == INPUTS
    assert run.lines


def test_the_seed_gives_the_inputs():
    def inputs(seed):
        seen: list[object] = []
        fed(Target("any", seen.append, ["0-3,8", {"a": [1, "b"]}]), seed, 40)
        return repr(seen)

    assert inputs(1) == inputs(1)
    assert inputs(1) != inputs(2)


def test_an_input_that_breaks_something_is_found():
    def act(value):
        if not isinstance(value, str):
            raise TypeError("no text")

    _, finding = fed(Target("any", act, ["1"]), inputs=5000)
    assert finding is not None
    assert isinstance(finding.error, TypeError)
    assert not isinstance(finding.value, str)

"""Minutes of changed inputs for everything that reads what others wrote, each from its own seed."""

import os
import time

import pytest

from tests.fuzz.__main__ import Run
from tests.fuzz.targets import TARGETS

pytestmark = pytest.mark.timeout(1200)

SEED = int(os.environ.get("PODNUMA_SEED", "1"))
SECONDS = 60  # of processor time


@pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])
def test_no_input_raises_what_its_reader_does_not_promise(target):
    end = time.process_time() + SECONDS
    finding = Run(target, SEED).feed(lambda: time.process_time() > end)
    assert finding is None, f"seed {SEED}, input {finding.case}: {finding.value!r}: {finding.error!r}"

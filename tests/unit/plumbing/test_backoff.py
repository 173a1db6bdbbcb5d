import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podnuma.plumbing.backoff import Backoff


def test_delays_double_up_to_the_limit():
    backoff = Backoff(first=1.0, limit=10.0)
    assert [backoff.ceiling(n) for n in (1, 2, 3, 4, 5, 6)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


@given(st.integers(min_value=-5, max_value=10**9), st.integers())
def test_any_number_of_failures_gives_a_delay_in_the_upper_half(failures, seed):
    backoff = Backoff(first=0.5, limit=300.0)
    delay = backoff.delay(failures, random.Random(seed))
    assert backoff.ceiling(failures) / 2 <= delay <= backoff.ceiling(failures) <= 300.0


@pytest.mark.parametrize(("first", "limit"), [(0, 1), (-1, 1), (2, 1)])
def test_a_backoff_that_would_spin_is_refused(first, limit):
    with pytest.raises(ValueError, match="0 < first <= limit"):
        Backoff(first, limit)

"""Amounts are exact in both directions."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podnuma.allocator import Quantity
from podnuma.api.quantity import read_bytes, read_quantity, render_quantity

from tests.unit.api.objects import junk


@pytest.mark.parametrize(
    ("value", "milli"),
    [
        ("4", 4000),
        ("4000m", 4000),
        (4, 4000),
        (1.5, 1500),
        ("0.5", 500),
        ("2e3", 2_000_000),
        (0, 0),
        ("+4", 4000),
        (" 4\n", 4000),
    ],
)
def test_texts_and_numbers_are_amounts(value, milli):
    assert read_quantity(value).milli == milli


@pytest.mark.parametrize(
    ("value", "size"),
    [("16Gi", 2**34), ("129e6", 129_000_000), ("1500m", 2), ("0.5Gi", 2**29), (1024, 1024)],
)
def test_bytes_round_up(value, size):
    assert read_bytes(value) == size


@pytest.mark.parametrize(
    "value",
    [
        "",
        "-1",
        " ",
        "1e3Mi",
        "4 CPUs",
        "9" * 65,
        True,
        None,
        [],
        -1,
        pytest.param(10**5000, id="huge"),
        float("nan"),
    ],
)
def test_what_is_no_amount_is_refused(value):
    with pytest.raises(ValueError):  # noqa: PT011 - texts of many kinds
        read_quantity(value)


@given(junk)
def test_nothing_but_value_error_is_raised(value):
    with contextlib.suppress(ValueError):
        read_quantity(value)


@pytest.mark.parametrize(
    ("nano", "resource", "words"),
    [
        (4 * 10**9, "cpu", "4"),
        (1024 * 10**9, "cpu", "1024"),
        (1500 * 10**6, "cpu", "1500m"),
        (2**34 * 10**9, "memory", "16Gi"),
        (1536 * 2**20 * 10**9, "memory", "1536Mi"),
        (129 * 10**15, "memory", "129000000"),
        (1, "cpu", "1n"),
    ],
)
def test_amounts_are_written_in_their_shortest_exact_form(nano, resource, words):
    assert render_quantity(Quantity(nano), resource) == words


@given(st.integers(0, (2**63 - 1) * 10**9), st.sampled_from(["cpu", "memory", "hugepages-2Mi"]))
def test_an_amount_is_read_as_it_was_rendered(nano, resource):
    assert read_quantity(render_quantity(Quantity(nano), resource)) == Quantity(nano)

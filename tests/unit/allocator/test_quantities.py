"""Exact amounts; specification, section 0.4."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podnuma.allocator.quantities import Quantity, format_bytes, format_cpu, of, parse

from tests.unit.allocator.shapes import unhurried


@pytest.mark.parametrize(
    ("value", "milli", "units", "integral"),
    [
        ("4", 4000, 4, True),
        ("4000m", 4000, 4, True),
        (4, 4000, 4, True),
        ("1500m", 1500, 2, False),
        ("1.5", 1500, 2, False),
        (0.5, 500, 1, False),
        ("0", 0, 0, True),
        ("1999.5m", 2000, 2, True),
        ("1m", 1, 1, False),
        ("100n", 1, 1, False),
        ("2k", 2_000_000, 2000, True),
        ("+4", 4000, 4, True),
        ("m", 0, 0, True),
    ],
)
def test_cpus_are_exact_and_round_up(value, milli, units, integral):
    found = parse(value)
    assert (found.milli, found.units, found.integral) == (milli, units, integral)


@pytest.mark.parametrize(
    ("text", "size", "representable"),
    [
        ("16Gi", 16 * 2**30, True),
        ("129e6", 129_000_000, True),
        ("129M", 129_000_000, True),
        ("1e3", 1000, True),
        ("1E3", 1000, True),
        ("2E", 2 * 10**18, True),
        ("1.5", 2, False),
        ("1500m", 2, False),
        ("0.5Gi", 536_870_912, False),
        ("1.5Gi", 1_610_612_736, False),
        ("1536Mi", 1_610_612_736, True),
        ("99Ti", 99 * 2**40, True),
        ("100Ti", 100 * 2**40, False),
        ("1Pi", 2**50, False),
        ("99999Gi", 99_999 * 2**30, True),
        ("100000Gi", 100_000 * 2**30, False),
        ("1000000000000000000", 10**18, False),
        ("100000000000000000", 10**17, True),
        ("9999999999999999999999Ei", 2**63 - 1, False),
        ("1e999", 2**63 - 1, False),
        ("1e-999", 1, False),
        ("+16Gi", 16 * 2**30, True),
        ("Gi", 0, True),
        (".", 0, True),
        ("e3", 0, True),
        ("-0", 0, True),
    ],
)
def test_bytes_are_exact_and_know_whether_the_kubelet_can_read_them(text, size, representable):
    found = parse(text)
    assert (found.bytes, found.representable) == (size, representable)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 4",
        "4 ",
        "++4",
        "+ 4",
        "-1",
        "-1n",
        "1e3Mi",
        "4Kib",
        "ki",
        "1K",
        "e",
        "1..2",
        "0x10",
        "NaN",
        "inf",
        "\u0664",
        "1" * 65,
    ],
)
def test_what_is_no_quantity_is_refused(text):
    with pytest.raises(ValueError, match="is not a quantity"):
        parse(text)


@pytest.mark.parametrize("value", [True, -1, float("nan"), float("inf"), -0.5])
def test_numbers_that_are_no_amounts_are_refused(value):
    with pytest.raises(ValueError, match="is not a quantity"):
        parse(value)


def test_amounts_are_equal_when_their_values_are():
    assert parse("1") == parse("1000m") == parse("1e0") == of(1)
    assert parse("1.5Gi") == parse("1536Mi")
    assert hash(parse("1")) == hash(parse("1000m"))


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (16 * 2**30, "16Gi"),
        (1536 * 2**20, "1536Mi"),
        (1000, "1000"),
        (0, "0"),
        (2**40, "1Ti"),
        (1025, "1025"),
    ],
)
def test_bytes_are_written_with_the_largest_suffix_that_divides(size, text):
    assert format_bytes(size) == text


@pytest.mark.parametrize(("milli", "text"), [(4000, "4"), (1500, "1500m"), (0, "0")])
def test_cpus_are_written_as_kubernetes_does(milli, text):
    assert format_cpu(milli) == text


@unhurried()
@given(st.integers(min_value=0, max_value=2**62))
def test_written_bytes_read_back(size):
    assert parse(format_bytes(size)).bytes == size


@unhurried()
@given(st.text(max_size=70))
def test_no_text_does_anything_but_parse_or_raise_value_error(text):
    with contextlib.suppress(ValueError):
        assert isinstance(parse(text), Quantity)

"""Packed, spread and cache-aligned picking; numbers are those of the specification, section 11.2."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podnuma.allocator import cpuset
from podnuma.allocator.cpu.order import Order
from podnuma.allocator.cpu.pack import Style, packed
from podnuma.allocator.refusal import Refusal

from tests.unit.allocator.shapes import cpus, from_cores, machine, unhurried

OLD_SPREAD = Style(spread=True, before_v1_38=True)
OLD_CACHES = Style(caches=True, before_v1_38=True)

PACKED = [
    ("SS8", "0-7", 1, "0"),
    ("SS8", "1,3,5-7", 1, "6"),
    ("SS8", "0-3,6", 2, "2,6"),
    ("SS8", "0-7", 8, "0-7"),
    ("DS12", "0-11", 6, "0,2,4,6,8,10"),
    ("DS12", "0-11", 8, "0-2,4,6-8,10"),
    ("DS12", "1-5,7-11", 1, "2"),
    ("DS12", "1-5,7-11", 10, "1-5,7-11"),
    ("MN80", "0-79", 64, "0-31,40-71"),
    ("MN80", "1-39,41-79", 60, "10-39,50-79"),
    ("TS18", "0-17", 12, "0-11"),
]
SPREAD = [
    ("SS8", "0-7", 3, "0-2"),
    ("DS12", "0-11", 2, "0,2"),
    ("DS12", "0-11", 8, "0-4,6,8,10"),
    ("MN80", "0-79", 8, "0-7"),
]
CACHES = [
    ("U16A", "1-15", 10, "1-2,4-11"),
    ("U16D", "1-7,9-15", 10, "1,4-7,9,12-15"),
    ("U16D", "2-7,10-15", 6, "4-6,12-14"),
    ("DS12", "1-5,7-11", 1, "1"),
    ("U16B", "2-15", 6, "2-7"),
    ("U16C", "3-8,12", 2, "4-5"),
    ("U128", "2-63,66-127", 8, "4-7,68-71"),
    ("U128", "2-63,66-127", 3, "2-3,66"),
    ("U128", "2-63,65-127", 3, "2,65-66"),
    ("U128", "2-63,65-127", 4, "4-5,68-69"),
    ("U128", "2-63,65-127", 11, "2,4-7,65-66,68-71"),
]

# What kubelet v1.38.0-beta.0 takes.
ROUND_ROBIN = [
    ("SS8", "1-7", 3, "1-2,4"),
    ("SS8", "0,2-7", 4, "0,2-3,5"),
    ("SS8", "1-7", 6, "1-6"),
    ("DS12", "1-11", 2, "2,6"),
    ("DS12", "1-11", 8, "1-3,5-7,9,11"),
    ("MN80", "1-79", 8, "1-7,40"),
    ("TS18", "1-17", 4, "1-4"),
    ("DS12", "1-5,7-11", 3, "2,4,8"),
]


@pytest.mark.parametrize(("name", "free", "count", "expected"), PACKED)
def test_packed_takes_whole_elements_then_the_most_used_core(name, free, count, expected):
    assert cpuset.render(packed(Order.of(machine(name)), cpus(free), count)) == expected


@pytest.mark.parametrize(("name", "free", "count", "expected"), SPREAD)
def test_spread_takes_one_thread_after_the_other_before_v1_38(name, free, count, expected):
    assert (
        cpuset.render(
            packed(Order.of(machine(name)), cpus(free), count, Style(spread=True, before_v1_38=True))
        )
        == expected
    )


@pytest.mark.parametrize(("name", "free", "count", "expected"), CACHES)
def test_caches_are_used_whole_or_to_the_exact_rest_before_v1_38(name, free, count, expected):
    assert (
        cpuset.render(
            packed(Order.of(machine(name)), cpus(free), count, Style(caches=True, before_v1_38=True))
        )
        == expected
    )


@pytest.mark.parametrize(("name", "free", "count", "expected"), ROUND_ROBIN)
def test_spread_takes_a_thread_of_every_core_before_a_second_of_any(name, free, count, expected):
    assert cpuset.render(packed(Order.of(machine(name)), cpus(free), count, Style(spread=True))) == expected


@pytest.mark.parametrize(("name", "free", "count", "expected"), CACHES)
def test_caches_of_one_size_are_used_as_before(name, free, count, expected):
    assert cpuset.render(packed(Order.of(machine(name)), cpus(free), count, Style(caches=True))) == expected


def test_a_whole_small_cache_comes_before_a_part_of_a_large_one():
    unequal = from_cores([((k,), 0, 0, 0 if k < 4 else 1) for k in range(16)])
    order = Order.of(unequal)
    assert packed(order, cpus("0-15"), 6, Style(caches=True)) == cpus("0-5")
    assert packed(order, cpus("0-15"), 6, OLD_CACHES) == cpus("4-9")


def test_too_few_cpus_name_both_numbers():
    with pytest.raises(Refusal) as refusal:
        packed(Order.of(machine("SS8")), cpus("0,2,4,6"), 5)
    assert refusal.value.message == (
        "Allocate failed due to not enough cpus available to satisfy request: requested=5, available=4, "
        "which is unexpected"
    )


def test_nothing_asked_takes_nothing():
    assert packed(Order.of(machine("SS8")), 0, 0) == 0


def test_a_busy_sibling_is_never_claimed_on_cores_of_unequal_width():
    # 6 cores of two threads, 4 of one: 16 CPUs on 10 cores are 1 CPU per core on average.
    hybrid = from_cores(
        [((2 * k, 2 * k + 1), 0, 0, None) for k in range(6)] + [((12 + k,), 0, 0, None) for k in range(4)]
    )
    free = cpus("1-15")
    assert packed(Order.of(hybrid), free, 2) == cpus("12-13")
    assert packed(Order.of(hybrid), free, 5) == cpus("1,12-15")


def test_unequal_sockets_are_whole_when_their_own_cpus_are_free():
    lopsided = from_cores([((k,), 0, 0, None) for k in range(4)] + [((4 + k,), 1, 1, None) for k in range(8)])
    assert packed(Order.of(lopsided), cpus("0-11"), 4) == cpus("0-3")
    assert packed(Order.of(lopsided), cpus("0-11"), 8) == cpus("0-3,4-7")


@unhurried()
@given(
    name=st.sampled_from(["SS8", "DS12", "MN80", "FK80", "TS18", "U16A", "U16B", "U16C", "U16D", "MT80"]),
    free=st.integers(min_value=0, max_value=2**80 - 1),
    share=st.floats(min_value=0, max_value=1),
    spread=st.booleans(),
    caches=st.booleans(),
    older=st.booleans(),
)
def test_the_result_is_part_of_what_is_free_and_has_the_wanted_size(name, free, share, spread, caches, older):
    topology = machine(name)
    free &= topology.all_cpus
    count = int(share * free.bit_count())
    got = packed(Order.of(topology), free, count, Style(spread, caches, older))
    assert got & ~free == 0
    assert got.bit_count() == count

"""Distribution over NUMA nodes; numbers are those of the specification, sections 11.3 and 10.2."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podnuma.allocator import cpuset
from podnuma.allocator.cpu.distribute import Dealing, distributed, distributed_within
from podnuma.allocator.cpu.order import Order
from podnuma.allocator.refusal import Refusal

from tests.unit.allocator.shapes import cpus, from_cores, machine, unhurried

L256_BUSY = (
    "0,30-31,43-47,62-63,75-79,94,96,101-111,126-128,158-159,171-175,190-191,203-207,222-223,229-239,254-255"
)

SPREAD_EVENLY = [
    ("DS12", 1, "0-11", 8, "0-3,6-9"),
    ("MN80", 1, "0-79", 26, "0-6,10-16,40-45,50-55"),
    ("MN80", 2, "0-79", 26, "0-6,10-15,40-46,50-55"),
    ("MN80", 1, "0-79", 62, "0-7,10-17,20-27,30-37,40-47,50-57,60-66,70-76"),
    ("MN80", 2, "0-79", 62, "0-7,10-17,20-27,30-36,40-47,50-57,60-67,70-76"),
    ("MN80", 1, "0-79", 64, "0-7,10-17,20-27,30-37,40-47,50-57,60-67,70-77"),
    (
        "MN80",
        1,
        "0-3,10-13,20-23,30-36,40-43,50-53,60-63,70-76",
        34,
        "0-3,10-13,20-23,30-34,40-43,50-53,60-63,70-74",
    ),
    ("DS12", 1, "1-5,7-11", 1, "1"),
    ("DS12", 2, "1-5,7-11", 1, "2"),
    ("MN80", 1, "2-29,31-39,42-69,71-79", 48, "10-17,20-27,31-38,50-57,60-67,71-78"),
    (
        "MN80",
        1,
        "0-8,10-18,20-48,50-58,60-79",
        62,
        "0-7,10-17,20-27,30-37,40-46,50-56,60-67,70-77",
    ),
    (
        "MN80",
        2,
        "0-8,10-18,20-48,50-58,60-79",
        62,
        "0-7,10-16,20-27,30-37,40-47,50-56,60-67,70-77",
    ),
    ("L256", 1, L256_BUSY, 28, "43-47,75-79,96,101-105,171-174,203-206,229-232"),
    ("MT80", 1, "1-15", 6, "1-2,5-6,9-10"),
    ("MT80", 1, "1-9,12-13,16-17", 6, "1,4-5,8-9,12"),
]
WITHIN_A_SOCKET = [
    ("1-15", "1,3,5,7,9,11"),
    ("1-9,12-13,16-17", "1,3,5,7,9,13"),
    ("1-5,8-9,12-13", "1,4-5,8-9,12"),
]
OVERWRITTEN = [
    (100, "0-2,7"),
    (128, "0-2,7"),
    (140, "0-4"),
    (190, "0-4,7"),
    (200, "0-4,6-7"),
    (224, "0-4,6-7"),
    (256, "0-7"),
]


@pytest.mark.parametrize(("name", "group", "free", "count", "expected"), SPREAD_EVENLY)
def test_even_shares_leave_the_machine_balanced(name, group, free, count, expected):
    got = distributed(Order.of(machine(name)), cpus(free), count, Dealing(group, before_v1_38=True))
    assert cpuset.render(got) == expected


@pytest.mark.parametrize(("free", "expected"), WITHIN_A_SOCKET)
def test_aligned_by_socket_one_socket_goes_before_balance(free, expected):
    got = distributed(Order.of(machine("MT80")), cpus(free), 6, Dealing(1, by_socket=True, before_v1_38=True))
    assert cpuset.render(got) == expected


@pytest.mark.parametrize(("count", "expected"), OVERWRITTEN)
def test_a_remembered_combination_is_overwritten_before_v1_38(count, expected):
    topology = machine("L256")
    got = distributed(Order.of(topology), topology.all_cpus, count, Dealing(1, before_v1_38=True))
    assert cpuset.render(topology.nodes_of(got)) == expected
    assert got.bit_count() == count


def test_an_affinity_is_binding_though_fewer_nodes_would_do():
    wide = from_cores([((k, k + 128), k // 32, k // 32, None) for k in range(128)])
    order = Order.of(wide)
    got = distributed_within(order, wide.all_cpus, 176, Dealing(1, before_v1_38=True))
    assert [(mask & got).bit_count() for _, mask in wide.numa] == [44, 44, 44, 44]
    assert wide.nodes_of(distributed(order, wide.all_cpus, 176, Dealing(1, before_v1_38=True))) == 0b0111


def test_as_many_nodes_are_used_as_the_affinity_names_if_they_have_free_cpus():
    wide = from_cores([((k, k + 128), k // 32, k // 32, None) for k in range(128)])
    order, dealing = Order.of(wide), Dealing(1)

    def used(free, nodes):
        return wide.nodes_of(distributed(order, free, 64, dealing, nodes))

    assert used(wide.all_cpus, 0) == 0b0001
    assert used(wide.all_cpus, 3) == 0b0111
    assert used(wide.all_cpus, 4) == 0b1111
    assert used(wide.cpus_on(0b0101), 3) == 0b0001


def test_too_few_cpus_are_refused():
    with pytest.raises(Refusal, match="requested=3, available=2"):
        distributed(Order.of(machine("SS8")), cpus("0,1"), 3, Dealing(1, before_v1_38=True))


@pytest.mark.parametrize("count", range(1, 15))
def test_broken_cores_on_every_node_end_in_an_answer(count):
    # One thread of each node is taken: whole cores are dealt from odd leftovers.
    got = distributed(Order.of(machine("D16")), cpus("1-3,5-15"), count, Dealing(2, before_v1_38=True))
    assert got.bit_count() == count


@unhurried()
@given(
    name=st.sampled_from(["DS12", "MN80", "FK80", "MT80", "L256"]),
    free=st.integers(min_value=0, max_value=2**256 - 1),
    share=st.floats(min_value=0, max_value=1),
    group=st.sampled_from([1, 2]),
    by_socket=st.booleans(),
    older=st.booleans(),
    nodes=st.integers(min_value=0, max_value=9),
)
def test_every_distribution_ends_with_the_wanted_number_of_free_cpus(  # noqa: PLR0917
    name, free, share, group, by_socket, older, nodes
):
    topology = machine(name)
    free &= topology.all_cpus
    count = int(share * free.bit_count())
    got = distributed(Order.of(topology), free, count, Dealing(group, by_socket, older), nodes)
    assert got & ~free == 0
    assert got.bit_count() == count

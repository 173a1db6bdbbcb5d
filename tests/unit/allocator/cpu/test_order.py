"""The order in which levels are used up; specification, section 2.2."""

from podnuma.allocator.cpu.order import Order, by_free

from tests.unit.allocator.shapes import cpus, machine


def _ids(found):
    return [name for _, name, _ in found]


def test_fewest_free_cpus_come_first_and_empty_elements_not_at_all():
    elements = [(0, 0b11), (1, 0b1100), (2, 0b110000), (3, 0b11000000)]
    assert by_free(elements, 0b01110111) == [
        (1, 1, 0b1100),
        (1, 3, 0b11000000),
        (2, 0, 0b11),
        (2, 2, 0b110000),
    ]


def test_with_as_many_sockets_as_nodes_nodes_contain_sockets():
    order = Order.of(machine("FK80"))
    assert order.numa_first
    free = cpus("0-79") & ~cpus("20-22")
    assert _ids(order.numa_nodes(free)) == [1, 0]
    assert _ids(order.sockets(free)) == [2, 3, 0, 1]


def test_with_fewer_sockets_than_nodes_sockets_contain_nodes():
    order = Order.of(machine("MN80"))
    assert not order.numa_first
    free = cpus("0-79") & ~cpus("30-32")
    assert _ids(order.sockets(free)) == [1, 0]
    assert _ids(order.numa_nodes(free)) == [3, 2, 0, 1]


def test_all_nodes_of_a_machine_share_one_order():
    assert Order.of(machine("SS8")) is Order.of(machine("SS8"))


def test_caches_follow_the_nodes_they_are_in():
    order = Order.of(machine("U64"))
    free = cpus("0-63") & ~cpus("40")
    assert _ids(order.uncores(free)) == [5, 4, 6, 7, 0, 1, 2, 3]

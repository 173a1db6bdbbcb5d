"""Small nodes and fleets of them."""

from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.placement.fleet import Fleet
from podnuma.allocator.rules import Rules

from tests.unit.allocator.shapes import machine, settings


def rules(name: str = "DN8", **changes) -> Rules:
    return Rules(settings(**changes), machine(name))


def emptied(name: str = "DN8", **changes) -> NodeAllocator:
    return NodeAllocator(rules(name, **changes))


def fleet(nodes: dict[str, NodeAllocator]) -> Fleet:
    found = Fleet()
    for name, allocator in nodes.items():
        found.update(name, allocator)
    return found

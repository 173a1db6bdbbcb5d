"""Cut the bubble of a pod into what each of its containers may use.

A bubble is what one pod holds as a whole. Containers are walked in spec order; an exclusive
one takes a slice; what no long-running slice took is the pod shared pool.

    bubble 2-7     migrate  init, exclusive 3     2-4    free again for all below
                   log      sidecar, exclusive 1  2      kept for the life of the pod
                   db       app, exclusive 3      3-5
                   proxy    app, shared           6-7    the pool

Always true, for CPUs and for every memory resource: slices and pool lie inside the bubble;
slices of containers that can run at the same time never meet; the pool is empty only when
no container runs in it. A shared sidecar may meet the slice of a later init container, as in
the kubelet. A shared init container has everything but the exclusive sidecars before it. What
no container asked for stays the pod's, unused. *Which* CPUs a slice gets is decided in cpu/pick.py.
In the kubelet: `AllocatePod` of both managers.
"""

from collections.abc import Callable

from podnuma.allocator import refusal
from podnuma.allocator.decision import MemoryBlock
from podnuma.allocator.eligibility import Bytes, ExclusiveRequests
from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.request import ContainerKind

Blocks = tuple[MemoryBlock, ...]


def cut_cpus(requests: ExclusiveRequests, bubble: int, pick: Callable[[int, int], int]) -> list[int]:
    """Return the CPUs of every container, in container order.

    `pick` takes so many of the CPUs it is given. Raises Refusal when the containers ask for more than
    the bubble has.
    """
    pool = bubble
    cut: list[int | None] = []
    for container, count in zip(requests.pod.containers, requests.cpus, strict=True):
        if count:
            own = pick(pool, count)
            if container.kind is not ContainerKind.INIT:
                pool &= ~own
            cut.append(own)
        else:
            cut.append(pool if container.kind is ContainerKind.INIT else None)
    return [pool if own is None else own for own in cut]


def cut_memory(requests: ExclusiveRequests, budget: Bytes, nodes: NodeSet) -> list[Blocks]:
    """Return the memory blocks of every container, in container order, all on the same nodes.

    Raises Refusal when the containers ask for more than the budget has, or for an amount that
    cannot be represented.
    """
    pool = dict(budget)
    cut: list[Blocks | None] = []
    for container, sizes in zip(requests.pod.containers, requests.memory, strict=True):
        if sizes is None:
            raise refusal.memory("failed to represent quantity as int64")
        if sizes:
            left = _without(pool, sizes, container.name)
            if container.kind is not ContainerKind.INIT:
                pool = left
            cut.append(blocks(nodes, sizes))
        else:
            cut.append(blocks(nodes, pool) if container.kind is ContainerKind.INIT else None)
    shared = blocks(nodes, pool)
    return [shared if own is None else own for own in cut]


def blocks(nodes: NodeSet, sizes: Bytes) -> Blocks:
    """Return one block per resource, those of 0 bytes left out."""
    return tuple([MemoryBlock(resource, nodes, size) for resource, size in sizes.items() if size > 0])


def _without(pool: Bytes, sizes: Bytes, name: str) -> dict[str, int]:
    left = dict(pool)
    for resource, size in sizes.items():
        if size > left.get(resource, 0):
            raise refusal.memory(
                f"container {name} asks for more {resource} than the budget of its pod has left"
            )
        if size:
            left[resource] -= size
    return left

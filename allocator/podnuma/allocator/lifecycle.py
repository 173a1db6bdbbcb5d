"""What changes in a grant while its pod lives: almost nothing.

A container that stops or restarts keeps what it has; a grant goes with its pod. Two things do
happen in a kubelet, and both give a new grant in the place of the old:

* a container starts: the standard init containers before it have ended for good, and what they
  hold beyond what later containers took over goes back to the node (memory only; their CPUs
  are given back with the pod);
* a container is forgotten: what only it holds goes back. A bubble goes with its last container.

Always true: neither ever adds anything to a grant. In the kubelet: `RemoveContainer` of both
managers, `updateInitContainersMemoryBlocks` of memorymanager/policy_static.go.
"""

from dataclasses import replace

from podnuma.allocator.counts import AssignmentType
from podnuma.allocator.decision import ContainerGrant, Isolation, PodGrant
from podnuma.allocator.request import ContainerKind


def after_start(grant: PodGrant, name: str) -> PodGrant:
    """Return the grant once container `name` has started; an unknown name is an ephemeral one."""
    containers = list(grant.containers)
    for place, container in enumerate(containers):
        if container.name == name:
            break
        if container.kind is ContainerKind.INIT:
            containers[place] = _without_memory(container)
    return _settled(replace(grant, containers=tuple(containers)))


def without_container(grant: PodGrant, name: str) -> PodGrant:
    """Return the grant without what only container `name` holds. Raises KeyError if there is none."""
    gone = grant.container(name)
    bare = replace(
        _without_memory(gone),
        cpus=None,
        cpu_assignment=AssignmentType.NODE_SHARED,
        isolation=Isolation.HOST,
    )
    containers = tuple(bare if container is gone else container for container in grant.containers)
    return _settled(replace(grant, containers=containers))


def _without_memory(container: ContainerGrant) -> ContainerGrant:
    return replace(container, memory=(), memory_nodes=None, memory_assignment=AssignmentType.NODE_SHARED)


def _settled(grant: PodGrant) -> PodGrant:
    """Give up a bubble that no container has a part of any more."""
    shared = AssignmentType.NODE_SHARED
    if all(container.cpus is None for container in grant.containers):
        grant = replace(grant, cpus=None)
    if all(container.memory_assignment is shared for container in grant.containers):
        grant = replace(grant, memory=())
    return replace(grant, pod_level=grant.cpus is not None or bool(grant.memory))

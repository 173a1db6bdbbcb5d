"""Why a pod was placed where it was, or what would have to be different for it to fit.

An Explanation is plain data: what every NUMA node had free, what each side wished and what
came out of the merge, step by step, what was decided, notes on what is easily overlooked, and
for a refused pod the single changes that would make it fit, smallest first (or, where no single
one does, two that do together). It is made by calling the pieces that `decide` calls, one by
one, on the node as it is; it costs the fast path nothing.

Always true: `decision` is what `Node.decide` answers; explaining changes nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice

from podnuma.allocator.change import Change, Changes, changes
from podnuma.allocator.decision import Admitted, Rejected
from podnuma.allocator.eligibility import Bytes, Claims, claims, qos
from podnuma.allocator.hints import Hint
from podnuma.allocator.merge import Wish, Wishes
from podnuma.allocator.node import Node
from podnuma.allocator.nodechoice import candidates
from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.notes import Path, Side, Step, notes
from podnuma.allocator.quantities import format_bytes
from podnuma.allocator.refusal import Refusal
from podnuma.allocator.request import CPU, MEMORY, Pod, Qos
from podnuma.allocator.scope_container import Serving
from podnuma.allocator.scope_pod import pod_wishes
from podnuma.allocator.trial import Trial

# Of a hint list as many are kept as 8 NUMA nodes have.
MAX_HINTS = 255


@dataclass(frozen=True, slots=True)
class FreeRow:
    """What a NUMA node had of a resource, in CPUs or bytes, before the pod.

    `grantable` is what an empty node could give. `group` is the set of nodes that this one shares
    memory blocks with, itself alone if none.
    """

    node: int
    resource: str
    free: int
    grantable: int
    group: NodeSet


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything about one decision."""

    decision: Admitted | Rejected
    qos: Qos
    path: Path
    free: tuple[FreeRow, ...]
    steps: tuple[Step, ...]
    notes: tuple[str, ...]
    changes: tuple[Change, ...]
    together: tuple[Change, ...]

    @property
    def change(self) -> Change | None:
        """The smallest single change that makes a refused pod fit, if one does."""
        return self.changes[0] if self.changes else None


def explain(node: Node, pod: Pod) -> Explanation:
    """Decide about a pod and say why. A pod that is held already is explained as if it were not."""
    fresh = node.without(pod.uid)
    wanted = claims(pod, pod_level_managers=node.settings.pod_level_managers)
    decision = fresh.decide(pod)
    path = _path(fresh, wanted)
    steps = tuple(_steps(fresh, wanted, path))
    found = Changes((), ())
    if isinstance(decision, Rejected):
        found = changes(pod, lambda other: isinstance(fresh.decide(other), Admitted), _most(fresh))
    return Explanation(
        decision,
        qos(pod),
        path,
        tuple(_free(fresh)),
        steps,
        tuple(notes(fresh, wanted, path, steps)),
        found.single,
        found.together,
    )


def _path(node: Node, wanted: Claims) -> Path:
    if not wanted.guaranteed:
        return Path.SHARED
    if node.rules.pod_scope and wanted.pod.pod_level:
        return Path.BUBBLE
    return Path.CONTAINERS


def _steps(node: Node, wanted: Claims, path: Path) -> Iterator[Step]:
    rules, pod = node.rules, (wanted.pod_cpus, wanted.pod_memory)
    if path is Path.SHARED or not rules.aligned:
        return
    serving = Serving(rules, node.default_set, node.tables, wanted)
    if path is Path.BUBBLE:
        yield _step(node, serving, "pod", pod, pod_wishes(rules, node.default_set, node.tables, wanted))
        return
    if rules.pod_scope:
        yield _step(node, serving, "pod", pod, serving.wishes(*pod))
        return
    trial = Trial(len(wanted.pod.containers))
    for place, container in enumerate(wanted.pod.containers):
        own = wanted.cpus[place], wanted.memory[place]
        step = _step(node, serving, container.name, own, serving.wishes(*own))
        yield step
        if step.merged is None:
            return
        try:
            serving.serve(place, step.merged, trial)
        except Refusal:
            return


def _step(
    node: Node, serving: Serving, subject: str, wanted: tuple[int, Bytes | None], wishes: Wishes
) -> Step:
    rules = node.rules
    cpus, memory = wanted
    sides = []
    if rules.static_cpu and cpus:
        free = (serving.default & ~rules.reserved).bit_count()
        sides.append(_side(node, CPU, (f"{cpus} cpu", f"{free} cpu"), wishes.cpu))
    if rules.static_memory and memory:
        have = {name: max(serving.tables.free_on(node.topology.all_nodes, name), 0) for name in memory}
        sides.append(_side(node, MEMORY, (_amounts(memory), _amounts(have)), wishes.memory))
    merged = rules.merger.merge(wishes.cpu, wishes.memory, impossible=wishes.impossible)
    return Step(subject, tuple(sides), merged)


def _side(node: Node, resource: str, texts: tuple[str, str], wish: Wish | None) -> Side:
    wanted, free = texts
    if wish is None:
        # Wanted, but not wished: the pod shared pool would be empty.
        return Side(resource, wanted, free, 0, ())
    found = tuple(islice(_hints(node, wish), MAX_HINTS))
    return Side(resource, wanted, free, wish.least, None if resource == MEMORY and not found else found)


def _amounts(sizes: Bytes) -> str:
    return ", ".join(f"{format_bytes(size)} {name}" for name, size in sizes.items())


def _hints(node: Node, wish: Wish) -> Iterator[Hint]:
    topology = node.topology
    sizes = range(1, len(topology.nodes) + 1)
    ordered = chain.from_iterable(candidates(topology, size, wish.offers(size)) for size in sizes)
    return (Hint(nodes, wish.prefers(nodes)) for nodes in ordered if wish.holds(nodes))


def _free(node: Node) -> Iterator[FreeRow]:
    rules = node.rules
    for one in node.topology.nodes:
        group = node.memory_group(one.id)
        if rules.static_cpu:
            own = node.topology.cpus_of_node(one.id) & ~rules.reserved
            yield FreeRow(one.id, CPU, (own & node.default_set).bit_count(), own.bit_count(), group)
        if rules.static_memory:
            for resource, row in node.memory_rows(one.id).items():
                yield FreeRow(one.id, resource, row.free, row.allocatable, group)


def _most(node: Node) -> dict[str, int]:
    """Return what the machine could grant at most, by resource."""
    most: dict[str, int] = {}
    for row in _free(node):
        most[row.resource] = most.get(row.resource, 0) + row.grantable
    return most

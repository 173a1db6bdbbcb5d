"""Find the smallest number to change in a refused pod so that it fits.

The numbers of a pod are few: CPUs and memory of its budget, CPUs and memory of each container.
Each is tried alone, down and up, by deciding again; only what is really admitted is offered.
CPUs are tried one whole CPU at a time, memory in doubling steps and then by halving, to the MiB.
A budget is never made smaller than its containers ask for, a container never larger than its
budget. When no single number helps, CPUs and memory of the same place are tried together, CPUs
not far from what they are, or else, of the largest place, as many as fit with the least memory; then
the CPUs of a budget with those of its largest container.

Always true: every suggestion of `single`, applied alone, and those of `together`, applied both,
make `decide` admit the pod on this node as it is. The first single one is the smallest in
relation to the number it changes. The work is bounded: at most MAX_KNOBS numbers, at most
MAX_CPUS_TRIED decisions for each of CPUs. This costs milliseconds and is done only for an
explanation.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from podnuma.allocator.quantities import Quantity, format_bytes, format_cpu, of
from podnuma.allocator.request import CPU, MEMORY, Amounts, ContainerRequest, PodRequest, aggregate, is_memory

MAX_KNOBS = 64
MAX_CPUS_TRIED = 512
NEAR = 8
MIB = 2**20

Fits = Callable[[PodRequest], bool]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One number that makes the pod fit.

    `where` is "pod" or a container's name, `resource` a resource name; `now` and `needed` are
    quantities, the latter the nearest value that fits.
    """

    where: str
    resource: str
    now: str
    needed: str


@dataclass(frozen=True, slots=True)
class Suggestions:
    """What would help: single changes, smallest first, or else two that help together."""

    single: tuple[Suggestion, ...]
    together: tuple[Suggestion, ...]


@dataclass(frozen=True, slots=True)
class _Knob:
    """One number of the pod, in whole CPUs or in bytes, and how to set it."""

    where: str
    resource: str
    value: int
    least: int
    most: int
    text: str
    turn: Callable[[int], PodRequest]

    def change(self, value: int) -> Suggestion:
        """Return the change to a value."""
        needed = str(value) if self.resource == CPU else format_bytes(value)
        return Suggestion(self.where, self.resource, self.text, needed)


def suggest(pod: PodRequest, fits: Fits, most: Mapping[str, int]) -> Suggestions:
    """Return what makes a refused pod fit.

    `most` is what the machine has of each resource (CPUs, bytes): no number is raised above it.
    """
    knobs = list(islice(_knobs(pod, most), MAX_KNOBS))
    found: list[tuple[float, int, Suggestion]] = []
    for rank, knob in enumerate(knobs):
        for value in _nearest(knob, fits):
            size = abs(value - knob.value) / max(knob.value, 1)
            found.append((size, rank, knob.change(value)))
    single = tuple(change for _, _, change in sorted(found, key=lambda entry: entry[:2]))
    return Suggestions(single, () if single else _together(knobs, fits, most) or _in_step(knobs, fits, most))


def _together(knobs: Sequence[_Knob], fits: Fits, most: Mapping[str, int]) -> tuple[Suggestion, ...]:
    for knob in knobs:
        if knob.resource != CPU:
            continue
        around = range(max(knob.least, knob.value - NEAR), min(knob.most, knob.value + NEAR) + 1)
        for count in sorted(around, key=lambda value: (abs(value - knob.value), value)):
            for other in _knobs(knob.turn(count), most):
                if other.where == knob.where and other.resource == MEMORY:
                    for value in _nearest(other, fits):
                        return knob.change(count), other.change(value)
    return _far(knobs, fits, most)


def _far(knobs: Sequence[_Knob], fits: Fits, most: Mapping[str, int]) -> tuple[Suggestion, ...]:
    """Change the largest place: its CPUs to what fits with the least memory, its memory to what fits then."""
    memory = max((one for one in knobs if one.resource == MEMORY), key=lambda one: one.value, default=None)
    own = _of(knobs, memory.where, CPU) if memory else None
    if memory is None or own is None:
        return ()
    # A MiB more than its containers take, for those that share.
    bare = _of(_knobs(memory.turn(memory.least + MIB), most), own.where, CPU)
    for count in _nearest(bare, fits) if bare else ():
        other = _of(_knobs(own.turn(count), most), own.where, MEMORY)
        if other is not None:
            for value in _nearest(other, fits):
                return own.change(count), other.change(value)
    return ()


def _of(knobs: Iterable[_Knob], where: str, resource: str) -> _Knob | None:
    return next((one for one in knobs if (one.where, one.resource) == (where, resource)), None)


def _in_step(knobs: Sequence[_Knob], fits: Fits, most: Mapping[str, int]) -> tuple[Suggestion, ...]:
    """Lower the CPUs of a budget that its containers use up, and those of the largest of them, alike."""
    own = [knob for knob in knobs if knob.resource == CPU and knob.where != "pod"]
    budget = next((knob for knob in knobs if knob.resource == CPU and knob.where == "pod"), None)
    if budget is None or not own:
        return ()
    largest = max(own, key=lambda knob: knob.value)
    for less in range(1, min(largest.value, MAX_CPUS_TRIED)):
        smaller = largest.turn(largest.value - less)
        for other in _knobs(smaller, most):
            if (other.where, other.resource) == ("pod", CPU) and fits(other.turn(budget.value - less)):
                return budget.change(budget.value - less), largest.change(largest.value - less)
    return ()


def _knobs(pod: PodRequest, most: Mapping[str, int]) -> Iterator[_Knob]:
    budget = (pod.pod_requests or {}) if pod.pod_level else {}
    for resource in budget:
        if resource == CPU or is_memory(resource):
            yield _budget_knob(pod, resource, budget, most.get(resource, 0))
    for place, container in enumerate(pod.containers):
        for resource, amount in container.requests.items():
            if (resource == CPU or is_memory(resource)) and amount == container.limits.get(resource):
                yield _Knob(
                    container.name,
                    resource,
                    amount.units,
                    1 if resource == CPU else MIB,
                    budget[resource].units if resource in budget else most.get(resource, 0),
                    _text(resource, amount),
                    _container_turn(pod, place, resource),
                )


def _budget_knob(pod: PodRequest, resource: str, budget: Amounts, most: int) -> _Knob:
    def turn(value: int) -> PodRequest:
        return replace(
            pod,
            pod_requests=dict(budget) | {resource: of(value)},
            pod_limits=dict(pod.pod_limits or {}) | {resource: of(value)},
        )

    asked = [_amount(container, resource).nano for container in pod.containers]
    needed = of(0) if not any(asked) else Quantity(aggregate(pod.containers, asked))
    least = max(needed.units, 1 if resource == CPU else MIB)
    return _Knob(
        "pod", resource, budget[resource].units, least, most, _text(resource, budget[resource]), turn
    )


def _container_turn(pod: PodRequest, place: int, resource: str) -> Callable[[int], PodRequest]:
    def turn(value: int) -> PodRequest:
        old = pod.containers[place]
        new = replace(
            old,
            requests=dict(old.requests) | {resource: of(value)},
            limits=dict(old.limits) | {resource: of(value)},
        )
        return replace(pod, containers=(*pod.containers[:place], new, *pod.containers[place + 1 :]))

    return turn


def _nearest(knob: _Knob, fits: Fits) -> Iterator[int]:
    """Yield the nearest fitting value below and the nearest above, where there is one."""

    def fitting(value: int) -> bool:
        return fits(knob.turn(value))

    if knob.resource == CPU:
        yield from _first(range(knob.value, knob.least - 1, -1)[:MAX_CPUS_TRIED], fitting)
        yield from _first(range(knob.value + 1, knob.most + 1)[:MAX_CPUS_TRIED], fitting)
        return

    def fitting_mib(value: int) -> bool:
        return fitting(value * MIB)

    below, above = knob.value // MIB, -(-knob.value // MIB)
    if knob.least <= knob.most:
        below = min(below, knob.most // MIB + 1)  # what the machine has is tried first, and nothing above it
    # What the machine has may be less than is asked for: then nothing above is worth a try.
    for start, end in ((below, -(-knob.least // MIB)), (above, max(above, knob.most // MIB))):
        yield from (value * MIB for value in _gallop(start, end, fitting_mib))


def _first(values: range, fitting: Callable[[int], bool]) -> Iterator[int]:
    for value in values:
        if fitting(value):
            yield value
            return


def _gallop(start: int, end: int, fitting: Callable[[int], bool]) -> Iterator[int]:
    """Yield a fitting value near `start`, in doubling steps towards `end`, then halving back."""
    direction = 1 if end > start else -1
    step, refused, value = 1, start, start
    while value != end:
        value = min(start + step, end) if direction > 0 else max(start - step, end)
        if fitting(value):
            while abs(value - refused) > 1:
                middle = (value + refused) // 2
                if fitting(middle):
                    value = middle
                else:
                    refused = middle
            yield value
            return
        refused, step = value, step * 2


def _amount(container: ContainerRequest, resource: str) -> Quantity:
    return container.requests.get(resource) or of(0)


def _text(resource: str, amount: Quantity) -> str:
    return format_cpu(amount.milli) if resource == CPU else format_bytes(amount.units)

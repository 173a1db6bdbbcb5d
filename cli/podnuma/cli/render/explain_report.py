"""`podnuma explain` as text: asked, free, considered, decided, in the kernel, what would fit."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from podnuma.allocator import Admitted, PodGrant, PodRequest, Rejected, nodeset
from podnuma.allocator.eligibility import qos
from podnuma.allocator.explain.explanation import Explanation
from podnuma.allocator.explain.free import FreeRow
from podnuma.allocator.explain.remarks import MergeSide, MergeStep
from podnuma.allocator.explain.suggestions import Suggestion
from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.quantities import format_bytes, format_cpu
from podnuma.allocator.request import CPU, MEMORY, Amounts, Qos
from podnuma.allocator.topology_hint import TopologyHint
from podnuma.api import pod_allocation
from podnuma.api.conditions import Status
from podnuma.api.kernel_reports import shown_verdict
from podnuma.api.pod_allocation_status import ContainerStatus, ObservedCgroup, Phase, PodAllocationStatus
from podnuma.cli.render.pod_explanation import PodExplanation
from podnuma.cli.render.wording import columns, rounded, wrap_list

# More hints are counted; -o wide and -o json have them all.
_HINTS_SHOWN = 12
_OR = " | "
_HINTS_WIDTH = 110  # characters of a line of hints


def explanation_text(explained: PodExplanation, *, wide: bool) -> str:
    """Write everything for people; `wide` shows every hint."""
    now, stored = explained.now, explained.stored
    parts = [_title(explained), _section("asked", _asked(explained.pod))]
    if explained.allocated is not None:
        why = f" ({explained.held_back})" if explained.held_back else ""
        parts.append(
            _section(
                f"allocated by the kubelet, which has not resized the pod{why}", _asked(explained.allocated)
            )
        )
    if now is not None:
        parts.append(_section("free on the node without it", _free(now)))
        parts.append(_section("considered", "".join(_steps(now.steps, wide=wide))))
    grant = explained.grant
    if grant is not None:
        parts.append(_section("decided" if stored else "would be decided", _decided(grant, explained.numa)))
    if stored is not None and stored.status.containers:
        parts.append(_section("in the kernel", explained.unknown or _kernel(stored.status)))
    if now is not None:
        parts.append(_section("notes", "".join(f"{note}\n" for note in now.remarks)))
        parts.append(_section("any one of these would make it fit", "".join(map(_change, now.suggestions))))
        parts.append(_section("these together would make it fit", "".join(map(_change, now.together))))
    return "\n".join(part for part in parts if part)


def _section(head: str, body: str) -> str:
    lines = "".join(f"  {line}\n" for line in body.splitlines())
    return f"{head}\n{lines}" if lines else ""


def _title(explained: PodExplanation) -> str:
    pod, stored, node = explained.pod, explained.stored, explained.node_name
    name = f"pod {pod.namespace}/{pod.name} on {node}"
    if not explained.managed:
        return f"{name}: not managed, by the selectors of the node's profile\n"
    if stored is None and explained.only_shares:
        return f"{name}: shares the node pool, {_why_shared(pod)}; there is nothing to decide\n"
    if stored is None:
        return f"{name}: not decided; {_would(explained)}\n"
    if stored.decision.undecided:
        return f"{name}: not decided, it {stored.decision.message}; without them {_would(explained)}\n"
    if stored.decision.refused:
        refused = f"{name}: refused, {stored.decision.reason}: "
        refused += f"{stored.decision.explanation or stored.decision.message}\n"
        return refused + (f"now {_would(explained)}\n" if explained.admitted_now else "")
    if stored.status.phase is Phase.AUDIT:
        return f"{name}: decided, nothing is written as mode is Audit\n"
    pending = stored.decision.pending_resize
    if pending is not None and stored.status.phase is not Phase.RESIZE_PENDING:
        name += f", resize pending, {pending.reason.value}: {pending.message}"
    return f"{name}: {stored.status.phase.value}\n" + "".join(
        f"{one.type} {one.status.value}, {one.reason}: {one.message}\n"
        for one in stored.status.conditions
        if one.type == "Ready" and (one.status is not Status.TRUE or stored.status.phase is Phase.PENDING)
    )


def _why_shared(pod: PodRequest) -> str:
    found = qos(pod)
    return (
        "no container asks for whole CPUs"
        if found is Qos.GUARANTEED
        else f"as its QoS class is {found.value}"
    )


def _would(explained: PodExplanation) -> str:
    match explained.now.decision if explained.now is not None else None:
        case Admitted():
            return "it would be admitted"
        case Rejected() as rejected:
            return f"it would be refused, {rejected.reason.value}: {explained.cause or rejected.message}"
        case None:
            return "what would be decided is not known"


def _asked(pod: PodRequest) -> str:
    budget = f", budget {_amounts(pod.pod_requests or {})}" if pod.pod_level else ", no budget of its own"
    rows = [
        (one.name, one.kind.value, _amounts(one.requests), _amounts(one.limits)) for one in pod.containers
    ]
    table = columns(("CONTAINER", "KIND", "REQUESTS", "LIMITS"), rows)
    return f"QoS class {qos(pod).value}{budget}\n{table}"


def _amounts(amounts: Amounts) -> str:
    shown = [
        f"{format_cpu(amount.milli)} CPU" if name == CPU else f"{format_bytes(amount.bytes)} {name}"
        for name, amount in sorted(amounts.items())
    ]
    return ", ".join(shown)


def _free(now: Explanation) -> str:
    resources = list(dict.fromkeys(row.resource for row in now.free))
    cells = {(row.node, row.resource): row for row in now.free}
    rows = []
    for node in dict.fromkeys(row.node for row in now.free):
        found = [cells.get((node, resource)) for resource in resources]
        shared = {nodeset.render(row.group) for row in found if row and row.group.bit_count() > 1}
        texts = [
            f"{_size(row.resource, row.free)} of {_size(row.resource, row.grantable)}{_in_use(row)}"
            if row
            else ""
            for row in found
        ]
        rows.append(
            (str(node), *texts, f"memory shared with NUMA nodes {', '.join(shared)}" if shared else "")
        )
    if not rows:
        return ""
    heads = ("NUMA", *(resource.upper() for resource in resources), "")
    return (
        columns(heads, rows)
        if any(row[-1] for row in rows)
        else columns(heads[:-1], [row[:-1] for row in rows])
    )


def _in_use(row: FreeRow) -> str:
    return f", {_size(row.resource, row.others)} in use by others" if row.others else ""


def _size(resource: str, amount: int) -> str:
    return str(amount) if resource == CPU else rounded(amount)


def _steps(steps: Sequence[MergeStep], *, wide: bool) -> Iterator[str]:
    for step in steps:
        for side in step.sides:
            line = f"{step.subject} wants {side.wanted}: {_hints(side, wide=wide)}"
            yield wrap_list(line, _HINTS_WIDTH, _OR).replace("\n", "\n  ") + "\n"
        if step.merged is None:
            yield f"{step.subject}: no set of NUMA nodes is suitable\n"
        elif any(_is_nowhere(side) for side in step.sides):
            yield f"{step.subject}: {_named(replace(step.merged, preferred=True))} is tried anyway\n"
        else:
            yield f"{step.subject}: {_merged(step.merged)}\n"


def _hints(side: MergeSide, *, wide: bool) -> str:
    if _is_nowhere(side):
        return "no set of NUMA nodes has it"
    if side.hints is None:
        return "no preference"
    shown = side.hints if wide else side.hints[:_HINTS_SHOWN]
    more = len(side.hints) - len(shown)
    if len(side.hints) == 1:
        return _named(side.hints[0])
    return "NUMA nodes " + _OR.join([*map(_hint, shown), *([f"{more} more (-o wide)"] if more else [])])


def _is_nowhere(side: MergeSide) -> bool:
    """Whether no set of NUMA nodes has what is wanted; of memory that has no preference means the same."""
    return not side.hints and (side.hints is not None or side.resource == MEMORY)


def _hint(hint: TopologyHint) -> str:
    return _nodes(hint) + ("" if hint.preferred else " (not preferred)")


def _merged(hint: TopologyHint) -> str:
    return f"chosen: {_named(hint)}"


def _named(hint: TopologyHint) -> str:
    nodes = "any NUMA node" if hint.nodes is None else nodeset.named(hint.nodes)
    return nodes + ("" if hint.preferred else " (not preferred)")


def _nodes(hint: TopologyHint) -> str:
    return "any" if hint.nodes is None else nodeset.render(hint.nodes)


def _decided(grant: PodGrant, numa: NodeSet | None) -> str:
    summary = pod_allocation.render_summary(grant, numa)
    decision = pod_allocation.Decision(admitted=True)
    spec = pod_allocation.render_spec(grant, "-", decision)
    rows = [
        (
            one["name"],
            one["assignment"]["cpu"],
            one.get("cpus", "node pool"),
            one["assignment"]["memory"],
            one.get("memoryNodes", ""),
            "max" if one["cpuQuota"] < 0 else f"{one['cpuQuota']} {one['cpuPeriod']}",
        )
        for one in spec["containers"]
    ]
    heads = ("CONTAINER", "CPU", "CPUS", "MEMORY", "MEMS", "CPU.MAX")
    where = summary["numa"]
    noun = "NUMA node" if where.isdigit() else "NUMA nodes"
    return f"CPUs {summary['cpus']}, {noun} {where}\n{columns(heads, rows)}{_devices(grant)}"


def _devices(grant: PodGrant) -> str:
    rows = [
        (one.name, device.resource, device.name, nodeset.render(device.nodes) or "not known")
        for one in grant.containers
        for device in one.devices
    ]
    return columns(("CONTAINER", "DEVICE OF", "DEVICE", "NUMA"), rows) if rows else ""


def _kernel(status: PodAllocationStatus) -> str:
    heads = ("CONTAINER", "CPUS", "MEMS", "CPU.MAX", "VERDICT", "AFTER", "REMARK")
    rows = [_kernel_row(one, shown_verdict(status, one)) for one in status.containers]
    return columns(heads, rows)


def _kernel_row(one: ContainerStatus, verdict: str) -> tuple[str, ...]:
    seen, wrote = one.effective or ObservedCgroup(), one.written or ObservedCgroup()
    differs = [name for name in ("cpus", "mems") if getattr(seen, name) != getattr(wrote, name) != ""]
    text = one.message or "".join(f"{name} written: {getattr(wrote, name)}" for name in differs)
    after = "" if one.pinned_after_millis is None else f"{one.pinned_after_millis} ms"
    return one.name, seen.cpus, seen.mems, seen.cpu_max, verdict, after, text


def _change(change: Suggestion) -> str:
    unit = " CPU" if change.resource == CPU else f" {change.resource}"
    where = "the budget" if change.where == "pod" else f"container {change.where}"
    return f"{where}: {change.needed}{unit} instead of {change.now}\n"

"""How plans are reported: a table, then what is refused, left out and summed up; and data for programs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from podnuma.api import pod_allocation
from podnuma.api.scheduling import Obstacle
from podnuma.cli.commands.asked_nodes import candidate_data
from podnuma.cli.commands.pod_plans import NodeRefusal, PodPlan, workload_plans
from podnuma.cli.render.left_out import not_considered
from podnuma.cli.render.wording import columns, count

_PODS_SHOWN = 3
_FIT = ("running", "admitted")
_CANDIDATES_SHOWN = 3
_CANDIDATE_HEADS = ("POD", "CANDIDATE", "NUMA NODES", "BREAKS", "GAP", "FREE")
_CANDIDATES_LISTED = 100


def plan_text(plans: Sequence[PodPlan], *, wide: bool, headers: bool = True) -> str:
    """Write the plans as a table with refusals below; `wide` adds tables of containers and of candidates."""
    heads = ("POD", "NODE", "RESULT", "CPUS", "NUMA", "EXCLUSIVE", "SHARED")
    text = columns(heads, [_row(plan) for plan in plans], headers=headers)
    if wide:
        heads = ("POD", "CONTAINER", "KIND", "ASSIGNMENT", "CPUS", "MEMS", "QUOTA")
        rows = [row for plan in plans for row in _containers(plan)]
        text += "\n" + columns(heads, rows) if rows else ""
        candidates = [row for plan in plans for row in _candidates(plan)]
        text += "\n" + columns(_CANDIDATE_HEADS, candidates) if candidates else ""
    return text + _refusals(plans) + _unpinned(plans) + _left_out(plans) + _sum(plans)


def _refusals(plans: Sequence[PodPlan]) -> str:
    """Say why nodes refuse pods, once for all pods of a workload of which the same is true."""
    alike: dict[tuple[object, NodeRefusal], list[str]] = {}
    for plan in plans:
        for one in plan.refusals if plan.refused else ():
            whose = (plan.planned.place, plan.planned.owner) if plan.planned.owner else plan.planned.name
            alike.setdefault((whose, one), []).append(plan.planned.name)
    return "".join(
        f"\n{pods[0]}{f' and {len(pods) - 1} more' if len(pods) > 1 else ''} on {one.node}: {one.reason}: "
        f"{one.explanation}\n"
        for (_, one), pods in alike.items()
    )


def _unpinned(plans: Sequence[PodPlan]) -> str:
    """Name what keeps admitted pods from the CPUs of their own that a container asks for."""
    # The pods of one manifest are alike: one speaks for all.
    notes = {(plan.planned.place, plan.note): plan.planned.name for plan in plans if plan.note}
    return "".join(f"\n{name}: {note}\n" for (_, note), name in notes.items())


def _left_out(plans: Sequence[PodPlan]) -> str:
    """Say which nodes were not considered and why, once for all pods of which the same is true."""
    alike: dict[str, list[str]] = {}
    for plan in plans:
        # Room runs out as replicas are placed: it is told where it keeps a pod from running.
        why = Counter(
            found for found in plan.left_out.values() if plan.pending or found is not Obstacle.RESOURCES
        )
        if why:
            line = not_considered(why, plan.planned.constraints.node_selector if plan.pending else None)
            alike.setdefault(line, []).append(plan.planned.name)
    lines = []
    for line, pods in alike.items():
        more = f" and {len(pods) - _PODS_SHOWN} more" if len(pods) > _PODS_SHOWN else ""
        whose = "" if len(pods) == len(plans) else f"{', '.join(pods[:_PODS_SHOWN])}{more}: "
        lines.append(f"\n{whose}{line}\n")
    return "".join(lines)


def _sum(plans: Sequence[PodPlan]) -> str:
    """Say how many pods of a workload fit where not all do, and count the results where they differ."""
    text = ""
    for one in workload_plans(plans):
        fit = sum(one.results.get(word, 0) for word in _FIT)
        if fit < one.pods and one.pods > 1:
            rest = ", ".join(f"{number} {word}" for word, number in one.results.items() if word not in _FIT)
            text += (
                f"\n{one.kind} {one.namespace}/{one.name}: {fit} of {count(one.pods, 'pod')} fit, {rest}\n"
            )
    results = Counter(plan.result for plan in plans)
    if len(results) > 1:
        text += "\n" + ", ".join(f"{number} {result}" for result, number in results.items()) + "\n"
    return text


def plan_summary(plans: Sequence[PodPlan]) -> dict[str, Any]:
    """Return the counts for programs: of all pods, and of each workload."""

    def counts(results: Mapping[str, int]) -> dict[str, int]:
        words = {
            "running": "running",
            "admitted": "admitted",
            "refused": "refused",
            "pending": "pending",
            "notManaged": "not managed",
        }
        return {field: results.get(word, 0) for field, word in words.items()}

    return {
        **counts(Counter(plan.result for plan in plans)),
        "workloads": [
            {"kind": one.kind, "namespace": one.namespace, "name": one.name, **counts(one.results)}
            for one in workload_plans(plans)
        ],
    }


def _row(plan: PodPlan) -> tuple[str, ...]:
    if plan.grant is None:
        return plan.planned.name, plan.node, plan.result, "", "", "", ""
    summary = pod_allocation.render_summary(plan.grant, plan.numa)
    shown = (summary["cpus"], summary["numa"], summary["exclusive"], summary["shared"])
    return plan.planned.name, plan.node, plan.result, *shown


def _containers(plan: PodPlan) -> list[tuple[str, ...]]:
    if plan.grant is None:
        return []
    spec = pod_allocation.render_spec(plan.grant, plan.node, pod_allocation.Decision(admitted=True))
    return [
        (
            plan.planned.name,
            one["name"],
            one["kind"],
            one["assignment"]["cpu"],
            one.get("cpus", "node pool"),
            one.get("memoryNodes", ""),
            "max" if one["cpuQuota"] < 0 else f"{one['cpuQuota']}/{one['cpuPeriod']}",
        )
        for one in spec["containers"]
    ]


def _candidates(plan: PodPlan) -> list[tuple[str, ...]]:
    return [
        (
            plan.planned.name,
            one.node,
            *map(str, (one.effect.numa_nodes, one.effect.breaks, one.effect.gap, one.effect.left)),
        )
        for one in plan.candidates[:_CANDIDATES_SHOWN]
    ]


def plan_data(plan: PodPlan) -> dict[str, Any]:
    """Return one plan for programs; `allocation` is the spec that the operator would write."""
    allocation = None
    if plan.grant is not None:
        decision = pod_allocation.Decision(admitted=True)
        allocation = pod_allocation.render_spec(plan.grant, plan.node, decision, numa=plan.numa)
    return {
        "namespace": plan.planned.pod.namespace,
        "name": plan.planned.pod.name,
        "manifest": plan.planned.place,
        "result": plan.result,
        "managed": plan.managed,
        "admitted": plan.grant is not None,
        "node": plan.node or None,
        "allocation": allocation,
        "refusals": [
            {
                "node": one.node,
                "reason": one.reason,
                "message": one.message,
                "explanation": one.explanation,
            }
            for one in plan.refusals
        ],
        "note": plan.note,
        "candidates": [candidate_data(one) for one in plan.candidates[:_CANDIDATES_LISTED]],
        "notConsidered": {name: found.value for name, found in plan.left_out.items()},
    }

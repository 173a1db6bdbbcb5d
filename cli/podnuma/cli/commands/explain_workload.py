"""`podnuma explain deploy/NAME`: a workload's pods, and why others of its pods were refused.

The answer outlives the evicted pods: what is kept of their refusals (`api.kept_refusals`) is shown beside
the pods that exist. `podnuma explain POD` shows the same of one pod that is gone.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from podnuma.api.kept_refusals import KeptRefusal
from podnuma.api.names import NOTHING
from podnuma.cli.commands import output
from podnuma.cli.commands.answer import Answer
from podnuma.cli.exits import Exit
from podnuma.cli.objects.queries import ObjectQuery
from podnuma.cli.objects.sources import ObjectSource
from podnuma.cli.objects.workload_pods import WorkloadPod, WorkloadPods, workload_pods
from podnuma.cli.render.wording import columns, count


def explain_workload(source: ObjectSource, asked: ObjectQuery) -> Answer:
    """Explain a workload; NO if pods of it are refused, or were and are missing."""
    found, remarks = workload_pods(source, asked)
    for remark in remarks:
        output.note(remark)
    return Answer(
        output.AnswerKind.WORKLOAD_EXPLANATION,
        [workload_data(found)],
        lambda _: workload_text(found),
        code=Exit.OK if found.healthy else Exit.NO,
    )


def workload_text(found: WorkloadPods) -> str:
    """Write the answer first, then the pods, then what was refused."""
    states = Counter(one.state for one in found.pods)
    parts = [count(len(found.pods), "pod"), *(f"{number} {state}" for state, number in states.items())]
    if found.wanted is not None and found.wanted != len(found.pods):
        parts[0] += f" of {found.wanted}"
    if found.refusals:
        parts.append(f"{sum(one.count for one in found.refusals)} refused within the last hour")
    text = f"{found.kind} {found.namespace}/{found.name}: {', '.join(parts)}\n"
    if found.pods:
        text += "\n" + columns(("POD", "NODE", "STATE", "CPUS", "NUMA"), [_row(one) for one in found.pods])
    for one in found.pods:
        if one.refused and one.allocation is not None:
            said = one.allocation.decision
            text += f"\n{one.name} on {one.node}: {said.reason}: {said.explanation or said.message}\n"
    if found.refusals:
        text += "\nrefused, and gone since\n" + refusals_text(found.refusals)
    return text


def refusals_text(refusals: Sequence[KeptRefusal]) -> str:
    """Write a line per refusal that is kept, with the kubelet's words below it."""
    lines = []
    for one in refusals:
        times = f", {one.count} times" if one.count > 1 else ""
        where = f" on {one.node}" if one.node else ""
        lines.append(f"  {one.last_seen} {one.pod}{where}{times}: {one.reason}: {one.cause}\n")
        if one.kubelet_message and one.kubelet_message != one.cause:
            lines.append(f"    the kubelet would say: {one.kubelet_message}\n")
    return "".join(lines)


def _row(one: WorkloadPod) -> tuple[str, ...]:
    summary = one.allocation.summary if one.allocation is not None else {}
    return one.name, one.node, one.state, *(summary.get(key, NOTHING) for key in ("cpus", "numa"))


def workload_data(found: WorkloadPods) -> dict[str, Any]:
    """Return the answer for programs."""
    return {
        "kind": found.kind,
        "namespace": found.namespace,
        "name": found.name,
        "wantedPods": found.wanted,
        "healthy": found.healthy,
        "pods": [
            {
                "namespace": found.namespace,
                "name": one.name,
                "node": one.node or None,
                "state": one.state,
                "reason": one.allocation.decision.reason if one.allocation else None,
                "explanation": (one.allocation.decision.explanation or None) if one.allocation else None,
                "summary": dict(one.allocation.summary) if one.allocation else None,
            }
            for one in found.pods
        ],
        "refusals": [{"namespace": found.namespace, **refusal_data(one)} for one in found.refusals],
    }


def refusal_data(one: KeptRefusal) -> dict[str, Any]:
    """Return one kept refusal for programs."""
    return {
        "name": one.pod,
        "node": one.node,
        "reason": one.reason,
        "explanation": one.cause,
        "message": one.kubelet_message,
        "count": one.count,
        "lastSeen": one.last_seen,
    }

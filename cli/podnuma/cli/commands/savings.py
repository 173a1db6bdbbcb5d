"""What `podnuma savings` prints: the arithmetic, per workload, with a sum and the assumptions."""

from collections.abc import Sequence
from typing import Any

from podnuma.allocator.quantities import format_cpu
from podnuma.cli import output, savings, wanted
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.forms import Form
from podnuma.cli.render import words
from podnuma.cli.savings import Finding, Survey
from podnuma.cli.sources import Source


def answer(source: Source, namespace: str, assumed: int, form: Form) -> None:
    """Survey a cluster or saved pods. `assumed` in millicores."""
    pods = source.fetch(wanted.pods(namespace))[0]
    found = savings.survey(pods, _usage(source, namespace), assumed)
    for line in found.unreadable:
        output.note(f"left out: {line}")
    if form.for_programs:
        output.dump(as_data(found), form)
    else:
        output.write(as_text(found, assumed, wide=form is Form.WIDE))


def _usage(source: Source, namespace: str) -> savings.Usage:
    try:
        return savings.usage_of(source.fetch(wanted.pod_metrics(namespace))[0])
    except Failure as failure:
        if failure.code not in (Exit.NOT_FOUND, Exit.FORBIDDEN, Exit.NOT_SERVED):
            raise
        output.note("usage is not known here (no metrics.k8s.io): sidecars are assumed to need the same each")
        return {}


def as_text(found: Survey, assumed: int, *, wide: bool) -> str:
    """Set the findings as a table with its sum; `wide` spells every sidecar out."""
    groups = found.by_workload()
    head = (
        f"{words.count(found.looked_at, 'pod')} looked at, "
        f"{found.with_budget} with a budget already, {len(found.findings)} Guaranteed with sidecars\n"
    )
    if not groups:
        return head + "no CPU would be freed\n"
    heads = (
        "NAMESPACE",
        "WORKLOAD",
        "PODS",
        "MAIN",
        "SIDECARS HOLD",
        "POOL NEEDED",
        "FREED PER POD",
        "FREED",
    )
    text = head + "\n" + output.columns(heads, [_row(group) for group in groups])
    if wide:
        text += "\n" + "".join(_arithmetic(group[0]) for group in groups)
    return text + "\n" + _sum(found, assumed)


def _row(group: Sequence[Finding]) -> tuple[str, ...]:
    first = group[0]
    # Pods of one workload may differ while a rollout is under way: show what holds for most of them.
    per_pod = savings.freed(group) // len(group)
    return (
        first.namespace,
        first.workload,
        str(len(group)),
        f"{first.main} {format_cpu(first.main_holds)}",
        f"{'+'.join(format_cpu(one.holds) for one in first.sidecars)} = {format_cpu(first.held)}",
        format_cpu(first.pool),
        format_cpu(per_pod),
        format_cpu(savings.freed(group)),
    )


def _arithmetic(finding: Finding) -> str:
    needs = " + ".join(
        f"{one.name} {format_cpu(one.needs)}{'' if one.measured else ' (assumed)'}"
        for one in finding.sidecars
    )
    return (
        f"{finding.namespace}/{finding.pod}: sidecars need {needs}, "
        f"in whole CPUs {format_cpu(finding.pool)}; "
        f"they hold {format_cpu(finding.held)}; freed {format_cpu(finding.freed)}\n"
    )


def _sum(found: Survey, assumed: int) -> str:
    held = sum(finding.held for finding in found.saving)
    pools = sum(finding.pool for finding in found.saving)
    return (
        f"{words.count(len(found.saving), 'pod')}: sidecars hold {format_cpu(held)} CPUs, "
        f"shared pools would need {format_cpu(pools)}; "
        f"{format_cpu(savings.freed(found.saving))} CPUs would be free.\n"
        f"A sidecar is taken to need {savings.HEADROOM} times what it uses now, or {format_cpu(assumed)} "
        f"where that is not measured (--sidecar-cpu).\n"
    )


def as_data(found: Survey) -> dict[str, Any]:
    """Return the survey for programs; amounts in millicores."""
    return {
        "podsLookedAt": found.looked_at,
        "podsWithBudget": found.with_budget,
        "freedMilliCPU": savings.freed(found.saving),
        "pods": [
            {
                "namespace": one.namespace,
                "workload": one.workload,
                "pod": one.pod,
                "main": {"name": one.main, "milliCPU": one.main_holds},
                "sidecars": [
                    {
                        "name": sidecar.name,
                        "holdsMilliCPU": sidecar.holds,
                        "needsMilliCPU": sidecar.needs,
                        "measured": sidecar.measured,
                    }
                    for sidecar in one.sidecars
                ],
                "poolMilliCPU": one.pool,
                "freedMilliCPU": one.freed,
            }
            for one in found.findings
        ],
    }

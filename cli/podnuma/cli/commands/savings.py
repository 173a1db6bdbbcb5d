"""`podnuma savings`: the CPUs that pod budgets with shared sidecars would free, per workload and in sum.

Nothing is changed and nothing need be installed in the cluster; the arithmetic is that of
`objects.sidecar_survey`, and the assumptions are printed below the sum.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from podnuma.allocator import quantities
from podnuma.allocator.quantities import format_cpu
from podnuma.cli.commands import output
from podnuma.cli.commands.answer import Answer, answering
from podnuma.cli.commands.options import AllNamespaces, Namespace, PodSelector, examples, new_app
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects import queries
from podnuma.cli.objects.sidecar_survey import (
    HEADROOM,
    PodSavings,
    SidecarSurvey,
    Usage,
    container_usage,
    survey_sidecars,
    total_freed,
)
from podnuma.cli.objects.sources import ObjectSource, listed_namespace
from podnuma.cli.render.wording import columns, count

app = new_app()


@app.command(
    "savings",
    epilog=examples(
        "podnuma savings -A",
        "podnuma savings -n shop -o wide",
        "podnuma savings -A --sidecar-cpu 500m",
    ),
)
@answering(table=True)
def report_savings(
    source: ObjectSource,
    namespace: Namespace = "",
    everywhere: AllNamespaces = False,
    selector: PodSelector = "",
    sidecar_cpu: Annotated[
        str, typer.Option(metavar="AMOUNT", help="what a sidecar needs where usage is not measured")
    ] = "250m",
) -> Answer:
    """Report the CPUs that pod budgets with shared sidecars would free; nothing need be installed."""
    try:
        assumed = quantities.parse(sidecar_cpu).milli
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--sidecar-cpu") from error
    namespace = listed_namespace(source, namespace, everywhere=everywhere)
    pods = source.fetch(queries.pods(namespace, labels=selector))[0]
    found = survey_sidecars(pods, _usage(source, namespace), assumed)
    for line in found.unreadable:
        output.note(f"left out: {line}")
    return Answer(
        output.AnswerKind.SIDECAR_SAVING,
        [finding_data(one) for one in found.findings],
        lambda style: savings_text(found, assumed, wide=style.wide, headers=style.headers),
        savings_summary(found),
    )


def _usage(source: ObjectSource, namespace: str) -> Usage:
    try:
        return container_usage(source.fetch(queries.pod_metrics(namespace))[0])
    except Failure as failure:
        if failure.code not in (Exit.NOT_FOUND, Exit.FORBIDDEN, Exit.NOT_SERVED):
            raise
        output.note("usage is not known here (no metrics.k8s.io): sidecars are assumed to need the same each")
        return {}


def savings_text(found: SidecarSurvey, assumed: int, *, wide: bool, headers: bool = True) -> str:
    """Write the findings as a table with its sum; `wide` adds the arithmetic of each workload."""
    groups = found.by_workload()
    head = (
        f"{count(found.looked_at, 'pod')} looked at, "
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
    text = head + "\n" + columns(heads, [_row(group) for group in groups], headers=headers)
    if wide:
        text += "\n" + "".join(_arithmetic(group[0]) for group in groups)
    return text + "\n" + _sum(found, assumed)


def _row(group: Sequence[PodSavings]) -> tuple[str, ...]:
    first = group[0]
    # Pods of one workload may differ while a rollout is under way: show what holds for most of them.
    per_pod = total_freed(group) // len(group)
    return (
        first.namespace,
        first.workload,
        str(len(group)),
        f"{first.main} {format_cpu(first.main_holds)}",
        f"{'+'.join(format_cpu(one.holds) for one in first.sidecars)} = {format_cpu(first.held)}",
        format_cpu(first.pool),
        format_cpu(per_pod),
        format_cpu(total_freed(group)),
    )


def _arithmetic(finding: PodSavings) -> str:
    needs = " + ".join(
        f"{one.name} {format_cpu(one.needs)}{'' if one.measured else ' (assumed)'}"
        for one in finding.sidecars
    )
    return (
        f"{finding.namespace}/{finding.pod}: sidecars need {needs}, "
        f"in whole CPUs {format_cpu(finding.pool)}; "
        f"they hold {format_cpu(finding.held)}; freed {format_cpu(finding.freed)}\n"
    )


def _sum(found: SidecarSurvey, assumed: int) -> str:
    held = sum(finding.held for finding in found.saving)
    pools = sum(finding.pool for finding in found.saving)
    return (
        f"{count(len(found.saving), 'pod')}: sidecars hold {format_cpu(held)} CPUs, "
        f"shared pools would need {format_cpu(pools)}; "
        f"{format_cpu(total_freed(found.saving))} CPUs would be free.\n"
        f"A sidecar is taken to need {HEADROOM} times what it uses now, or {format_cpu(assumed)} "
        f"where that is not measured (--sidecar-cpu).\n"
    )


def savings_summary(found: SidecarSurvey) -> dict[str, Any]:
    """Return the totals for programs."""
    return {
        "podsLookedAt": found.looked_at,
        "podsWithBudget": found.with_budget,
        "freedCPU": format_cpu(total_freed(found.saving)),
    }


def finding_data(one: PodSavings) -> dict[str, Any]:
    """Return one pod for programs."""
    return {
        "namespace": one.namespace,
        "name": one.pod,
        "workload": one.workload,
        "main": {"name": one.main, "cpu": format_cpu(one.main_holds)},
        "sidecars": [
            {
                "name": sidecar.name,
                "heldCPU": format_cpu(sidecar.holds),
                "neededCPU": format_cpu(sidecar.needs),
                "measured": sidecar.measured,
            }
            for sidecar in one.sidecars
        ],
        "poolCPU": format_cpu(one.pool),
        "freedCPU": format_cpu(one.freed),
    }

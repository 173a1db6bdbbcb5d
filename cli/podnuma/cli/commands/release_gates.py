"""`podnuma release-gates`: the safety valve of placement. Every pod that waits for podnuma is released.

Only podnuma's gate is removed, those of others stay. A pod that is released is bound by the scheduler and
decided once it is bound. While the admission policy is there new pods are gated again, and while an operator
leads it places them: this is for when none does, and for an uninstall, which runs it too.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from podnuma.api import names
from podnuma.api.placement import read_gates, render_lifted_gate
from podnuma.api.resource_types import MUTATING_ADMISSION_POLICY_BINDING, POD
from podnuma.cli.commands import output
from podnuma.cli.commands.options import Context, Kubeconfig, examples, new_app
from podnuma.cli.commands.writing_client import DEADLINE, PAGE, writing_client
from podnuma.cli.render.wording import count
from podnuma.plumbing.kube import content_types, errors

if TYPE_CHECKING:
    from podnuma.plumbing.kube.client import Client


app = new_app()


@app.command(
    "release-gates",
    epilog=examples(
        "podnuma release-gates --dry-run",
        "podnuma release-gates --namespace databases",
    ),
)
def release_gates(
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="only pods of this namespace; all without it")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="name the pods and change nothing")] = False,
) -> None:
    """Release all pods that wait to be placed: remove podnuma's scheduling gate from them."""
    asyncio.run(_run(kubeconfig, context, namespace, dry_run=dry_run))


async def _run(kubeconfig: Path | None, context: str | None, namespace: str, *, dry_run: bool) -> None:
    gate = names.PLACEMENT_GATE
    in_vain = f"cannot list the pods with the gate {gate}" if dry_run else f"cannot take the gate {gate} off"
    async with writing_client(kubeconfig, context, in_vain) as client:
        found = await lift_gates(client, namespace, dry_run=dry_run)
    for name in found:
        output.write(f"{name}\n")
    done = "would be released" if dry_run else "released"
    output.note(f"{count(len(found), 'pod')} {done}")


async def lift_gates(client: "Client", namespace: str = "", *, dry_run: bool = False) -> list[str]:
    """Take our gate off all pods; return their names, as namespace/name."""
    found = []
    query = {"fieldSelector": "spec.nodeName="}
    async for page, _ in client.pages(POD.path(namespace), size=PAGE, query=query):
        for pod in gated_pods(page):
            metadata = pod["metadata"]
            if not dry_run:
                with contextlib.suppress(errors.NotFoundError, errors.ConflictError):
                    await client.write(
                        "PATCH",
                        POD.path(metadata["namespace"], metadata["name"]),
                        render_lifted_gate(metadata["uid"]),
                        deadline=DEADLINE,
                        content_type=content_types.STRATEGIC_MERGE_PATCH,
                    )
            found.append(f"{metadata['namespace']}/{metadata['name']}")
    return found


async def end_gating(client: "Client", binding: str) -> None:
    """Delete the binding of the admission policy, so that new pods are not gated any more."""
    with contextlib.suppress(errors.NotFoundError):
        path = MUTATING_ADMISSION_POLICY_BINDING.path("", binding)
        await client.write("DELETE", path, None, deadline=DEADLINE)


def gated_pods(pods: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the pods that carry our gate."""
    return [pod for pod in pods if names.PLACEMENT_GATE in read_gates(pod)]

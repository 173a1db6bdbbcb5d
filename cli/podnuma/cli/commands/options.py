"""The verbs that answer a question and end: map, explain, plan, top, savings, discover, replay.

Each declares its options here and leaves thinking to a module of its own name, imported when
the verb is called. They only ever read.
"""

from pathlib import Path
from typing import Annotated

import typer
from podnuma.cli.forms import Form

Kubeconfig = Annotated[
    Path | None,
    typer.Option(help="how to reach the cluster; $KUBECONFIG or ~/.kube/config if left out", dir_okay=False),
]
Context = Annotated[str | None, typer.Option(help="context of the kubeconfig")]
Output = Annotated[
    Form, typer.Option("--output", "-o", help="text or wide for people, json or yaml for programs")
]
Files = Annotated[
    list[str] | None,
    typer.Option(
        "--from",
        metavar="FILE",
        help="read saved objects instead of a cluster; a folder or - too, repeatable",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the questions to the command line."""
    app.command("map")(node_map)
    app.command("explain")(explain)
    app.command("plan")(plan)
    app.command("top")(top)
    app.command("savings")(savings)
    app.command("discover")(discover)
    app.command("replay")(replay)


def node_map(
    node: Annotated[str, typer.Argument(help="all nodes if left out", metavar="[NODE]")] = "",
    svg: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="write a picture of the one node instead", dir_okay=False),
    ] = None,
    output: Output = Form.TEXT,
    files: Files = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Draw nodes as people think of them: sockets, NUMA nodes, caches, cores, and who holds what."""
    from podnuma.cli import node_maps, sources  # noqa: PLC0415 - each verb loads its own

    node_maps.answer(sources.source(files or [], kubeconfig, context), node, svg, output)


def explain(
    pod: Annotated[
        list[str] | None, typer.Argument(metavar="[POD]", help="NAME, NAMESPACE/NAME or pod NAME")
    ] = None,
    manifests: Annotated[
        list[str] | None,
        typer.Option("--filename", "-f", metavar="FILE", help="the pod of a manifest instead, with --node"),
    ] = None,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="where NAME is")] = "default",
    node: Annotated[str, typer.Option(help="what this node would decide, instead of the pod's own")] = "",
    output: Output = Form.TEXT,
    files: Files = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Tell why a pod is where it is, or why it was refused and what would make it fit."""
    from podnuma.cli import explain as verb  # noqa: PLC0415 - each verb loads its own
    from podnuma.cli import sources  # noqa: PLC0415

    source = sources.source(files or [], kubeconfig, context)
    if manifests:
        value = verb.from_manifests(manifests, namespace)
        key = (value["metadata"]["namespace"], value["metadata"]["name"])
        raise typer.Exit(verb.answer(source, key, node, output, value))
    raise typer.Exit(verb.answer(source, verb.key_of(pod or [], namespace), node, output))


def plan(
    manifests: Annotated[
        list[str],
        typer.Option("--filename", "-f", metavar="FILE", help="manifests: file, folder or -; repeatable"),
    ],
    node: Annotated[str, typer.Option(help="on this node only")] = "",
    profile: Annotated[
        str, typer.Option(help="on nodes with this profile; if it is a file, with its settings on all")
    ] = "",
    output: Output = Form.TEXT,
    files: Files = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Tell what would happen to these pods, without changing anything."""
    from podnuma.cli import plan as verb  # noqa: PLC0415 - each verb loads its own
    from podnuma.cli import sources  # noqa: PLC0415

    source = sources.source(files or [], kubeconfig, context)
    raise typer.Exit(verb.answer(source, manifests, node, profile, output))


def top(
    node: Annotated[str, typer.Argument(help="all nodes if left out", metavar="[NODE]")] = "",
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="all namespaces if left out")] = "",
    output: Output = Form.TEXT,
    files: Files = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Show use, throttling and drift of every container of managed pods."""
    from podnuma.cli import sources  # noqa: PLC0415 - each verb loads its own
    from podnuma.cli import top as verb  # noqa: PLC0415

    raise typer.Exit(verb.answer(sources.source(files or [], kubeconfig, context), namespace, node, output))


def savings(
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="all namespaces if left out")] = "",
    sidecar_cpu: Annotated[
        str, typer.Option(metavar="AMOUNT", help="what a sidecar needs where usage is not measured")
    ] = "250m",
    output: Output = Form.TEXT,
    files: Files = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Report the CPUs that pod budgets with shared sidecars would free; nothing need be installed."""
    from podnuma.allocator import quantities  # noqa: PLC0415 - each verb loads its own
    from podnuma.cli import savings_report, sources  # noqa: PLC0415

    try:
        assumed = quantities.parse(sidecar_cpu).milli
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--sidecar-cpu") from error
    source = sources.source(files or [], kubeconfig, context)
    savings_report.answer(source, namespace, assumed, output)


def discover(
    name: Annotated[str, typer.Option(help="name of the NodeTopology; the host name if left out")] = "",
    sys_root: Annotated[Path, typer.Option(help="a mounted /sys", file_okay=False)] = Path("/sys"),
    proc_root: Annotated[Path, typer.Option(help="a mounted /proc", file_okay=False)] = Path("/proc"),
    output: Output = Form.YAML,
) -> None:
    """Print the hardware of this machine as a NodeTopology (with -o text: as a map)."""
    from podnuma.cli import discovery  # noqa: PLC0415 - each verb loads its own

    discovery.answer(sys_root, proc_root, name, output)


def replay() -> None:
    """Decide scenarios without a cluster: JSON lines in on standard input, JSON lines out."""
    from podnuma.cli import replay as verb  # noqa: PLC0415 - each verb loads its own

    raise typer.Exit(verb.main())

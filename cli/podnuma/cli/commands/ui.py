"""`podnuma ui`: a web page on this machine with the cluster on it, live. It only reads.

The page has the rights of the kubeconfig, and nothing is installed in the cluster. Its address holds a token
that is new each time, so other users of the machine do not see the page.
"""

import asyncio
import ipaddress
import socket
import webbrowser
from typing import Annotated

import typer
from podnuma.cli.commands import output
from podnuma.cli.commands.answer import with_source
from podnuma.cli.commands.explain import gather
from podnuma.cli.commands.map import map_of
from podnuma.cli.commands.options import examples, new_app
from podnuma.cli.commands.plan import plan_documents
from podnuma.cli.commands.plan_report import plan_data
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects import queries
from podnuma.cli.objects.cluster import ClusterSource
from podnuma.cli.objects.documents import documents_in
from podnuma.cli.objects.queries import Json
from podnuma.cli.objects.sources import ObjectSource, one_namespace
from podnuma.cli.render.explain_data import explanation_data
from podnuma.cli.ui.access import Access
from podnuma.cli.ui.follow import follow_objects
from podnuma.cli.ui.live_objects import LiveObjects
from podnuma.cli.ui.server import PageServer, start_server
from podnuma.cli.ui.views import Views
from podnuma.plumbing.threads import in_thread

app = new_app()


class SourceQuestions:
    """Answers from a cluster or files (`ui.server.Questions`), in the words of `explain` and `plan`."""

    def __init__(self, source: ObjectSource) -> None:
        self._source = source

    def explain(self, namespace: str, name: str) -> Json:
        """Explain a pod's decision."""
        explained, remarks = gather(self._source, namespace, name, "")
        return {"explanation": explanation_data(explained), "remarks": list(remarks)}

    def plan(self, manifest: str) -> Json:
        """Tell where the pods of a manifest would go."""
        notes: list[str] = []
        documents = documents_in("manifest", manifest)
        namespace = one_namespace(self._source, "")
        _, plans, _ = plan_documents(self._source, documents, namespace, notes.append)
        return {"plans": [plan_data(one) for one in plans], "remarks": notes}

    def refusal_events(self) -> list[Json]:
        """Return the events that keep refusals."""
        return self._source.fetch(queries.operator_events(""))[0]


@app.command(
    "ui",
    epilog=examples("podnuma ui", "podnuma ui --no-browser --port 8089", "podnuma ui --context staging"),
)
@with_source
def show_page(
    source: ObjectSource,
    address: Annotated[
        str, typer.Option(help="IP address to listen at; only this machine reaches 127.0.0.1")
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option(help="port to listen at; 0 takes a free one", min=0, max=65535)] = 0,
    browser: Annotated[bool, typer.Option(help="open the page in the browser")] = True,
) -> None:
    """Show nodes, pods and decisions live in a local web page, which only reads."""
    _check(address)
    source.fetch(queries.node_topologies())  # what is wrong with the cluster is said here, not on the page
    asyncio.run(_serve(source, address, port, browser=browser))


def _check(address: str) -> None:
    try:
        given = ipaddress.ip_address(address)
    except ValueError as error:
        raise Failure(Exit.USAGE, f"--address {address}: not an IP address, such as 127.0.0.1") from error
    if given.is_unspecified:
        raise Failure(
            Exit.USAGE, f"--address {address}: name the one address to listen at; all at once are refused"
        )
    if not given.is_loopback:
        output.note(
            f"{address} can be reached by others: whoever has the page's address sees what this kubeconfig "
            "may read, and the connection is not encrypted"
        )


async def _serve(source: ObjectSource, address: str, port: int, *, browser: bool) -> None:
    live = LiveObjects()
    port = port or _free_port(address)
    access = Access(address, port)
    views = Views(live, map_of)
    try:
        runner = await start_server(PageServer(access, live, views, SourceQuestions(source)), address, port)
    except OSError as error:
        raise Failure(
            Exit.USAGE,
            f"cannot listen at {address} port {port}: {error.strerror}; choose another --port",
        ) from error
    output.write(f"{access.url}\n")
    output.note("the page is served until Ctrl-C; its address is a secret of yours")
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_fill(source, live))
            tasks.create_task(views.prepare())
            if browser:
                tasks.create_task(in_thread(webbrowser.open, access.url))
    finally:
        await runner.cleanup()


async def _fill(source: ObjectSource, live: LiveObjects) -> None:
    """Follow a cluster, or take what is in files, until cancelled."""
    shown = (queries.node_topologies(), queries.pod_allocations(), queries.nodes())
    if not isinstance(source, ClusterSource):
        for query, values in zip(shown, source.fetch(*shown), strict=True):
            live.replace(query.type.kind, values)
        await asyncio.Event().wait()
        return
    client = source.connect()
    try:
        async with asyncio.TaskGroup() as tasks:
            for query in shown:
                tasks.create_task(follow_objects(client, query, live))
    finally:
        await client.close()


def _free_port(address: str) -> int:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as one:
        try:
            one.bind((address, 0))
        except OSError as error:
            raise Failure(
                Exit.USAGE, f"--address {address}: {error.strerror}; it must be one of this machine"
            ) from error
        found: int = one.getsockname()[1]
        return found

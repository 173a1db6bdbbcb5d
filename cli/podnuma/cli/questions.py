"""The verbs that answer a question and end: map, explain, plan, top, savings, discover, replay.

Each declares its options here, reads its objects through `sources`, and leaves thinking to
a module of its own name. They only ever read.
"""

import typer


def register(app: typer.Typer) -> None:
    """Add the questions to the command line."""
    app.command("map")(node_map)


def node_map() -> None:
    """Draw nodes as people think of them: sockets, NUMA nodes, caches, cores, and who holds what."""

"""Completion of names: nodes, pods, profiles and namespaces, from where the command would read them.

Never an error and never long: a cluster that does not answer within three seconds completes nothing.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from podnuma.cli.exits import Failure
from podnuma.cli.objects import queries
from podnuma.cli.objects.queries import ObjectQuery
from podnuma.cli.objects.sources import ObjectSource, one_namespace, open_source

_LONGEST = 3.0


def complete_node(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of NodeTopologies that begin so."""
    return _names(ctx, incomplete, queries.node_topologies())


def complete_profile(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of NodeProfiles that begin so."""
    return _names(ctx, incomplete, queries.node_profiles())


def complete_namespace(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of namespaces that begin so."""
    return _names(ctx, incomplete, queries.namespaces())


def complete_pod(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of pods of the namespace that begin so; with NAMESPACE/ those of that namespace."""
    namespace, slash, name = incomplete.rpartition("/")
    source = _source(ctx)
    if source is None:
        return []
    within = one_namespace(source, namespace or str(ctx.params.get("namespace") or ""))
    found = _read(source, queries.pods(within))
    return [f"{namespace}{slash}{one}" for one in found if one.startswith(name)]


def _names(ctx: typer.Context, incomplete: str, query: ObjectQuery) -> list[str]:
    source = _source(ctx)
    return [one for one in _read(source, query) if one.startswith(incomplete)] if source else []


def _source(ctx: typer.Context) -> ObjectSource | None:
    try:
        return open_source(ctx.params.get("files"), ctx.params.get("kubeconfig"), ctx.params.get("context"))
    except Failure:
        return None


def _read(source: ObjectSource, query: ObjectQuery) -> list[str]:
    try:
        with _at_most(_LONGEST):
            return sorted(str(one["metadata"]["name"]) for one in source.fetch(query)[0])
    except (Failure, TimeoutError, KeyError):
        return []


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

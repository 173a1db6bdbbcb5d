"""Where a command reads objects: a cluster, or files saved from one (`kubectl get -o yaml`)."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from podnuma.api.resource_types import ResourceType
from podnuma.cli.exits import Exit, Failure, LoginFailure
from podnuma.cli.objects.documents import read_documents
from podnuma.cli.objects.queries import Json, ObjectQuery

Found = TypeVar("Found")
Note = Callable[[str], None]
"""Hears what is left out of an answer."""


class ObjectSource(Protocol):
    """Answers queries, in their order; a single object is a list of one. Raises Failure.

    `namespace` is that of the kubeconfig's context, empty if it names none or there is no context.
    """

    @property
    def namespace(self) -> str:
        """The namespace that is meant when none is named."""
        ...

    def fetch(self, *queries: ObjectQuery) -> list[list[Json]]:
        """Return the objects of each query."""
        ...

    def find(self, query: ObjectQuery) -> Json | None:
        """Return one object, or None if it does not exist."""
        ...

    def text(self, path: str) -> str:
        """Return what a cluster serves at a path as text; Failure(NOT_FOUND) for files."""
        ...


@runtime_checkable
class AccessReviewer(Protocol):
    """A source that can be asked what its user may do; asking stores nothing."""

    def may_create(self, asked: Sequence[tuple[ResourceType, str]]) -> list[bool]:
        """Tell for each kind and namespace whether this user may create such an object there."""
        ...


@runtime_checkable
class ManyTexts(Protocol):
    """A source that can be asked for several texts at once, of which some may not come."""

    def texts(self, paths: Sequence[str], deadline: float) -> list[str | Failure]:
        """Return what a cluster serves at each path, or why it does not, after `deadline` seconds at most."""
        ...


class FileSource:
    """Objects in files; of one that is there several times the last counts. Those of no query are ignored.

    `label`: the files, for messages.
    """

    namespace = ""

    def __init__(self, files: Sequence[str]) -> None:
        self.label = ", ".join(files)
        found = enumerate(read_documents(files))
        self._objects = list({one.identity() or index: one.value for index, one in found}.values())

    def fetch(self, *queries: ObjectQuery) -> list[list[Json]]:
        """Return the objects of each query; Failure(NOT_FOUND) for a named one that is not there."""
        return [self._matching(one) for one in queries]

    def find(self, query: ObjectQuery) -> Json | None:
        """Return one object, or None if it is not in the files."""
        return next(filter(query.matches, self._objects), None)

    def text(self, path: str) -> str:
        """Raise Failure: files hold objects only."""
        raise Failure(Exit.NOT_FOUND, f"{path} is not in {self.label}")

    def _matching(self, query: ObjectQuery) -> list[Json]:
        found = [value for value in self._objects if query.matches(value)]
        if query.name and not found:
            raise Failure(Exit.NOT_FOUND, f"there is no {query.label} in {self.label}")
        return found


def one_namespace(source: ObjectSource, named: str) -> str:
    """Return the namespace of an object that is named without one, as kubectl does."""
    return named or source.namespace or "default"


def listed_namespace(source: ObjectSource, named: str, *, everywhere: bool) -> str:
    """Return the namespace whose objects are listed, as kubectl does; empty: all, also those of files."""
    if everywhere:
        return ""
    return named if isinstance(source, FileSource) else one_namespace(source, named)


def read_if_allowed(source: ObjectSource, query: ObjectQuery) -> tuple[list[Json] | None, str]:
    """Return what a query finds; None and why, in one sentence, if this user may not read it."""
    return _unless_forbidden(lambda: source.fetch(query)[0], query)


def find_if_allowed(source: ObjectSource, query: ObjectQuery) -> tuple[Json | None, str]:
    """Return the object of a query, None if there is none; None and why if this user may not read it."""
    return _unless_forbidden(lambda: source.find(query), query)


def _unless_forbidden(read: Callable[[], Found], query: ObjectQuery) -> tuple[Found | None, str]:
    try:
        return read(), ""
    except LoginFailure:
        raise
    except Failure as failure:
        if failure.code is not Exit.FORBIDDEN:
            raise
        verb = "get" if query.name else "list"
        return None, f"you may not {verb} {query.label}"


def near_name(source: ObjectSource, query: ObjectQuery) -> str:
    """Return "; did you mean NAME?" of an object that does not exist; empty if none is near, or readable."""
    try:
        found = source.fetch(replace(query, name=""))[0]
    except Failure:
        return ""
    near = difflib.get_close_matches(query.name, [str(one["metadata"]["name"]) for one in found], n=1)
    return f"; did you mean {near[0]}?" if near else ""


def read_or_note(source: ObjectSource, query: ObjectQuery, note: Note) -> list[Json] | None:
    """Return what a query finds; None, with a note, if this user may not read it."""
    found, why = read_if_allowed(source, query)
    if found is None:
        note(f"{why}: what depends on it is left out")
    return found


def open_source(files: Sequence[str] | None, kubeconfig: Path | None, context: str | None) -> ObjectSource:
    """Return the files if any are named, else the cluster."""
    if files:
        return FileSource(files)
    from podnuma.cli.objects.cluster import ClusterSource  # noqa: PLC0415 - the client library is slow to load

    return ClusterSource(kubeconfig, context)

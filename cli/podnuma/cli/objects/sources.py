"""Where a command reads objects: a cluster, or files saved from one (`kubectl get -o yaml`)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects.documents import read_documents
from podnuma.cli.objects.queries import Json, ObjectQuery


class ObjectSource(Protocol):
    """Answers queries, in their order; a single object is a list of one. Raises Failure."""

    def fetch(self, *queries: ObjectQuery) -> list[list[Json]]:
        """Return the objects of each query."""
        ...

    def find(self, query: ObjectQuery) -> Json | None:
        """Return one object, or None if it does not exist."""
        ...

    def text(self, path: str) -> str:
        """Return what a cluster serves at a path as text; Failure(NOT_FOUND) for files."""
        ...


class FileSource:
    """Objects in files. Objects that no query matches are ignored."""

    def __init__(self, files: Sequence[str]) -> None:
        self._label = ", ".join(files)
        self._objects = [document.value for document in read_documents(files)]

    def fetch(self, *queries: ObjectQuery) -> list[list[Json]]:
        """Return the objects of each query; Failure(NOT_FOUND) for a named one that is not there."""
        return [self._matching(one) for one in queries]

    def find(self, query: ObjectQuery) -> Json | None:
        """Return one object, or None if it is not in the files."""
        return next(filter(query.matches, self._objects), None)

    def text(self, path: str) -> str:
        """Raise Failure: files hold objects only."""
        raise Failure(Exit.NOT_FOUND, f"{path} is not in {self._label}")

    def _matching(self, query: ObjectQuery) -> list[Json]:
        found = [value for value in self._objects if query.matches(value)]
        if query.name and not found:
            raise Failure(Exit.NOT_FOUND, f"there is no {query.label} in {self._label}")
        return found


def open_source(files: Sequence[str] | None, kubeconfig: Path | None, context: str | None) -> ObjectSource:
    """Return the files if any are named, else the cluster."""
    if files:
        return FileSource(files)
    from podnuma.cli.objects.cluster import ClusterSource  # noqa: PLC0415 - the client library is slow to load

    return ClusterSource(kubeconfig, context)

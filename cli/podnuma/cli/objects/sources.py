"""Where a question reads its objects: a cluster, or files saved from one (`kubectl get -o yaml`)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from podnuma.cli.documents import read
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.wanted import Wanted

Json = dict[str, Any]


class Source(Protocol):
    """Answers what is wanted, in order; a single object as a list of one. Raises Failure."""

    def fetch(self, *wanted: Wanted) -> list[list[Json]]:
        """Return the objects of each wanted kind."""
        ...

    def find(self, wanted: Wanted) -> Json | None:
        """Return one object, or None if there is no such."""
        ...

    def text(self, path: str) -> str:
        """Return what a cluster answers at a path that is not JSON; Failure(NOT_FOUND) for files."""
        ...


class Saved:
    """Objects in files. Kinds that nobody asks for do no harm."""

    def __init__(self, files: Sequence[str]) -> None:
        self._label = ", ".join(files)
        self._objects = [document.value for document in read(files)]

    def fetch(self, *wanted: Wanted) -> list[list[Json]]:
        """Return the objects of each wanted kind; Failure(NOT_FOUND) for a single one that is not there."""
        return [self._matching(one) for one in wanted]

    def find(self, wanted: Wanted) -> Json | None:
        """Return one object, or None if it is not in the files."""
        return next(filter(wanted.matches, self._objects), None)

    def text(self, path: str) -> str:
        """Say that files have no such thing."""
        raise Failure(Exit.NOT_FOUND, f"{path} is not in {self._label}")

    def _matching(self, wanted: Wanted) -> list[Json]:
        found = [value for value in self._objects if wanted.matches(value)]
        if wanted.name and not found:
            raise Failure(Exit.NOT_FOUND, f"there is no {wanted.what} in {self._label}")
        return found


def source(files: Sequence[str], kubeconfig: Path | None, context: str | None) -> Source:
    """Return the files if any are named, else the cluster."""
    if files:
        return Saved(files)
    from podnuma.cli.cluster import Cluster  # noqa: PLC0415 - the client library is slow to load

    return Cluster(kubeconfig, context)

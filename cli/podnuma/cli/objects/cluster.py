"""Objects from a cluster, read-only, and its refusals in sentences with a next step.

Requests of one question are sent together and paged. Which cluster: --kubeconfig, else
$KUBECONFIG, else ~/.kube/config, else the service account of the pod this runs in.
"""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from podnuma.api import names
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.wanted import OURS, Wanted
from podnuma.plumbing.kube import errors
from podnuma.plumbing.kube.client import Access, Client

_PAGE = 500
_NOT_ALLOWED = (401, 403)

Json = dict[str, Any]


class Cluster:
    """One cluster. Every call opens and closes its connections; nothing is kept."""

    def __init__(self, kubeconfig: Path | None = None, context: str | None = None) -> None:
        self._access = Access(kubeconfig or _default_kubeconfig(), context)

    def fetch(self, *wanted: Wanted) -> list[list[Json]]:
        """Return the objects of each collection, in order; a single object as a list of one.

        Failure: UNREACHABLE, FORBIDDEN, NOT_SERVED or NOT_FOUND.
        """
        return asyncio.run(self._fetch(wanted))

    def find(self, wanted: Wanted) -> Json | None:
        """Return one object, or None if it does not exist."""
        try:
            return self.fetch(wanted)[0][0]
        except Failure as failure:
            if failure.code is Exit.NOT_FOUND:
                return None
            raise

    def text(self, path: str) -> str:
        """Return what the API server answers at a path that is not JSON."""
        return asyncio.run(self._text(path))

    async def _text(self, path: str) -> str:
        client = Client(self._access, user_agent="podnuma-cli")
        try:
            return await client.text(path)
        except errors.KubeError as error:
            raise Failure(Exit.NOT_FOUND, f"{path}: {error}") from error
        finally:
            await client.close()

    async def _fetch(self, wanted: Sequence[Wanted]) -> list[list[Json]]:
        client = Client(self._access, user_agent="podnuma-cli")
        try:
            answers = await asyncio.gather(
                *(self._one(client, one) for one in wanted), return_exceptions=True
            )
        finally:
            await client.close()
        found = []
        for answer in answers:
            # The first that failed, as asked: not the first that happened to come back.
            if isinstance(answer, BaseException):
                raise answer
            found.append(answer)
        return found

    async def _one(self, client: Client, wanted: Wanted) -> list[Json]:
        try:
            if wanted.name:
                return [await client.get(wanted.path, query=wanted.query)]
            pages = client.pages(wanted.path, size=_PAGE, query=wanted.query)
            return [item async for items, _ in pages for item in items]
        except errors.NotFoundError as error:
            raise await self._missing(client, wanted) from error
        except errors.KubeError as error:
            raise _failure(error, wanted) from error

    async def _missing(self, client: Client, wanted: Wanted) -> Failure:
        """Tell an object that is not there from a cluster that does not know its kind."""
        if not wanted.path.startswith(OURS):
            return Failure(Exit.NOT_FOUND, f"there is no {wanted.what}")
        try:
            group = await client.get(f"/apis/{names.GROUP}")
        except errors.KubeError:
            return Failure(
                Exit.NOT_SERVED,
                f"this cluster does not know {wanted.what}: podnuma is not installed in it; "
                "see the README for the one command that does it",
            )
        served = [version["version"] for version in group.get("versions", [])]
        if names.VERSION not in served:
            return Failure(
                Exit.NOT_SERVED,
                f"this cluster serves {names.GROUP} in {', '.join(served)}, this podnuma speaks "
                f"{names.VERSION}; use the podnuma of the installed version",
            )
        if wanted.name:
            return Failure(Exit.NOT_FOUND, f"there is no {wanted.what}")
        return Failure(
            Exit.NOT_SERVED,
            f"this cluster does not know {wanted.what}; apply all of crds/ of the installed version",
        )


def _default_kubeconfig() -> Path | None:
    named = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    if named:
        return Path(named)
    usual = Path.home() / ".kube" / "config"
    return usual if usual.is_file() else None


def _failure(error: errors.KubeError, wanted: Wanted) -> Failure:
    if error.reason == "NoCredentials":
        return Failure(
            Exit.UNREACHABLE,
            f"no cluster: {error.message}; pass --kubeconfig FILE or set KUBECONFIG, "
            "or work on saved objects with --from FILE",
        )
    if error.status in _NOT_ALLOWED:
        verb = "get" if wanted.name else "list"
        return Failure(
            Exit.FORBIDDEN,
            f"not allowed to {verb} {wanted.what}: {error.message}; "
            f"see `kubectl auth can-i {verb} {wanted.resource}`, or use another --context",
        )
    return Failure(
        Exit.UNREACHABLE,
        f"the API server gives no answer about {wanted.what}: {error.message}; "
        "see whether `kubectl version` works with the same kubeconfig",
    )

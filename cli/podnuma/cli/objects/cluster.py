"""Objects read from a cluster; errors of the API server become sentences with a next step.

The requests of one call are sent together and paged. Which cluster: --kubeconfig, else
$KUBECONFIG, else ~/.kube/config, else the service account of the pod this runs in. Several files
in $KUBECONFIG are merged as kubectl does: of what two of them name, the first counts.
"""

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path

from podnuma.api import names
from podnuma.api.resource_types import POD, SELF_SUBJECT_ACCESS_REVIEW, ResourceType
from podnuma.cli.exits import Exit, Failure, LoginFailure
from podnuma.cli.objects.queries import Json, ObjectQuery
from podnuma.cli.objects.server_admission import DryRunRefusedError
from podnuma.plumbing.kube import errors
from podnuma.plumbing.kube.client import Client
from podnuma.plumbing.kube.credentials import KubectlCredentials
from podnuma.plumbing.kube.kubeconfig import Kubeconfig, KubeconfigError

_PAGE = 500
_AT_ONCE = 0  # no limit
_REVIEW_DEADLINE = 15.0
_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_NOT_ALLOWED = (401, 403)


class ClusterSource:
    """One cluster, read-only. Each call opens and closes its own connections; nothing is cached."""

    def __init__(self, kubeconfig: Path | None = None, context: str | None = None) -> None:
        self._files = _kubeconfigs(kubeconfig)
        self._context = context or ""
        self._access = _credentials(self._files, context)

    @property
    def namespace(self) -> str:
        """The namespace of the context, or of the pod that this runs in; empty if it names none.

        What is wrong with a kubeconfig is said when it is used to connect.
        """
        if not self._files:
            with suppress(OSError, UnicodeDecodeError):
                return _POD_NAMESPACE.read_text(encoding="utf-8").strip()
            return ""
        with suppress(KubeconfigError):
            return Kubeconfig.read(self._files).namespace(self._context)
        return ""

    def connect(self) -> Client:
        """Return a client of this cluster for watches, which its user closes."""
        return Client(self._access, user_agent="podnuma-cli")

    def fetch(self, *queries: ObjectQuery) -> list[list[Json]]:
        """Return the objects of each query, in order; a single object is a list of one.

        Failure: UNREACHABLE, FORBIDDEN, NOT_SERVED or NOT_FOUND.
        """
        return asyncio.run(self._fetch(queries))

    def find(self, query: ObjectQuery) -> Json | None:
        """Return one object, or None if it does not exist."""
        try:
            return self.fetch(query)[0][0]
        except Failure as failure:
            if failure.code is Exit.NOT_FOUND:
                return None
            raise

    def text(self, path: str) -> str:
        """Return what the API server serves at a path as text."""
        return asyncio.run(self._text(path))

    def texts(self, paths: Sequence[str], deadline: float) -> list[str | Failure]:
        """Return what the API server serves at each path; of others a Failure: FORBIDDEN or UNREACHABLE."""
        return asyncio.run(self._texts(paths, deadline))

    def may_create(self, asked: Sequence[tuple[ResourceType, str]]) -> list[bool]:
        """Tell for each kind and namespace whether this user may create such an object there."""
        return asyncio.run(self._may_create(asked))

    def dry_run(self, pod: Json) -> Json:
        """Return a pod as the API server would store it. Raises DryRunRefusedError."""
        return asyncio.run(self._dry_run(pod))

    async def _dry_run(self, pod: Json) -> Json:
        namespace = pod["metadata"]["namespace"]
        client = self.connect()
        try:
            if not await _may_create(client, POD, namespace):
                raise Failure(
                    Exit.FORBIDDEN,
                    f"--server-side needs the right to create pods in {namespace}, although none is stored; "
                    f"see `kubectl auth can-i create pods -n {namespace}`",
                )
            path, asked = POD.path(namespace), {"dryRun": "All"}
            return await client.write("POST", path, pod, deadline=_REVIEW_DEADLINE, query=asked)
        except errors.RefusedError as error:
            raise DryRunRefusedError(error.message) from error
        except errors.NotFoundError as error:
            raise DryRunRefusedError(error.message) from error
        except errors.KubeError as error:
            raise Failure(Exit.UNREACHABLE, f"no answer to a dry run: {error.message}") from error
        finally:
            await client.close()

    async def _may_create(self, asked: Sequence[tuple[ResourceType, str]]) -> list[bool]:
        client = Client(self._access, user_agent="podnuma-cli")
        try:
            return list(await asyncio.gather(*(_may_create(client, *one) for one in asked)))
        except errors.KubeError as error:
            raise Failure(Exit.UNREACHABLE, f"rights cannot be asked for: {error.message}") from error
        finally:
            await client.close()

    async def _text(self, path: str) -> str:
        client = self.connect()
        try:
            return await client.text(path)
        except errors.KubeError as error:
            raise Failure(Exit.NOT_FOUND, f"{path}: {error}") from error
        finally:
            await client.close()

    async def _texts(self, paths: Sequence[str], deadline: float) -> list[str | Failure]:
        client = self.connect()
        try:
            return list(await asyncio.gather(*(_text(client, path, deadline) for path in paths)))
        finally:
            await client.close()

    async def _fetch(self, queries: Sequence[ObjectQuery]) -> list[list[Json]]:
        client = self.connect()
        try:
            answers = await asyncio.gather(
                *(self._one(client, one) for one in queries), return_exceptions=True
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

    async def _one(self, client: Client, query: ObjectQuery) -> list[Json]:
        try:
            if query.name:
                return [await client.get(query.path, query=query.query)]
            try:
                return await _every(client, query, _PAGE)
            except errors.GoneError:
                # The later pages of a long list are of a version that the server keeps for minutes only.
                return await _every(client, query, _AT_ONCE)
        except errors.NotFoundError as error:
            raise await self._missing(client, query) from error
        except errors.KubeError as error:
            raise _failure(error, query) from error

    async def _missing(self, client: Client, query: ObjectQuery) -> Failure:
        """Tell an object that is not there from a cluster that does not know its kind."""
        if query.type.group != names.GROUP:
            return Failure(Exit.NOT_FOUND, f"there is no {query.label}")
        try:
            group = await client.get(f"/apis/{names.GROUP}")
        except errors.KubeError:
            return Failure(
                Exit.NOT_SERVED,
                f"this cluster does not know {query.label}: podnuma is not installed in it; "
                "see the README on how to install it",
            )
        served = [version["version"] for version in group.get("versions", [])]
        if names.VERSION not in served:
            return Failure(
                Exit.NOT_SERVED,
                f"this cluster serves {names.GROUP} in {', '.join(served)}, this podnuma speaks "
                f"{names.VERSION}; use the podnuma of the installed version",
            )
        if query.name:
            return Failure(Exit.NOT_FOUND, f"there is no {query.label}")
        return Failure(
            Exit.NOT_SERVED,
            f"this cluster does not know {query.label}; apply all of crds/ of the installed version",
        )


async def _every(client: Client, query: ObjectQuery, size: int) -> list[Json]:
    """Return a whole collection, read in pages of this size."""
    return [
        item async for items, _ in client.pages(query.path, size=size, query=query.query) for item in items
    ]


async def _text(client: Client, path: str, deadline: float) -> str | Failure:
    try:
        return await client.text(path, deadline=deadline)
    except errors.KubeError as error:
        return Failure(exit_code(error), str(error))


async def _may_create(client: Client, kind: ResourceType, namespace: str) -> bool:
    wanted = {"verb": "create", "group": kind.group, "resource": kind.plural, "namespace": namespace}
    review = {**SELF_SUBJECT_ACCESS_REVIEW.type_meta, "spec": {"resourceAttributes": wanted}}
    path = SELF_SUBJECT_ACCESS_REVIEW.path()
    answer = await client.write("POST", path, review, deadline=_REVIEW_DEADLINE)
    return bool((answer.get("status") or {}).get("allowed"))


def exit_code(error: errors.KubeError) -> Exit:
    """Return what a command ends with that an API server's error stops, where nothing more is known of it."""
    answered = bool(error.status)
    return Exit.FORBIDDEN if answered and isinstance(error, errors.RefusedError) else Exit.UNREACHABLE


def kubectl_credentials(kubeconfig: Path | None, context: str | None) -> KubectlCredentials:
    """Return the credentials of whoever calls, for all commands that a person calls: those of kubectl."""
    return _credentials(_kubeconfigs(kubeconfig), context)


def _credentials(files: list[Path], context: str | None) -> KubectlCredentials:
    return KubectlCredentials(Path(os.pathsep.join(map(str, files))) if files else None, context)


def _kubeconfigs(given: Path | None) -> list[Path]:
    """Return the file that is given, or those of $KUBECONFIG that exist; if none does, all, to be named."""
    if given is not None:
        return [given]
    named = [Path(one) for one in os.environ.get("KUBECONFIG", "").split(os.pathsep) if one]
    if named:
        return [one for one in named if one.is_file()] or named
    try:
        usual = Path.home() / ".kube" / "config"
    except RuntimeError:
        return []  # an account without a home, as pods may have
    return [usual] if usual.is_file() else []


def _failure(error: errors.KubeError, query: ObjectQuery) -> Failure:
    if error.reason == "NoCredentials":
        return Failure(
            Exit.UNREACHABLE,
            f"no cluster: {error.message}; pass --kubeconfig FILE or set KUBECONFIG, "
            "or work on saved objects with --from FILE",
        )
    if error.status == HTTPStatus.UNAUTHORIZED:
        return LoginFailure(
            Exit.FORBIDDEN,
            f"the API server does not know who asks ({error.message}): the credentials of the kubeconfig "
            "have expired or are those of another cluster; log in again as for kubectl, or use another "
            "--context",
        )
    if error.status in _NOT_ALLOWED:
        verb = "get" if query.name else "list"
        return Failure(
            Exit.FORBIDDEN,
            f"not allowed to {verb} {query.label}: {error.message}; "
            f"see `kubectl auth can-i {verb} {query.type.resource}`, or use another --context",
        )
    return Failure(
        Exit.UNREACHABLE,
        f"no answer from the API server about {query.label}: {error.message}; "
        "check whether `kubectl version` works with the same kubeconfig",
    )

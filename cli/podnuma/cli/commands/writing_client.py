"""The client of the commands that write to a cluster, and what an API server's error means to who asked.

It means the cluster that all other commands mean: that of kubectl's kubeconfig, or where there is none, as in
the job before an uninstall, that of the pod. Loading the client is slow, so it is loaded when it is opened,
not for --help.
"""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from podnuma.cli.exits import Failure
from podnuma.plumbing.kube import errors

if TYPE_CHECKING:
    from podnuma.plumbing.kube.client import Client

DEADLINE: Final = 15.0
"""Seconds for one request."""

PAGE: Final = 500
"""Objects per request of a list."""


@contextlib.asynccontextmanager
async def writing_client(
    kubeconfig: Path | None, context: str | None, in_vain: str
) -> AsyncIterator["Client"]:
    """Open a client and close it; an error of the API server is a Failure that begins with `in_vain`."""
    from podnuma.cli.objects.cluster import exit_code, kubectl_credentials  # noqa: PLC0415
    from podnuma.plumbing.kube.client import Client  # noqa: PLC0415

    client = Client(kubectl_credentials(kubeconfig, context), user_agent="podnuma-release")
    try:
        yield client
    except errors.KubeError as error:
        next_step = "; pass --kubeconfig FILE or set KUBECONFIG" if error.reason == "NoCredentials" else ""
        raise Failure(exit_code(error), f"{in_vain}: {error}{next_step}") from error
    finally:
        await client.close()

"""Credentials for the API server: what a client needs of them, and how the command line reads them.

The operator takes them from the official client (`operator.credentials`). The command line reads kubeconfigs
as kubectl does, whose plugin it is: a token, or else a user and password, or else a program; certificates
beside any of them; whom to impersonate. Files are read at every call, because tokens rotate; what a program
printed is used as long as it is good. A provider of old (`auth-provider`) is not run: an OpenID token that
still is good is used, and kubectl renews it.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import quote

from podnuma.plumbing.kube import errors, exec_plugin
from podnuma.plumbing.kube.endpoint import Endpoint, EndpointError, proxy_problem
from podnuma.plumbing.kube.environment_proxy import environment_proxy
from podnuma.plumbing.kube.exec_plugin import ExecCredential, ExecPluginError
from podnuma.plumbing.kube.kubeconfig import Entry, Kubeconfig, KubeconfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_SECURE: Final = ("certificate-authority", "certificate-authority-data", "insecure-skip-tls-verify")
_TOKEN_PARTS: Final = 3
_HEADER_NAME: Final = "!#$&'*+-.^_`|~"  # beside letters and digits; the server decodes what is not in a name


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where the API server is, and the headers that say who asks."""

    endpoint: Endpoint
    authorization: str | None = None
    impersonation: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class _Printed:
    """What the program of a kubeconfig printed last."""

    credential: ExecCredential | None = None


class CredentialSource(Protocol):
    """Where credentials come from."""

    async def read(self, *, refused: bool = False) -> Credentials:
        """Read the current credentials; RefusedError says what is missing.

        `refused`: the server did not accept the last ones.
        """
        ...


@dataclass(frozen=True, slots=True)
class KubectlCredentials:
    """A context of a kubeconfig or, without one, the pod's service account.

    kubeconfig: a file, or several as $KUBECONFIG names them.
    """

    kubeconfig: Path | None = None
    context: str | None = None
    _printed: _Printed = field(default_factory=_Printed, repr=False, compare=False)

    async def read(self, *, refused: bool = False) -> Credentials:
        if refused:
            self._printed.credential = None
        try:
            if self.kubeconfig is None:
                return _of_service_account()
            files = [Path(one) for one in str(self.kubeconfig).split(os.pathsep) if one]
            cluster, user = Kubeconfig.read(files).cluster_and_user(self.context or "")
            return await self._of_context(cluster, user)
        except (KubeconfigError, EndpointError, ExecPluginError, OSError) as error:
            raise errors.RefusedError(0, "NoCredentials", f"cannot read credentials: {error}") from error

    async def _of_context(self, cluster: Entry, user: Entry) -> Credentials:
        server = cluster.text("server").rstrip("/")
        if not server:
            raise cluster.wrong("server", "must be set")
        if "://" not in server:
            secure = any(cluster.values.get(name) for name in _SECURE)
            server = f"{'https' if secure else 'http'}://{server}"
        certificate, key = user.content("client-certificate"), user.content("client-key")
        authorization = _of_file(user)
        plugin = user.part("exec")
        if authorization is None and plugin is not None:
            if self._printed.credential is None or not self._printed.credential.is_good(_now()):
                self._printed.credential = await exec_plugin.run_plugin(user, plugin, cluster)
            printed = self._printed.credential
            authorization = f"Bearer {printed.token}" if printed.token else None
            certificate, key = printed.certificate or certificate, printed.key or key
        endpoint = Endpoint(
            server=server,
            authority=cluster.content("certificate-authority"),
            certificate=certificate,
            key=key,
            verify=not cluster.flag("insecure-skip-tls-verify"),
            server_name=cluster.text("tls-server-name"),
            proxy=_proxy(server, cluster),
        )
        return Credentials(endpoint, authorization, tuple(_impersonation(user)))


def _of_file(user: Entry) -> str | None:
    """Return the Authorization header that the kubeconfig itself, or a file that it names, has."""
    if token := _token(user):
        return f"Bearer {token}"
    if name := user.text("username"):
        pair = f"{name}:{user.text('password')}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"
    provider = user.part("auth-provider")
    return _of_provider(provider) if provider is not None else None


def _token(user: Entry) -> str:
    """Return the token in the file that is named, else the one that stands there; empty if neither is."""
    token = user.text("token")
    if not token.isprintable():
        raise user.wrong("token", "has a line break in it, which no header may have; write it on one line")
    file = user.path("tokenFile")
    if file is None:
        return token
    try:
        read = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        if not token:
            raise user.wrong("tokenFile", f"cannot be read: {error.strerror}") from error
        return token
    if not read and not token:
        raise user.wrong("tokenFile", "names an empty file")
    return read or token


def _of_provider(provider: Entry) -> str:
    config = provider.part("config")
    token = config.text("id-token") if config else ""
    if provider.text("name") != "oidc":
        raise provider.wrong("name", f"is {provider.text('name')!r}, which Kubernetes dropped; use exec")
    if not token or _has_expired(token):
        raise provider.wrong("config.id-token", "is missing or has expired; any kubectl command renews it")
    return f"Bearer {token}"


def _has_expired(token: str) -> bool:
    parts = token.split(".")
    if len(parts) != _TOKEN_PARTS:
        return False  # the server will tell
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=="))
        return float(claims["exp"]) <= _now().timestamp()
    except (ValueError, KeyError, TypeError):
        return False


def _impersonation(user: Entry) -> Iterator[tuple[str, str]]:
    for key, header in (("as", "Impersonate-User"), ("as-uid", "Impersonate-Uid")):
        if value := user.text(key):
            yield header, value
    for group in user.texts("as-groups"):
        yield "Impersonate-Group", group
    extra = user.part("as-user-extra")
    for key in extra.values if extra else ():
        for value in extra.texts(key) if extra else ():
            yield f"Impersonate-Extra-{quote(key, safe=_HEADER_NAME)}", value


def _proxy(server: str, cluster: Entry | None = None) -> str | None:
    """Return a server's proxy: that of the kubeconfig, else of the environment (HTTPS_PROXY, NO_PROXY)."""
    named = cluster.text("proxy-url") if cluster is not None else ""
    if cluster is not None and named and (problem := proxy_problem(named)):
        raise cluster.wrong("proxy-url", problem)
    return named or environment_proxy(server)


def _of_service_account() -> Credentials:
    host, port = (os.environ.get(f"KUBERNETES_SERVICE_{part}", "") for part in ("HOST", "PORT"))
    if not host or not port:
        raise KubeconfigError(
            "there is no kubeconfig, and this is no pod: KUBERNETES_SERVICE_HOST is not set"
        )
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    token = (_ACCOUNT / "token").read_text(encoding="utf-8").strip()
    authority = (_ACCOUNT / "ca.crt").read_bytes()
    return Credentials(Endpoint(server, authority, proxy=_proxy(server)), f"Bearer {token}")


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)

"""Requests to the API server through pykube-ng, blocking, one `Api` per thread.

Service account tokens rotate: the kubelet (or a test) replaces the file, and the next request carries the
new token. Every request has a deadline. Errors are those of `plumbing.kube.errors`; nothing above this
module sees an error of the HTTP library.
"""

import contextlib
import json
import logging
import ssl
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlencode

import pykube
import requests
import yaml
from podnuma.plumbing.kube import errors
from podnuma.plumbing.kube.apply_body import apply_body
from podnuma.plumbing.kube.content_types import APPLY
from podnuma.plumbing.kube.endpoint import verify_as_client_go
from pykube.exceptions import PyKubeError
from pykube.http import HTTPClient, KubernetesHTTPAdapter

Json: TypeAlias = dict[str, Any]

_DEADLINE = 10.0
_SILENCE = 90.0  # the API server sends a bookmark every minute or so
_REFUSED = 400
_LONGEST_LINE = 16 * 2**20

# pykube warns of nothing we act on; urllib3 warns of each retry that we count ourselves.
_QUIET = ("urllib3.connectionpool",)


@dataclass(frozen=True, slots=True)
class CredentialFiles:
    """Where the credentials are. `kubeconfig` None: the service account in `service_account`."""

    kubeconfig: Path | None
    service_account: Path

    def read(self) -> "tuple[pykube.KubeConfig, Path | None]":
        """Return the configuration and the token file, if that is how this client proves who it is.

        Raises RefusedError with what is missing.
        """
        try:
            if self.kubeconfig is None:
                config = pykube.KubeConfig.from_service_account(str(self.service_account))
                return config, self.service_account / "token"
            config = pykube.KubeConfig.from_file(str(self.kubeconfig))
            token_file = config.user.get("tokenFile")
        except (OSError, PyKubeError, KeyError, ValueError, TypeError, yaml.YAMLError) as error:
            where = self.kubeconfig or self.service_account
            raise errors.RefusedError(
                0, "NoCredentials", f"cannot read credentials from {where}: {error!r}"
            ) from error
        return config, None if token_file is None else self.kubeconfig.parent / token_file


class TokenFile:
    """The token in a file, read again whenever the file is another one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._token = ""

    def current(self) -> str:
        """Return the present token; the last one while the file cannot be read (it is being replaced)."""
        with contextlib.suppress(OSError):
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_ino, status.st_size)
            if seen != self._seen:
                self._token = self._path.read_text(encoding="ascii").strip()
                self._seen = seen
        return self._token


class _Adapter(KubernetesHTTPAdapter):  # type: ignore[misc]  # pykube is untyped
    def __init__(self, config: "pykube.KubeConfig", token: TokenFile | None) -> None:
        super().__init__(config, pool_maxsize=2)
        self._token = token

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        if not self.kube_config.cluster.get("insecure-skip-tls-verify"):
            context = kwargs["ssl_context"] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            verify_as_client_go(context)
        super().init_poolmanager(*args, **kwargs)

    def send(self, request: Any, **kwargs: Any) -> Any:
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token.current()}"
        return super().send(request, **kwargs)


class ApiClient:
    """One connection. Not for two threads at once, but for `abort`."""

    def __init__(
        self,
        access: CredentialFiles,
        user_agent: str,
        count_error: Callable[[str], None],
        silence: float = _SILENCE,
    ) -> None:
        config, token_file = access.read()
        adapter = _Adapter(config, TokenFile(token_file) if token_file is not None else None)
        self._client = HTTPClient(config, timeout=_DEADLINE, http_adapter=adapter)
        # An agent uses no proxy and no netrc of the environment, which would be looked up per request.
        self._client.session.trust_env = False
        self._client.session.headers["User-Agent"] = user_agent
        self._count_error = count_error
        self._silence = silence
        self._following: requests.Response | None = None
        for name in _QUIET:
            logging.getLogger(name).setLevel(logging.ERROR)

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        """Read an object or a list."""
        return self._send("GET", path, query or {}, None, {})

    def pages(self, path: str, query: Mapping[str, str], size: int = 500) -> tuple[list[Json], str]:
        """Return all items of a list, read in pages, and the resource version to watch from."""
        items: list[Json] = []
        follow: dict[str, str] = {}
        while True:
            page = self.get(path, {**query, "limit": str(size), **follow})
            metadata = page.get("metadata") or {}
            items += page.get("items") or []
            if not metadata.get("continue"):
                return items, str(metadata.get("resourceVersion") or "")
            follow = {"continue": str(metadata["continue"])}

    def apply(self, path: str, body: Json, manager: str) -> Json:
        """Apply `body` server-side as `manager`, taking over fields that another manager has."""
        query = {"fieldManager": manager, "force": "true", "timeout": f"{_DEADLINE:.0f}s"}
        return self._send("PATCH", path, query, body, {"Content-Type": APPLY})

    def create(self, path: str, body: Json, manager: str) -> Json:
        """Create an object. Raises AlreadyExistsError."""
        query = {"fieldManager": manager, "timeout": f"{_DEADLINE:.0f}s"}
        return self._send("POST", path, query, body, {"Content-Type": "application/json"})

    def watch(self, path: str, query: Mapping[str, str], seconds: float) -> Generator[Json]:
        """Yield the events of a watch until the server ends it, after `seconds` at the latest.

        A connection that says nothing for a while is given up: what is between here and the server may have
        dropped it without a word to either.
        """
        asked = {**query, "watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": f"{seconds:.0f}"}
        with self._translated():
            url = f"{self._client.url}{path}?{urlencode(asked)}"
            patience = (_DEADLINE, min(self._silence, seconds + _DEADLINE))
            with self._client.session.get(url, stream=True, timeout=patience) as response:
                if response.status_code >= _REFUSED:
                    raise errors.from_answer(response.status_code, response.content)
                self._following = response
                try:
                    for line in _lines(response):
                        yield json.loads(line)
                finally:
                    self._following = None

    def abort(self) -> None:
        """End a watch that another thread is waiting in."""
        response = self._following
        if response is not None:
            # urllib3 says so where there is nothing (left) to shut down.
            with contextlib.suppress(OSError, ValueError, RuntimeError, AttributeError):
                response.raw.shutdown()

    def close(self) -> None:
        self._client.session.close()

    def _send(
        self, method: str, path: str, query: Mapping[str, str], body: Json | None, headers: Mapping[str, str]
    ) -> Json:
        with self._translated():
            url = f"{self._client.url}{path}" + (f"?{urlencode(query)}" if query else "")
            data = None if body is None else apply_body(body)
            response = self._client.session.request(
                method, url, data=data, headers=dict(headers), timeout=(_DEADLINE, _DEADLINE)
            )
            if response.status_code >= _REFUSED:
                retry_after = response.headers.get("Retry-After")
                raise errors.from_answer(response.status_code, response.content, retry_after)
            answer = response.json()
            if not isinstance(answer, dict):
                raise ValueError(f"{method} {path} answered {type(answer).__name__}, not an object")  # noqa: TRY004
            return answer

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except errors.KubeError as error:
            self._count_error(error.reason or str(error.status))
            raise
        except (requests.RequestException, PyKubeError, OSError, ValueError) as error:
            self._count_error("NoAnswer")
            raise errors.no_answer(error) from error


def _lines(response: requests.Response) -> Iterator[bytes]:
    rest = b""
    for chunk in response.iter_content(chunk_size=None):
        rest += chunk
        *whole, rest = rest.split(b"\n")
        yield from (line for line in whole if line.strip())
        if len(rest) > _LONGEST_LINE:
            raise ValueError(f"one watch event is longer than {_LONGEST_LINE} bytes")

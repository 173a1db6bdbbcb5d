"""A few calls to a Kubernetes API server for tests and demo: JSON in, JSON out.

Deliberately not one of the clients that podnuma uses: a test must not share the product's
mistakes. Paths are those of the HTTP API ("/api/v1/nodes"); `path_of` makes them from a manifest.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Self

import requests
from requests.adapters import HTTPAdapter

from testbed.pki import client_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

Json = dict[str, Any]

TIMEOUT = 30
_STORAGE_SECONDS = 0.5
_CLUSTER_SCOPED = {
    "Namespace": "namespaces",
    "Node": "nodes",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "CustomResourceDefinition": "customresourcedefinitions",
    "DeviceClass": "deviceclasses",
    "PriorityClass": "priorityclasses",
    "ResourceSlice": "resourceslices",
    "RuntimeClass": "runtimeclasses",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
    "ValidatingWebhookConfiguration": "validatingwebhookconfigurations",
    "MutatingAdmissionPolicy": "mutatingadmissionpolicies",
    "MutatingAdmissionPolicyBinding": "mutatingadmissionpolicybindings",
    "MutatingWebhookConfiguration": "mutatingwebhookconfigurations",
    "NodeProfile": "nodeprofiles",
    "NodeResourceTopology": "noderesourcetopologies",
    "NodeTopology": "nodetopologies",
}
_IRREGULAR = {"NetworkPolicy": "networkpolicies"}


class ApiStatusError(Exception):
    """The server refused; `code`, `reason` and `message` are those of its Status object."""

    def __init__(self, code: int, status: Json) -> None:
        self.code = code
        self.reason = str(status.get("reason", ""))
        self.message = str(status.get("message", ""))
        super().__init__(f"{code} {self.reason}: {self.message}")

    @property
    def of_a_start(self) -> bool:
        """Tell whether it is what a server answers that has just started: "storage is (re)initializing"."""
        return bool(self.code == requests.codes.too_many_requests)


def path_of(manifest: Json, namespace: str = "default") -> str:
    """Return the HTTP path of the object that a manifest describes."""
    api, kind, metadata = manifest["apiVersion"], manifest["kind"], manifest["metadata"]
    root = f"/apis/{api}" if "/" in api else f"/api/{api}"
    if kind in _CLUSTER_SCOPED:
        return f"{root}/{_CLUSTER_SCOPED[kind]}/{metadata['name']}"
    plural = _IRREGULAR.get(kind, kind.lower() + "s")
    return f"{root}/namespaces/{metadata.get('namespace', namespace)}/{plural}/{metadata['name']}"


def _shown(found: Mapping[str, Any]) -> str:
    """Render an object for an error text: without managedFields, and of bounded length."""
    metadata = {key: value for key, value in found.get("metadata", {}).items() if key != "managedFields"}
    return json.dumps({**found, "metadata": metadata})[:3000]


class _Adapter(HTTPAdapter):
    """Connects with this context."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **more: Any) -> None:
        super().init_poolmanager(*arguments, **more, ssl_context=self._context)


class Api:
    """One identity talking to one server. Close it, or use it as a context manager."""

    def __init__(
        self,
        server: str,
        ca_file: Path,
        *,
        certificate: tuple[Path, Path] | None = None,
        token: str | None = None,
    ) -> None:
        self.server = server
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = str(ca_file)
        self._session.mount("https://", _Adapter(client_context(ca_file)))
        if certificate is not None:
            self._session.cert = (str(certificate[0]), str(certificate[1]))
        if token is not None:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def close(self) -> None:
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = "application/json",
        **params: str,
    ) -> Json:
        """Send one request; ApiStatusError for a refusal, requests.ConnectionError without a server."""
        response = self._session.request(
            method,
            self.server + path,
            params=params,
            data=None if body is None else json.dumps(body),
            headers={"Content-Type": content_type, "Accept": "application/json"},
            timeout=TIMEOUT,
        )
        try:
            answer = response.json()
        except ValueError:
            answer = {"message": response.text}
        if not response.ok:
            raise ApiStatusError(response.status_code, answer if isinstance(answer, dict) else {})
        return answer if isinstance(answer, dict) else {"value": answer}

    def get(self, path: str, **params: str) -> Json:
        return self.request("GET", path, **params)

    def find(self, path: str, **params: str) -> Json | None:
        """Get an object, or None when the server does not have it."""
        try:
            return self.get(path, **params)
        except ApiStatusError as error:
            if error.code == requests.codes.not_found:
                return None
            raise

    def items(self, path: str, **params: str) -> list[Json]:
        """List a collection."""
        found: list[Json] = self.get(path, **params)["items"]
        return found

    def create(self, manifest: Json, namespace: str = "default", **params: str) -> Json:
        """POST the object to its collection."""
        return self.request("POST", path_of(manifest, namespace).rpartition("/")[0], manifest, **params)

    def apply(
        self, manifest: Json, namespace: str = "default", *, manager: str = "testbed", subresource: str = ""
    ) -> Json:
        """Server-side apply with force, optionally on a subresource such as "status"."""
        path = path_of(manifest, namespace) + (f"/{subresource}" if subresource else "")
        return self.request(
            "PATCH",
            path,
            manifest,
            content_type="application/apply-patch+yaml",
            fieldManager=manager,
            force="true",
        )

    def merge(self, path: str, patch: Json, **params: str) -> Json:
        """JSON merge patch."""
        return self.request("PATCH", path, patch, content_type="application/merge-patch+json", **params)

    def delete(self, path: str, *, grace_seconds: int | None = None) -> Json:
        options: Json = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        return self.request("DELETE", path, options)

    def watch(self, path: str, *, timeout: float = TIMEOUT, **params: str) -> Iterator[tuple[str, Json]]:
        """Yield (event type, object) until `timeout` seconds have passed; starts with what exists."""
        with self._session.get(
            self.server + path,
            params={"watch": "true", "timeoutSeconds": str(max(1, int(timeout))), **params},
            stream=True,
            timeout=(TIMEOUT, timeout + TIMEOUT),
        ) as response:
            if not response.ok:
                raise ApiStatusError(response.status_code, response.json())
            for line in response.iter_lines(chunk_size=None):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise ApiStatusError(int(event["object"].get("code", 0)), event["object"])
                yield event["type"], event["object"]

    def wait_for(
        self,
        path: str,
        fact: Callable[[Json], bool],
        what: str,
        *,
        timeout: float = TIMEOUT,
        **params: str,
    ) -> Json:
        """Watch a collection until one object satisfies `fact` and return it; TimeoutError names `what`.

        A server that has just started refuses watches for a moment.
        """
        deadline = time.monotonic() + timeout
        last: Mapping[str, Any] = {}
        while (left := deadline - time.monotonic()) > 0:
            try:
                for event, found in self.watch(path, timeout=left, **params):
                    last = found
                    if event != "DELETED" and fact(found):
                        return found
                    if time.monotonic() > deadline:
                        break
            except ApiStatusError as error:
                if not error.of_a_start:
                    raise
                time.sleep(_STORAGE_SECONDS)
        raise TimeoutError(f"waited {timeout:g} s for {what}; last seen: {_shown(last)}")

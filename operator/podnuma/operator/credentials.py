"""The operator's credentials, by the official client: a kubeconfig, or the service account of its pod."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kubernetes.aio import client as kubernetes_client
from kubernetes.aio.config import ConfigException, incluster_config, kube_config
from podnuma.plumbing.kube import errors
from podnuma.plumbing.kube.credentials import Credentials
from podnuma.plumbing.kube.endpoint import Endpoint
from podnuma.plumbing.kube.environment_proxy import environment_proxy

# The package says it is typed, but these functions carry no annotations.
_INCLUSTER: Final[Any] = incluster_config
_KUBECONFIG: Final[Any] = kube_config


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """A context of a kubeconfig or, without one, the pod's service account; files are read at every call."""

    kubeconfig: Path | None = None
    context: str | None = None

    async def read(self, *, refused: bool = False) -> Credentials:
        """Read the current credentials; RefusedError says what is missing."""
        del refused  # the client keeps nothing between two calls
        configuration: Any = kubernetes_client.Configuration()
        try:
            if self.kubeconfig is None:
                _INCLUSTER.load_incluster_config(client_configuration=configuration, try_refresh_token=False)
            else:
                await _KUBECONFIG.load_kube_config(
                    config_file=str(self.kubeconfig), context=self.context, client_configuration=configuration
                )
            bearer = (await configuration.auth_settings()).get("BearerToken")
            return Credentials(_endpoint(configuration), str(bearer["value"]) if bearer else None)
        except (ConfigException, OSError) as error:
            where = self.kubeconfig or "the pod's service account"
            text = f"cannot read credentials from {where}: {error}"
            raise errors.RefusedError(0, "NoCredentials", text) from error


def _endpoint(configuration: Any) -> Endpoint:
    return Endpoint(
        server=configuration.host,
        authority=_content(configuration.ssl_ca_cert),
        certificate=_content(configuration.cert_file),
        key=_content(configuration.key_file),
        verify=bool(configuration.verify_ssl),
        server_name=configuration.tls_server_name or "",
        proxy=configuration.proxy or environment_proxy(configuration.host),
    )


def _content(path: str | None) -> bytes:
    return Path(path).read_bytes() if path else b""

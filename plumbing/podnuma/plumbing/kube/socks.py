"""Connections to a server: its certificates, and the SOCKS5 proxy before it where there is one (`ssh -D`).

A SOCKS5 proxy is given the server's name and looks it up itself, as for kubectl: behind it are names that
nobody else knows. Proxies of HTTP are aiohttp's own affair.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

import aiohttp
from aiohttp_socks import ProxyConnectionError, ProxyConnector, ProxyError, ProxyTimeoutError, ProxyType
from podnuma.plumbing.kube.endpoint import EndpointError, proxy_problem

if TYPE_CHECKING:
    import asyncio

    from aiohttp.client_proto import ResponseHandler
    from podnuma.plumbing.kube.endpoint import Endpoint

_PORT: Final = 1080


def connector_to(endpoint: Endpoint, *, limit: int) -> aiohttp.TCPConnector:
    """Return what opens connections to a server; EndpointError if its certificates or proxy are unusable."""
    context = endpoint.ssl_context()
    if endpoint.proxy and (problem := proxy_problem(endpoint.proxy)):
        raise EndpointError(f"the proxy for {endpoint.server} {problem}")
    if not endpoint.proxy or endpoint.http_proxy is not None:
        return aiohttp.TCPConnector(limit=limit, ssl=context)
    proxy = urlsplit(endpoint.proxy)
    return _SocksConnector(
        proxy.hostname or "",
        proxy.port or _PORT,
        ProxyType.SOCKS5,
        unquote(proxy.username or ""),
        unquote(proxy.password or ""),
        rdns=True,
        limit=limit,
        ssl=context,
    )


class _SocksConnector(ProxyConnector):
    """A connector whose sockets come from a SOCKS5 proxy, with the errors of aiohttp's own connectors."""

    async def _wrap_create_connection(
        self, *args: Any, req: Any, **options: Any
    ) -> tuple[asyncio.Transport, ResponseHandler]:
        try:
            return await super()._wrap_create_connection(*args, req=req, **options)
        except ProxyTimeoutError as error:
            raise TimeoutError(str(error)) from error
        except (ProxyConnectionError, ProxyError) as error:
            said = f"SOCKS5 proxy {self._proxy_host}:{self._proxy_port}: {error}"
            failure = ConnectionError(errno.ECONNABORTED, said)
            raise aiohttp.ClientProxyConnectionError(req.connection_key, failure) from error
        except OSError as error:  # of the server behind it, such as its certificate
            raise aiohttp.ClientConnectorError(req.connection_key, error) from error

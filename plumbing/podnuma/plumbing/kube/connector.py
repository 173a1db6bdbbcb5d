"""Connections to a server: its certificates, and the proxy before it where there is one.

Proxies of HTTP are aiohttp's own affair; for those of SOCKS5 the library is loaded when there is one: few
have any, and it takes a tenth of the time of a command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
from podnuma.plumbing.kube.endpoint import EndpointError, proxy_problem

if TYPE_CHECKING:
    from podnuma.plumbing.kube.endpoint import Endpoint


def connector_to(endpoint: Endpoint, *, limit: int) -> aiohttp.TCPConnector:
    """Return what opens connections to a server; EndpointError if its certificates or proxy are unusable."""
    context = endpoint.ssl_context()
    if endpoint.proxy and (problem := proxy_problem(endpoint.proxy)):
        raise EndpointError(f"the proxy for {endpoint.server} {problem}")
    if not endpoint.proxy or endpoint.http_proxy is not None:
        return aiohttp.TCPConnector(limit=limit, ssl=context)
    from podnuma.plumbing.kube.socks import SocksConnector  # noqa: PLC0415

    return SocksConnector.through(endpoint.proxy, limit=limit, ssl=context)

"""Connections through a SOCKS5 proxy (`ssh -D`), with the errors of aiohttp's own connectors.

A SOCKS5 proxy is given the server's name and looks it up itself, as for kubectl: behind it are names that
nobody else knows.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

import aiohttp
from aiohttp_socks import ProxyConnectionError, ProxyConnector, ProxyError, ProxyTimeoutError, ProxyType

if TYPE_CHECKING:
    import asyncio
    from typing import Self

    from aiohttp.client_proto import ResponseHandler

_PORT: Final = 1080


class SocksConnector(ProxyConnector):
    """A connector whose sockets come from a SOCKS5 proxy."""

    @classmethod
    def through(cls, url: str, **options: Any) -> Self:
        """Return one for `socks5://USER:PASSWORD@HOST:PORT`; the options are aiohttp's."""
        proxy = urlsplit(url)
        return cls(
            proxy.hostname or "",
            proxy.port or _PORT,
            ProxyType.SOCKS5,
            unquote(proxy.username or ""),
            unquote(proxy.password or ""),
            rdns=True,
            **options,
        )

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

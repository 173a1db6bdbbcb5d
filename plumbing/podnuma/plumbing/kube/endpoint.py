"""Where an API server is and how it is reached: address, certificates, proxy."""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable


_HTTP: Final = ("http", "https")
_PROXIES: Final = (*_HTTP, "socks5", "socks5h")  # both of the latter look names up themselves


class EndpointError(Exception):
    """Certificates or keys cannot be used."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One API server. Certificates and key are PEM; without an authority the system's are trusted.

    server_name: the name that the server's certificate must have, if not that of its address. proxy: a URL in
    which `proxy_problem` finds none.
    """

    server: str
    authority: bytes = b""
    certificate: bytes = b""
    key: bytes = b""
    verify: bool = True
    server_name: str = ""
    proxy: str | None = None

    @property
    def http_proxy(self) -> str | None:
        """The proxy, if it is one of HTTP."""
        is_http = self.proxy is not None and urlsplit(self.proxy).scheme in _HTTP
        return self.proxy if is_http else None

    def ssl_context(self) -> ssl.SSLContext:
        """Return the context of this server's connections; EndpointError if certificates are unusable."""
        context = _NamedContext(ssl.PROTOCOL_TLS_CLIENT)
        context.server_name = self.server_name
        verify_as_client_go(context)
        try:
            if not self.server.startswith("https:"):
                return context
            if not self.verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            elif self.authority:
                context.load_verify_locations(cadata=self.authority.decode(errors="replace"))
            else:
                context.load_default_certs()
            if self.certificate:
                _load_certificate(context, self.certificate, self.key)
        except (ssl.SSLError, ValueError, OSError) as error:
            raise EndpointError(f"the certificates for {self.server} cannot be used: {error}") from error
        return context


def verify_as_client_go(context: ssl.SSLContext) -> None:
    """Let a context accept the chains of certificates that client-go accepts, and with it kubectl.

    Go trusts every certificate of an authority file, an intermediate one too, and does not miss the
    extensions that authorities of older clusters leave out. `ssl.create_default_context` and urllib3 of
    Python 3.13 refuse the latter ("Missing Authority Key Identifier"), those of Python 3.12 the former.
    """
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT


def proxy_problem(url: str) -> str:
    """Return what is wrong with the URL of a proxy, as the end of a sentence; empty if nothing is."""
    try:
        named = urlsplit(url)
        usable = named.scheme in _PROXIES and bool(named.hostname) and named.port != 0
    except ValueError:
        usable = False
    return "" if usable else f"is {url!r}; podnuma knows {', '.join(_PROXIES)}, as in socks5://HOST:PORT"


class _NamedContext(ssl.SSLContext):
    """A context that asks for and verifies another name than the one that was connected to."""

    server_name: str = ""

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,  # noqa: FBT001, FBT002 - the signature of the standard library
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        asked = self.server_name or server_hostname
        return super().wrap_bio(incoming, outgoing, server_side, asked, session)


def _load_certificate(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    # OpenSSL reads them from a file only. The folder is this user's, and gone at once.
    with tempfile.TemporaryDirectory(prefix="podnuma-") as folder:
        file = Path(folder) / "pair.pem"
        file.touch(mode=0o600)
        file.write_bytes(certificate + b"\n" + key)
        context.load_cert_chain(file, password=_refused())


def _refused() -> Callable[[], str]:
    def ask() -> str:
        raise ValueError("the key is encrypted; an API client cannot ask for its passphrase")

    return ask

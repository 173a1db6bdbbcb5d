"""Where an API server is and how it is reached: address, certificates, proxy."""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

if TYPE_CHECKING:
    from collections.abc import Callable


class EndpointError(Exception):
    """Certificates or keys cannot be used."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One API server. Certificates and key are PEM; without an authority the system's are trusted.

    server_name: the name that the server's certificate must have, if not that of its address.
    """

    server: str
    authority: bytes = b""
    certificate: bytes = b""
    key: bytes = b""
    verify: bool = True
    server_name: str = ""
    proxy: str | None = None

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


def environment_proxy(server: str) -> str | None:
    """Return the proxy that the environment names for a server (HTTPS_PROXY, NO_PROXY)."""
    address = urlsplit(server)
    if address.hostname is None or proxy_bypass(address.hostname):
        return None
    return getproxies().get(address.scheme)


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

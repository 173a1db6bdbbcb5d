"""Who is answered, and what a browser may do with an answer.

The page is for the one person who started it. Three things keep others out, each enough alone against a
page of another origin:

    the token     a path no other knows is the only one that is served; compared in constant time
    the host      the name in the address must be that of this server, against DNS rebinding
    the site      a request that the browser says comes from another site is refused

No request changes anything, and only GET is answered. The answers let the browser run the scripts of this
server alone: no inline script, no other origin, no frame around it.
"""

import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

HEADERS: Final = MappingProxyType(
    {
        "Content-Security-Policy": (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
        "Cache-Control": "no-store",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
)

_OWN_SITES = ("", "none", "same-origin")


def new_token() -> str:
    """Return a token of 256 random bits, as text for a path."""
    return secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True)
class Access:
    """The rules for one server. `address`: the one it listens at."""

    address: str
    port: int
    token: str = field(default_factory=new_token, repr=False)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return ipaddress.ip_address(self.address).is_loopback

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{self._host(self.address)}/{self.token}/"

    def refusal(self, method: str, path: str, headers: Mapping[str, str]) -> HTTPStatus | None:
        """Return the status that a request is refused with; None: it is answered."""
        if headers.get("Host", "").lower() not in self._hosts():
            return HTTPStatus.MISDIRECTED_REQUEST
        if method != "GET":
            return HTTPStatus.METHOD_NOT_ALLOWED
        if headers.get("Sec-Fetch-Site", "") not in _OWN_SITES:
            return HTTPStatus.FORBIDDEN
        given = path.removeprefix("/").partition("/")[0]
        if not secrets.compare_digest(given.encode("utf-8", "surrogatepass"), self.token.encode()):
            return HTTPStatus.NOT_FOUND
        return None

    def explained(self, refused: HTTPStatus) -> str:
        """Return a status with what to do, for who reads it in a browser."""
        if refused is not HTTPStatus.MISDIRECTED_REQUEST:
            return refused.phrase
        tunnel = f"a tunnel needs the same port: ssh -L {self.port}:{self._host(self.address)} MACHINE"
        return f"{refused.phrase}: this page is at {' and '.join(self._hosts())} alone; {tunnel}"

    def _hosts(self) -> tuple[str, ...]:
        own = (self.address, "localhost") if self.loopback else (self.address,)
        return tuple(map(self._host, own))

    def _host(self, name: str) -> str:
        return f"[{name}]:{self.port}" if ":" in name else f"{name}:{self.port}"

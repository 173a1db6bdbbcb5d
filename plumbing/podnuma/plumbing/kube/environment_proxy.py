"""The proxy that the environment names for a server, read as Go's programs read it, and with them kubectl.

    HTTPS_PROXY, HTTP_PROXY   by the scheme of the server; also in small letters; http:// may be left out
    NO_PROXY                  servers without one: names, which stand for all names below them, too (.example
                              and *.example for these only), addresses and networks (10.0.0.0/8); a name or an
                              address may have a port; * is all servers

localhost and loopback addresses never have one. Python itself knows neither that nor networks, and asks
the settings of a desktop, too.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
from typing import Final
from urllib.parse import urlsplit

_PORTS: Final = {"https": 443, "http": 80}
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def environment_proxy(server: str) -> str | None:
    """Return the URL of a server's proxy; None if it has none."""
    try:
        address = urlsplit(server)
        host, port = (address.hostname or "").lower(), address.port
    except ValueError:
        return None  # nobody can connect to such an address
    named = _variable(f"{address.scheme}_proxy") if address.scheme in _PORTS else ""
    if not named or not host or _is_excepted(host, port or _PORTS[address.scheme]):
        return None
    return named if "://" in named else f"http://{named}"


def _variable(name: str) -> str:
    return os.environ.get(name.upper()) or os.environ.get(name) or ""


def _is_excepted(host: str, port: int) -> bool:
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    entries = (entry.strip().lower() for entry in _variable("no_proxy").split(","))
    return any(_excepts(entry, host, address, port) for entry in entries if entry)


def _excepts(entry: str, host: str, address: _Address | None, port: int) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        with contextlib.suppress(ValueError):
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
    name, with_port = _split(entry)
    if not name or with_port not in ("", str(port)):
        return False
    if (other := _address(name)) is not None:
        return other == address
    name = name.removeprefix("*") if name.startswith("*.") else name
    return host.endswith(name if name.startswith(".") else f".{name}") or host == name


def _split(entry: str) -> tuple[str, str]:
    """Return the host of an entry without brackets, and its port, which may be empty."""
    if _address(entry) is not None:
        return entry, ""
    if entry.startswith("["):
        host, _, rest = entry[1:].partition("]")
        return host, rest.removeprefix(":")
    host, _, port = entry.partition(":")
    return host, port


def _address(text: str) -> _Address | None:
    with contextlib.suppress(ValueError):
        found = ipaddress.ip_address(text)
        return getattr(found, "ipv4_mapped", None) or found
    return None

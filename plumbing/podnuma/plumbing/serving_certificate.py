"""TLS of a port: from files that may be replaced at any time, or with a certificate that this process makes.

Each connection gets the current certificate: at every handshake it is checked whether the files have
changed. Files that cannot be used (they are just being replaced) leave the last certificate in
place. A certificate of our own is made in memory, never on a disk, and again well before it ends; nobody can
verify it, so it only keeps what is said from those who listen.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

logger = logging.getLogger(__name__)

CERTIFICATE, KEY = "tls.crt", "tls.key"
_VALID = dt.timedelta(days=365)
_RENEWED = dt.timedelta(days=240)
_Mark = tuple[tuple[int, int, int], ...]


class CertificateError(Exception):
    """There is no certificate to begin with; says which file, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class ServingCertificate:
    """Where the certificate of a port comes from.

    `folder` has `tls.crt` and `tls.key`, as a secret of type kubernetes.io/tls is mounted; None: made here.
    """

    folder: Path | None = None

    def context(self, name: str, now: Callable[[], dt.datetime]) -> ssl.SSLContext:
        """Return TLS; `name` is what a certificate of our own is for. Raises CertificateError."""
        return _self_signed(name, now) if self.folder is None else _from_folder(self.folder)


def _from_folder(folder: Path) -> ssl.SSLContext:
    paths = (folder / CERTIFICATE, folder / KEY)

    def mark() -> _Mark:
        return tuple((each.st_ino, each.st_mtime_ns, each.st_size) for each in map(os.stat, paths))

    def load() -> ssl.SSLContext:
        context = _context()
        context.load_cert_chain(*paths)
        return context

    try:
        return _Renewed(mark, load, str(folder)).served
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        raise CertificateError(
            f"{folder}: cannot use {CERTIFICATE} and {KEY}: {error}; mount a secret of type kubernetes.io/tls"
        ) from error


def _self_signed(name: str, now: Callable[[], dt.datetime]) -> ssl.SSLContext:
    first = now()

    def mark() -> _Mark:
        return (((now() - first) // _RENEWED, 0, 0),)

    return _Renewed(mark, lambda: _made(name, now()), "a certificate of our own").served


class _Renewed:
    """A context that hands each handshake over to the newest one."""

    def __init__(self, mark: Callable[[], _Mark], load: Callable[[], ssl.SSLContext], source: str) -> None:
        self._mark = mark
        self._load = load
        self._source = source
        # The mark first: what is replaced meanwhile is seen at the next handshake.
        self._seen = mark()
        self.served = self._newest = load()
        self.served.sni_callback = self._choose

    def _choose(
        self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _: ssl.SSLContext
    ) -> None:
        try:
            mark = self._mark()
            if mark != self._seen:
                self._seen = mark
                self._newest = self._load()
                logger.info("serving the new certificate of %s", self._source)
        except (OSError, ValueError) as error:
            logger.warning("keeping the last certificate; the new one of %s: %s", self._source, error)
        connection.context = self._newest


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _made(name: str, now: dt.datetime) -> ssl.SSLContext:
    # Ten megabytes, which only a process without files needs.
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name[:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Clocks of those who ask may be behind.
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = _context()
    # ssl reads files only.
    file = os.memfd_create("podnuma-serving")
    try:
        os.write(file, private + certificate.public_bytes(serialization.Encoding.PEM))
        context.load_cert_chain(f"/proc/self/fd/{file}")
    finally:
        os.close(file)
    return context

"""A certificate authority for one control plane; what it signs is good for a day unless told otherwise.

Its own key and certificate lie in its folder, and are used again by the next one with that folder: so a
control plane that is started from a copy is trusted by those who knew the first.

Certificates are as those of older clusters: without the Authority Key Identifier, which the contexts of
Python 3.13 and newer ask for by default and kubectl does not. `client_context` verifies them with any Python.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DAY = dt.timedelta(days=1)
# Clocks of a virtual machine may be a little behind.
_SKEW = dt.timedelta(hours=1)


class Authority:
    """Signs certificates and writes NAME.crt and NAME.key into one folder; `ca_file` verifies them."""

    def __init__(self, folder: Path, lifetime: dt.timedelta = DAY, above: Authority | None = None) -> None:
        """Make an authority, or read that of the folder. above: who signs it; itself if nobody does."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.ca_file = folder / "ca.crt"
        self._lifetime = lifetime
        key_file = folder / "ca.key"
        if key_file.exists():
            self._key = _read_key(key_file)
            self._name = x509.load_pem_x509_certificate(self.ca_file.read_bytes()).subject
            return
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _subject(f"podnuma-testbed-{folder.name if above else 'ca'}", None)
        certificate = (above or self).certify(self._name, self._key.public_key())
        self.ca_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        _write_key(key_file, self._key)

    def certify(self, name: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.Certificate:
        """Return the certificate of an authority below, or its own."""
        usage = x509.BasicConstraints(ca=True, path_length=None)
        return self._builder(name, key).add_extension(usage, critical=True).sign(self._key, hashes.SHA256())

    def issue(
        self, name: str, common_name: str, *, group: str | None = None, hosts: Sequence[str] = ()
    ) -> tuple[Path, Path]:
        """Issue a certificate for a user (`common_name` in `group`) or server (`hosts`: names and addresses).

        Returns the paths of certificate and key, both PEM.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = self._builder(_subject(common_name, group), key.public_key())
        if hosts:
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False
            )
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        crt_file, key_file = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        crt_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        _write_key(key_file, key)
        return crt_file, key_file

    def signing_key(self, name: str) -> Path:
        """Return the path of a private key, as for service account tokens; a new one if there is none yet."""
        path = self.folder / f"{name}.key"
        if not path.exists():
            _write_key(path, ec.generate_private_key(ec.SECP256R1()))
        return path

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _SKEW)
            .not_valid_after(now + self._lifetime)
        )


def client_context(ca_file: Path) -> ssl.SSLContext:
    """Return what verifies servers that an authority of this module has certified."""
    context = ssl.create_default_context(cafile=ca_file)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _subject(common_name: str, group: str | None) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if group is not None:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
    return x509.Name(parts)


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{path} is not a key on an elliptic curve")
    return key


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.touch(mode=0o600)
    # The traditional form: the API server reads a key of this form for signing and for checking.
    form = serialization.PrivateFormat.TraditionalOpenSSL
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))

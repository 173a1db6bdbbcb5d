import asyncio
import contextlib
import datetime as dt
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from podnuma.plumbing.probes import Probes, serve
from podnuma.plumbing.serving_certificate import CertificateError, ServingCertificate

from testbed.pki import Authority, client_context

NOW = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)


@contextlib.asynccontextmanager
async def port(tls):
    answers = Probes(lambda: None, lambda: None, lambda: ("text/plain", b"up 1\n"))
    server = await serve(answers, "127.0.0.1", 0, tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


def unverified():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def ask(number, context, name=None):
    """Return the answer of /healthz and the certificate of the server."""
    reader, writer = await asyncio.open_connection("127.0.0.1", number, ssl=context, server_hostname=name)
    writer.write(b"GET /healthz HTTP/1.1\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 10)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return answer.decode(), x509.load_der_x509_certificate(shown)


def names(certificate):
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return extension.value.get_values_for_type(x509.DNSName)


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "authority")


def put(folder, authority, name):
    """Place a certificate of this name in the folder, as a secret is mounted."""
    folder.mkdir(exist_ok=True)
    certificate, key = authority.issue(name, name, hosts=[name])
    certificate.rename(folder / "tls.crt")
    key.rename(folder / "tls.key")
    return folder


async def test_a_certificate_from_a_secret_can_be_verified(tmp_path, authority):
    folder = put(tmp_path / "secret", authority, "podnuma.example")
    verifying = client_context(authority.ca_file)
    async with port(ServingCertificate(folder).context("x", lambda: NOW)) as number:
        answer, _ = await ask(number, verifying, "podnuma.example")
        assert answer.endswith("ok\n")
        with pytest.raises(ssl.SSLCertVerificationError):
            await ask(number, verifying, "other.example")


async def test_a_certificate_that_was_replaced_is_served_to_the_next_who_connects(tmp_path, authority):
    folder = put(tmp_path / "secret", authority, "first.example")
    async with port(ServingCertificate(folder).context("x", lambda: NOW)) as number:
        _, first = await ask(number, unverified())
        put(folder, authority, "second.example")
        _, second = await ask(number, unverified(), "second.example")
        assert names(first) == ["first.example"]
        assert names(second) == ["second.example"]


@pytest.mark.parametrize("spoil", [Path.unlink, lambda file: file.write_text("half of a certif")])
async def test_files_that_cannot_be_used_leave_the_last_certificate_in_place(tmp_path, authority, spoil):
    folder = put(tmp_path / "secret", authority, "first.example")
    async with port(ServingCertificate(folder).context("x", lambda: NOW)) as number:
        spoil(folder / "tls.crt")
        _, kept = await ask(number, unverified())
        assert names(kept) == ["first.example"]
        put(folder, authority, "second.example")
        _, second = await ask(number, unverified())
        assert names(second) == ["second.example"]


def test_a_start_without_files_says_what_to_mount(tmp_path):
    with pytest.raises(CertificateError, match=r"cannot use tls\.crt and .*mount a secret"):
        ServingCertificate(tmp_path / "nothing").context("x", lambda: NOW)


async def test_without_a_secret_a_certificate_is_made_and_made_again_before_it_ends():
    clock = [NOW]
    async with port(ServingCertificate().context("node-1", lambda: clock[0])) as number:
        _, first = await ask(number, unverified())
        assert names(first) == ["node-1"]
        clock[0] += dt.timedelta(days=200)
        _, same = await ask(number, unverified())
        assert same == first
        clock[0] += dt.timedelta(days=100)
        _, second = await ask(number, unverified())
        assert second != first
        assert second.not_valid_after_utc > clock[0] + dt.timedelta(days=100)


async def test_nothing_is_answered_without_tls():
    async with port(ServingCertificate().context("node-1", lambda: NOW)) as number:
        reader, writer = await asyncio.open_connection("127.0.0.1", number)
        writer.write(b"GET /healthz HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"HTTP" not in await asyncio.wait_for(reader.read(), 10)
        writer.close()
        assert (await ask(number, unverified()))[0].endswith("ok\n")

"""Connections to a server with a certificate: whom it proves to be, and whom podnuma does."""

import asyncio
import contextlib
import ssl

import pytest
from podnuma.plumbing.kube.endpoint import Endpoint, EndpointError, verify_as_client_go

from testbed.pki import DAY, Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("pki"), DAY)


@contextlib.asynccontextmanager
async def serving(authority, *hosts):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.ca_file))
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.load_cert_chain(*authority.issue(f"serving-{hosts[0]}", "server", hosts=hosts))
    names = []

    async def handle(_, writer):
        peer = writer.get_extra_info("peercert") or {}
        names.append(dict(pair for (pair,) in peer.get("subject", ())).get("commonName"))
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1], names


async def connect(endpoint, port):
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=endpoint.ssl_context(), server_hostname="127.0.0.1"
    )
    await reader.read()
    writer.close()


def endpoint(trusted, **more):
    return Endpoint("https://127.0.0.1", **{"authority": trusted.ca_file.read_bytes(), **more})


async def test_a_server_must_have_a_certificate_of_the_authority_for_its_address(authority, tmp_path):
    async with serving(authority, "127.0.0.1") as (port, _):
        await connect(endpoint(authority), port)
        other = Authority(tmp_path, DAY)
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(endpoint(other), port)
        await connect(endpoint(other, verify=False), port)


async def test_an_intermediate_authority_is_trusted_as_kubectl_does(authority, tmp_path):
    below = Authority(tmp_path, DAY, above=authority)
    async with serving(below, "127.0.0.1") as (port, _):
        await connect(endpoint(below), port)


def test_what_python_3_13_requires_of_certificates_is_not_required():
    context = ssl.create_default_context()
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    verify_as_client_go(context)
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT


async def test_another_name_is_asked_for_and_verified_if_the_kubeconfig_says_so(authority):
    async with serving(authority, "api.example") as (port, _):
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(endpoint(authority), port)
        await connect(endpoint(authority, server_name="api.example"), port)
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(endpoint(authority, server_name="other.example"), port)


async def test_a_client_certificate_is_shown_and_no_file_of_the_key_stays(authority, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    certificate, key = (file.read_bytes() for file in authority.issue("me", "me"))
    async with serving(authority, "127.0.0.1") as (port, names):
        await connect(endpoint(authority, certificate=certificate, key=key), port)
        await connect(endpoint(authority), port)
    assert names == ["me", None]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong", [{"authority": b"x"}, {"certificate": b"x"}, {"certificate": b"x", "key": b"y"}]
)
def test_certificates_that_are_none_are_named_with_the_server(authority, wrong):
    with pytest.raises(EndpointError, match=r"the certificates for https://127.0.0.1 cannot be used: "):
        endpoint(authority, **wrong).ssl_context()


def test_equal_endpoints_are_the_same_connection():
    assert Endpoint("https://a", b"1") == Endpoint("https://a", b"1") != Endpoint("https://a", b"2")

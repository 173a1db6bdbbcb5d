"""Who is answered: the token, the host, the site, the method."""

import secrets
from http import HTTPStatus

import pytest
from podnuma.cli.ui import access
from podnuma.cli.ui.access import HEADERS, Access

OWN = Access("127.0.0.1", 8089, "token")


def asked(path="/token/", method="GET", host="127.0.0.1:8089", site="none", rules=OWN):
    return rules.refusal(method, path, {"Host": host, "Sec-Fetch-Site": site})


def test_the_address_of_the_page_is_answered():
    assert asked() is None
    assert asked("/token/data/nodes", site="same-origin") is None
    assert asked(host="LOCALHOST:8089") is None


@pytest.mark.parametrize("path", ["/", "/toke/", "/token2/", "//token/", "/Token/", "/tökèn/", "/\udc80/"])
def test_another_token_is_not_found(path):
    assert asked(path) is HTTPStatus.NOT_FOUND


def test_the_token_is_compared_in_constant_time(monkeypatch):
    compared = []

    def compare(given, own):
        compared.append((given, own))
        return False

    monkeypatch.setattr(secrets, "compare_digest", compare)
    assert asked() is HTTPStatus.NOT_FOUND
    assert compared == [(b"token", b"token")]


@pytest.mark.parametrize(
    "host", ["", "evil.example:8089", "127.0.0.1", "127.0.0.1:80", "localhost.evil:8089"]
)
def test_another_host_is_refused_even_with_the_token(host):
    assert asked(host=host) is HTTPStatus.MISDIRECTED_REQUEST


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT"])
def test_only_get_is_answered(method):
    assert asked(method=method) is HTTPStatus.METHOD_NOT_ALLOWED


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_requests_of_other_sites_are_refused(site):
    assert asked(site=site) is HTTPStatus.FORBIDDEN


def test_tokens_are_long_and_never_the_same():
    assert len({access.new_token() for _ in range(100)}) == 100
    assert len(access.new_token()) >= 43


def test_the_token_is_not_in_what_is_logged():
    assert "token" not in repr(Access("127.0.0.1", 1, "secret-token")).replace("'token'", "")


def test_a_host_is_named_as_urls_write_it():
    assert Access("::1", 80, "t").url == "http://[::1]:80/t/"
    assert Access("::1", 80, "t").refusal("GET", "/t/", {"Host": "[::1]:80"}) is None
    other = Access("192.0.2.7", 80, "t")
    assert not other.loopback
    assert other.refusal("GET", "/t/", {"Host": "localhost:80"}) is HTTPStatus.MISDIRECTED_REQUEST


def test_no_inline_script_and_no_other_origin_is_allowed():
    policy = HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "*" not in policy

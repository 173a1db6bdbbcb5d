"""The environment's proxy is the one that kubectl takes."""

import pytest
from podnuma.plumbing.kube.environment_proxy import environment_proxy

PROXY = "http://proxy.example:3128"
VARIABLES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy")


@pytest.fixture
def environment(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)

    def put(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return put


@pytest.mark.parametrize(
    ("variables", "server", "proxy"),
    [
        ({}, "https://api.example", None),
        ({"HTTPS_PROXY": PROXY}, "https://api.example:6443", PROXY),
        ({"https_proxy": PROXY}, "https://api.example", PROXY),
        ({"HTTPS_PROXY": "", "https_proxy": PROXY}, "https://api.example", PROXY),
        ({"HTTPS_PROXY": PROXY, "https_proxy": "http://b"}, "https://api.example", PROXY),
        ({"HTTP_PROXY": PROXY}, "https://api.example", None),
        ({"HTTP_PROXY": PROXY}, "http://api.example", PROXY),
        ({"HTTPS_PROXY": "proxy.example:3128"}, "https://api.example", PROXY),
        ({"HTTPS_PROXY": "socks5://p:1"}, "https://api.example", "socks5://p:1"),
        ({"HTTPS_PROXY": PROXY}, "", None),
        ({"HTTPS_PROXY": PROXY}, "https://api.example:port", None),
        ({"HTTPS_PROXY": PROXY}, "https://[api.example", None),
    ],
)
def test_the_scheme_of_the_server_chooses_the_variable(environment, variables, server, proxy):
    environment(**variables)
    assert environment_proxy(server) == proxy


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "[::1]"])
@pytest.mark.parametrize("port", ["", ":6443"])
def test_this_machine_is_never_behind_a_proxy(environment, host, port):
    """As of a cluster of kind; kubernetes-sigs/kind#4084 has the environment."""
    environment(HTTPS_PROXY=PROXY)
    assert environment_proxy(f"https://{host}{port}") is None


@pytest.mark.parametrize(
    ("excepted", "server", "direct"),
    [
        ("10.0.0.0/8", "https://10.96.0.1", True),
        ("10.0.0.0/8", "https://11.96.0.1", False),
        ("10.96.0.7/12", "https://10.97.0.1", True),
        ("fd00::/8", "https://[fd00::1]:6443", True),
        ("10.0.0.0/8", "https://api.example", False),
        ("10.96.0.1", "https://10.96.0.1:443", True),
        ("10.96.0.1:443", "https://10.96.0.1", True),
        ("10.96.0.1:6443", "https://10.96.0.1", False),
        ("::ffff:10.96.0.1", "https://10.96.0.1", True),
        ("[fd00::1]:6443", "https://[fd00::1]:6443", True),
        ("fd00::1", "https://[fd00::1]:6443", True),
        ("other, api.example", "https://api.example", True),
        ("API.example", "https://api.EXAMPLE", True),
        ("example", "https://api.example", True),
        ("pi.example", "https://api.example", False),
        (".example", "https://api.example", True),
        (".api.example", "https://api.example", False),
        ("*.example", "https://api.example", True),
        ("*.api.example", "https://api.example", False),
        ("api.example:443", "https://api.example", True),
        ("api.example:6443", "https://api.example", False),
        ("api.example:6443", "https://api.example:6443", True),
        ("*", "https://api.example", True),
        (",, :443,/,", "https://api.example", False),
    ],
)
def test_names_addresses_and_networks_are_excepted(environment, excepted, server, direct):
    environment(HTTPS_PROXY=PROXY, no_proxy=excepted)
    assert environment_proxy(server) == (None if direct else PROXY)

"""What the operator takes from the official client, and what it says where there is nothing to take."""

import pytest
import yaml
from podnuma.operator.credentials import ClientCredentials
from podnuma.plumbing.kube import errors


def kubeconfig(path, user, **cluster):
    content = {
        "clusters": [{"name": "c", "cluster": {"server": "https://api.example:6443", **cluster}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(content))
    return path


async def test_a_kubeconfig_gives_server_token_and_certificates(tmp_path):
    (tmp_path / "ca.crt").write_text("authority")
    (tmp_path / "c.crt").write_text("certificate")
    (tmp_path / "c.key").write_text("key")
    user = {"token": "t", "client-certificate": "c.crt", "client-key": "c.key"}
    cluster = {"certificate-authority": "ca.crt", "tls-server-name": "other.example"}
    found = await ClientCredentials(kubeconfig(tmp_path / "config", user, **cluster)).read()
    assert found.authorization == "Bearer t"
    assert found.endpoint.server == "https://api.example:6443"
    assert found.endpoint.authority == b"authority"
    assert (found.endpoint.certificate, found.endpoint.key) == (b"certificate", b"key")
    assert (found.endpoint.verify, found.endpoint.server_name) == (True, "other.example")


async def test_a_rotated_token_is_found_at_the_next_read(tmp_path):
    credentials = ClientCredentials(kubeconfig(tmp_path / "config", {"token": "old"}))
    assert (await credentials.read()).authorization == "Bearer old"
    kubeconfig(tmp_path / "config", {"token": "new"})
    assert (await credentials.read(refused=True)).authorization == "Bearer new"


async def test_the_proxy_of_the_environment_counts_where_the_file_names_none(tmp_path, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "elsewhere.example")
    credentials = ClientCredentials(kubeconfig(tmp_path / "config", {"token": "t"}))
    assert (await credentials.read()).endpoint.proxy == "http://proxy.example:3128"
    monkeypatch.setenv("NO_PROXY", "api.example")
    assert (await credentials.read()).endpoint.proxy is None


@pytest.mark.parametrize(("name", "said"), [("missing", "missing"), (None, "the pod's service account")])
async def test_missing_credentials_are_said_in_one_sentence(tmp_path, monkeypatch, name, said):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    credentials = ClientCredentials(None if name is None else tmp_path / name)
    with pytest.raises(errors.RefusedError, match=said):
        await credentials.read()

"""Kubeconfigs are read as kubectl reads them; what is wrong is named by file and field."""

import base64
import json
from pathlib import Path

import pytest
import yaml
from podnuma.plumbing.kube.kubeconfig import Entry, Kubeconfig, KubeconfigError

FILE = Path("/home/me/.kube/config")


def entry(**values):
    return Entry(values, FILE, "users[me].user")


def kubeconfig(*contents):
    return Kubeconfig((Path(f"/k{number}"), content) for number, content in enumerate(contents))


def content(context="x", server="https://one", user="u", namespace=""):
    return {
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": user, "user": {"token": server}}],
        "contexts": [{"name": context, "context": {"cluster": "c", "user": user, "namespace": namespace}}],
        "current-context": context,
    }


def test_of_what_two_files_name_the_first_counts():
    both = kubeconfig(content("x", "https://one", "u"), content("y", "https://two", "v"))
    cluster, user = both.cluster_and_user()
    assert (both.current_context, cluster.text("server"), user.text("token")) == (
        "x",
        "https://one",
        "https://one",
    )
    cluster, user = both.cluster_and_user("y")
    assert (cluster.text("server"), user.text("token")) == ("https://one", "https://two")
    assert user.file == Path("/k1")


def test_a_context_says_its_namespace_and_one_that_is_not_there_none():
    one = kubeconfig(content(namespace="team-a"))
    assert (one.namespace(), one.namespace("x"), one.namespace("other")) == ("team-a", "team-a", "")


def test_a_context_without_a_user_is_nobody():
    content_ = content() | {"contexts": [{"name": "x", "context": {"cluster": "c"}}]}
    assert kubeconfig(content_).cluster_and_user()[1].values == {}


@pytest.mark.parametrize(
    ("change", "context", "said"),
    [
        ({"current-context": ""}, "", "/k0 names no current-context"),
        ({}, "z", "/k0 has no context 'z'"),
        ({"clusters": []}, "", "/k0: contexts[x].context.cluster names 'c', which does not exist"),
        ({"users": None}, "", "/k0: contexts[x].context.user names 'u', which does not exist"),
        ({"contexts": "x"}, "", "/k0 has no context 'x'"),
        ({"contexts": [{"name": "x", "context": 7}]}, "", "/k0: contexts[x].context must be an object"),
    ],
)
def test_what_is_missing_is_named(change, context, said):
    with pytest.raises(KubeconfigError) as caught:
        kubeconfig(content() | change).cluster_and_user(context)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("text", ["", "null", "{}"])
def test_an_empty_file_says_nothing(tmp_path, text):
    (tmp_path / "config").write_text(text)
    assert Kubeconfig.read([tmp_path / "config"]).current_context == ""


@pytest.mark.parametrize("text", ["[]", "{", "a: b: c", "7"])
def test_a_file_that_is_no_kubeconfig_is_named(tmp_path, text):
    (tmp_path / "config").write_text(text)
    with pytest.raises(KubeconfigError, match="config is no"):
        Kubeconfig.read([tmp_path / "config"])
    with pytest.raises(KubeconfigError, match="missing cannot be read"):
        Kubeconfig.read([tmp_path / "missing"])


def test_data_comes_before_a_file_and_files_are_beside_the_kubeconfig(tmp_path):
    (tmp_path / "ca.crt").write_bytes(b"of the file")
    (tmp_path / "config").write_text(yaml.safe_dump({"clusters": [{"name": "c", "cluster": {}}]}))
    values = {"certificate-authority": "ca.crt"}
    found = Entry(values, tmp_path / "config", "cluster")
    assert found.content("certificate-authority") == b"of the file"
    values["certificate-authority-data"] = base64.b64encode(b"inline").decode()
    assert found.content("certificate-authority") == b"inline"
    assert found.content("client-key") == b""


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda one: one.text("a"), "users[me].user.a must be text"),
        (lambda one: one.flag("b"), "users[me].user.b must be true or false"),
        (lambda one: one.part("b"), "users[me].user.b must be an object"),
        (lambda one: one.texts("a"), "users[me].user.a must be a list of texts"),
        (lambda one: one.content("key"), "users[me].user.key-data is not base64"),
        (lambda one: one.content("gone"), "users[me].user.gone cannot be read"),
    ],
)
def test_a_field_of_another_type_is_named(ask, said):
    wrong = entry(a=7, b="yes", gone="/nonexistent/file", **{"key-data": "a"})
    with pytest.raises(KubeconfigError) as caught:
        ask(wrong)
    assert str(caught.value).startswith(f"{FILE}: {said}")


@pytest.mark.parametrize("name", ["2024-01-01", "1:30", "1.2.3"])
def test_a_context_may_be_named_like_a_date_or_a_time(tmp_path, name):
    """For kubectl these are texts; PyYAML makes a date and a number of seconds of the first two."""
    text = yaml.safe_dump(content("NAME")).replace("NAME", name)
    (tmp_path / "config").write_text(text)
    read = Kubeconfig.read([tmp_path / "config"])
    assert read.current_context == name
    assert read.cluster_and_user()[0].text("server") == "https://one"


@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_a_kubeconfig_may_be_json(tmp_path, indent):
    (tmp_path / "config").write_text(json.dumps(content(), indent=indent))
    assert Kubeconfig.read([tmp_path / "config"]).cluster_and_user()[1].text("token") == "https://one"

"""States that would mislead have the word, column, event or exit code that an administrator expects.

No settings, nothing exclusive, nobody selected, settings that are refused: on a real API server, with the
operator at work, asked as people ask.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from podnuma.api.node_topology import registration
from podnuma.cli.exits import Exit

from testbed.waiting import until
from tests.integration.cli_runs import podnuma
from tests.integration.operator_site import GROUP, SOON, pod, profile

if TYPE_CHECKING:
    import subprocess

    from tests.integration.operator_site import Site

pytestmark = pytest.mark.timeout(120)

NO_SETTINGS = "no settings are known for this node: nothing would be pinned"


def asked(site: Site, *words: object) -> subprocess.CompletedProcess[str]:
    return podnuma(*words, "-n", site.namespace, kubeconfig=site.cluster.kubeconfig)


def of_containers(name: str, **amounts: str) -> dict[str, Any]:
    """A bound pod without a budget, Guaranteed if both CPU and memory are among its limits."""
    value = pod(name)
    del value["spec"]["resources"]
    value["spec"]["containers"] = [{"name": "main", "image": "x", "resources": {"limits": amounts}}]
    return value


def test_on_a_node_that_no_profile_selects_nothing_would_be_pinned_and_that_is_no_yes(site, tmp_path):
    """What plan says with a profile that is tried is what the operator decides when it is applied."""
    site.furnish(nodeSelector={"matchLabels": {"pool": "none"}})
    site.api.create(registration("n1"))
    site.report_hardware()
    manifest, tried, saved = (tmp_path / name for name in ("pod.yaml", "profile.yaml", "saved.yaml"))
    manifest.write_text(yaml.safe_dump(pod("db", tolerations=())))
    tried.write_text(yaml.safe_dump(profile()))
    site.create(pod("db"))
    objects = "nodes,nodeprofiles,nodetopologies,podallocations"
    saved.write_text(site.cluster.kubectl("get", objects, "-A", "-o", "yaml"))
    for words in (
        ("plan", "-f", manifest),
        ("plan", "-f", manifest, "--from", saved),
        ("explain", "db"),
        ("explain", "-f", manifest, "--node", "n1"),
        ("explain", "-f", manifest, "--node", "n1", "--from", saved),
    ):
        done = asked(site, *words)
        assert (done.returncode, done.stdout) == (Exit.NOT_FOUND, ""), words
        assert NO_SETTINGS in done.stderr, words
    explained = asked(site, "explain", "db", "--profile", tried, "-o", "json")
    assert explained.returncode == Exit.OK, explained.stderr
    (found,) = json.loads(explained.stdout)["items"]
    assert (found["stored"], found["allocation"]["cpus"]) == (None, "1-2,9-10")
    assert site.allocation("db") is None
    site.api.apply(profile())
    assert site.decided("db") == found["allocation"]["cpus"]
    assert asked(site, "explain", "db").stdout.startswith(f"pod {site.namespace}/db on n1: ")


def test_a_pod_that_holds_nothing_is_said_to_share_and_none_to_wait_for_a_decision(site):
    """Neither "not decided" nor "holds CPUs -": the word is that it shares, and why."""
    site.furnish()
    site.report_hardware()
    budget = pod("fraction")
    amounts = {"cpu": "2500m", "memory": "1Gi"}
    budget["spec"]["resources"] = {"requests": amounts, "limits": amounts}
    for container in budget["spec"]["containers"]:
        container.pop("resources", None)
    site.create(budget)
    site.create(of_containers("half", cpu="2500m", memory="1Gi"))
    site.create(of_containers("burstable", cpu="2"))
    for name in ("fraction", "half"):
        site.decided(name)
    words = {name: asked(site, "explain", name) for name in ("fraction", "half", "burstable")}
    assert {name: done.returncode for name, done in words.items()} == dict.fromkeys(words, Exit.OK)
    assert words["burstable"].stdout.splitlines()[0] == (
        f"pod {site.namespace}/burstable on n1: shares the node pool, as its QoS class is Burstable; "
        "there is nothing to decide"
    )
    assert "a budget of 2500m CPUs is not whole: no container gets own CPUs" in words["fraction"].stdout
    said = {}
    for name in words:
        described = site.cluster.kubectl("describe", "pod", name, "-n", site.namespace)
        told = described.partition("Events:")[2].splitlines()
        said[name] = [line.partition("operator ")[2].strip() for line in told if "podnuma" in line]
    memory = "Allocated memory on NUMA node 0; its containers run in the node's shared pool"
    assert said == {"fraction": [memory], "half": [memory], "burstable": []}


def test_profiles_that_select_nobody_or_refuse_something_are_not_green(site):
    site.furnish(onRejection="Share")
    site.report_hardware()
    site.api.apply(profile("typo", nodeSelector={"matchLabels": {"pool": "typo"}}))
    site.create(pod("big", 9))
    assert site.decided("big") == "-"

    def table() -> dict[str, dict[str, str]]:
        heads, *lines = [line.split() for line in site.cluster.kubectl("get", "nodeprofiles").splitlines()]
        return {line[0]: dict(zip(heads, line, strict=True)) for line in lines}

    def shown() -> bool:
        found = table()
        return found["main"]["REJECTED-PODS"] == "1" and found["typo"]["READY"] == "False"

    until(shown, f"the columns of profiles\n{site.logs()}", SOON)
    assert table()["main"]["READY"] == "True"
    assert site.condition("nodeprofiles", "typo", "Ready")["reason"] == "NoNodes"

    site.api.apply(profile(onRejection="Share", reservedSystemCPUs="0,96"))

    uid = site.api.get(f"{GROUP}/nodeprofiles/main")["metadata"]["uid"]

    def told() -> list[str]:
        events = site.api.items("/api/v1/namespaces/default/events")
        about = [one for one in events if one["involvedObject"].get("uid") == uid]
        return [one["message"] for one in about if one["reason"] == "NodesRefused"]

    (message,) = until(told, f"the event on the profile\n{site.logs()}", SOON)
    for words in ("node n1", "reservedSystemCPUs", "drop 96"):
        assert words in message
    assert "drop 96" in site.cluster.kubectl("describe", "nodeprofile", "main").partition("Events:")[2]
    assert table()["main"]["READY"] == "False"

"""A first profile, in Audit: from a kubelet's configuration, or from hardware."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from podnuma.api.node_profile import read_node_profile
from podnuma.api.node_settings import Mode
from podnuma.cli import main
from podnuma.cli.commands.profile import suggested_spec
from podnuma.cli.exits import Exit

from tests.unit.cli.builders import ROOT, topology, topology_object

MACHINES = sorted(path.stem for path in (ROOT / "tests" / "machines").glob("*.json"))
EPYC = "epyc7401-2s-8numa-16l3"
KUBELET: dict[str, Any] = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "kind": "KubeletConfiguration",
    "cpuManagerPolicy": "static",
    "cpuManagerPolicyOptions": {"full-pcpus-only": "true"},
    "memoryManagerPolicy": "Static",
    "topologyManagerPolicy": "single-numa-node",
    "topologyManagerScope": "pod",
    "reservedSystemCPUs": "0,48",
    "kubeReserved": {"cpu": "500m", "memory": "1Gi"},
    "reservedMemory": [{"numaNode": 0, "limits": {"memory": "1124Mi"}}],
    "cpuCFSQuotaPeriod": "100ms",
    "maxPods": 250,
    "evictionHard": {"memory.available": "100Mi"},
    "featureGates": {},
}


def run(capsys, *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main.run([str(word) for word in words])
    shown = capsys.readouterr()
    return int(str(end.value.code)), shown.out, shown.err


def written(tmp_path: Path, value: object) -> Path:
    path = tmp_path / "input.yaml"
    path.write_text(yaml.safe_dump(value))
    return path


def test_a_kubelet_configuration_becomes_a_profile_that_audits(tmp_path, capsys):
    code, out, err = run(capsys, "profile", "import", written(tmp_path, KUBELET), "-l", "node-pool=databases")
    assert code == Exit.OK
    value = yaml.safe_load(out)
    profile = read_node_profile(value)
    assert profile.node.pod_policy.mode is Mode.AUDIT
    assert profile.node_selector.matches({"node-pool": "databases"})
    assert not profile.node_selector.matches({})
    same = {"cpuManagerPolicyOptions", "reservedSystemCPUs", "reservedMemory", "cpuCFSQuotaPeriod"}
    assert {name: value["spec"][name] for name in same} == {name: KUBELET[name] for name in same}
    assert value["spec"]["kubeReserved"] == {"cpu": "500m"}
    assert err == ("without meaning in a NodeProfile, left out: evictionHard, maxPods, kubeReserved.memory\n")


def test_what_a_kubelet_serves_is_read_too_and_a_selector_is_missed(tmp_path, capsys):
    served = {"kubeletconfig": {"cpuManagerPolicy": "none", "systemReserved": {"cpu": "1"}}}
    code, out, err = run(capsys, "profile", "import", written(tmp_path, served), "-o", "json")
    assert code == Exit.OK
    assert json.loads(out)["spec"]["nodeSelector"] == {}
    assert "cpuManagerPolicy is not static" in err
    assert "nodeSelector {} selects every node" in err


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"kind": "Pod"}, "input.yaml: no configuration of a kubelet is in it; that of a running one is at"),
        (
            {"kind": "PerformanceProfile", "spec": {"cpu": {"reserved": "0-1"}}},
            "the operator makes a KubeletConfig of it: oc get kubeletconfig -o yaml",
        ),
        ({"kind": "List", "items": [KUBELET, KUBELET]}, "expected one KubeletConfiguration, found 2"),
        ({**KUBELET, "topologyManagerPolicy": "strict"}, "spec.topologyManagerPolicy"),
        ({**KUBELET, "reservedSystemCPUs": "0-"}, "spec.reservedSystemCPUs"),
    ],
)
def test_what_cannot_be_a_profile_is_named_by_field(tmp_path, capsys, value, words):
    code, out, err = run(capsys, "profile", "import", written(tmp_path, value))
    assert (code, out) == (Exit.INPUT, "")
    assert words in err


def test_a_profile_for_one_node_reserves_a_core_where_nothing_is_known_of_its_kubelet(tmp_path, capsys):
    saved = written(tmp_path, topology_object(EPYC))
    code, out, err = run(capsys, "profile", "suggest", "node-a", "--from", saved)
    assert code == Exit.OK
    profile = read_node_profile(yaml.safe_load(out))
    assert profile.node_selector.matches({"kubernetes.io/hostname": "node-a"})
    assert profile.node.pod_policy.mode is Mode.AUDIT
    assert yaml.safe_load(out)["spec"]["reservedSystemCPUs"] == "0,48"
    assert err.startswith("what the kubelet of node-a reserves is not considered: one core and 1Gi are ")


def test_whole_cores_are_reserved_for_what_the_kubelet_keeps():
    amounts = {"kubeReserved": {"cpu": "1500m"}, "systemReserved": {"cpu": "1500m"}}
    assert suggested_spec(topology(EPYC), amounts)["reservedSystemCPUs"] == "0-1,48-49"


def test_the_kubelets_own_reservation_and_policy_are_kept():
    found = suggested_spec(topology(EPYC), KUBELET)
    assert found["reservedSystemCPUs"] == "0,48"
    assert found["reservedMemory"] == KUBELET["reservedMemory"]
    assert found["topologyManagerPolicy"] == "single-numa-node"


def test_nodes_are_chosen_by_their_labels(tmp_path, capsys):
    nodes = [
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"pool": name}}}
        for name in ("node-a", "node-b")
    ]
    path = tmp_path / "saved.yaml"
    topologies = [topology_object(EPYC, name=name) for name in ("node-a", "node-b")]
    path.write_text(yaml.safe_dump_all([*nodes, *topologies]))
    code, out, _ = run(capsys, "profile", "suggest", "-l", "pool in (node-a,node-b)", "--from", path)
    assert code == Exit.OK
    selector = read_node_profile(yaml.safe_load(out)).node_selector
    assert [selector.matches({"pool": name}) for name in ("node-a", "node-b", "node-c")] == [
        True,
        True,
        False,
    ]


def test_a_node_without_hardware_is_told_how_it_is_found(tmp_path, capsys):
    value = topology_object(EPYC)
    del value["status"]
    code, _, err = run(capsys, "profile", "suggest", "node-a", "--from", written(tmp_path, value))
    assert code == Exit.NOT_FOUND
    assert "no hardware is known of node node-a" in err
    assert "podnuma discover" in err


def test_a_node_that_is_not_in_the_files_is_not_there(tmp_path, capsys):
    file = written(tmp_path, topology_object(EPYC))
    code, _, err = run(capsys, "profile", "suggest", "nod-a", "--from", file)
    assert code == Exit.NOT_FOUND
    assert err == f"there is no NodeTopology nod-a in {file}; did you mean node-a?\n"


@pytest.mark.parametrize("machine", MACHINES)
def test_a_suggestion_fits_every_recorded_machine(tmp_path, capsys, machine):
    code, out, _ = run(capsys, "profile", "suggest", "--from", written(tmp_path, topology_object(machine)))
    assert code == Exit.OK
    assert read_node_profile(yaml.safe_load(out)).node.managers.reserved_system_cpus


def test_the_policy_that_is_asked_for_takes_the_place_of_the_suggested_one(tmp_path, capsys):
    words = ("profile", "suggest", "--from", written(tmp_path, topology_object(EPYC)))
    code, out, _ = run(capsys, *words, "--topology-manager-policy", "single-numa-node")
    assert code == Exit.OK
    assert yaml.safe_load(out)["spec"]["topologyManagerPolicy"] == "single-numa-node"
    assert yaml.safe_load(run(capsys, *words)[1])["spec"]["topologyManagerPolicy"] == "best-effort"

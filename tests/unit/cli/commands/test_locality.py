"""`podnuma locality` on saved objects: a table, a sum, and what the words mean."""

import json

import pytest
import yaml
from podnuma.cli import main

from testbed import dra
from tests.unit.cli.objects.test_device_survey import DRIVER, claim, pod


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "cluster.yaml"
    path.write_text(
        yaml.safe_dump_all([pod(), claim("gpu0"), dra.resource_slice(DRIVER, "node-a", {"gpu0": 1})])
    )
    return path


def shown(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        main.run([str(word) for word in words])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_a_pod_without_podnuma_is_unbound(saved, capsys):
    lines = shown(capsys, "locality", "-A", "--from", saved).splitlines()
    assert lines[0] == "1 pod looked at, 1 with devices"
    assert lines[3].split() == ["ml", "train", "node-a", DRIVER, "node-a/gpu0", "1", "-", "unbound"]
    assert lines[-1] == "1 unbound: podnuma holds no CPUs for the pod; they can be far from its devices"


def test_programs_get_devices_and_sums(saved, capsys):
    found = json.loads(shown(capsys, "locality", "-A", "--from", saved, "-o", "json"))
    assert found["summary"]["podsByLocality"]["unbound"] == 1
    assert found["items"][0]["devices"] == [
        {"container": "main", "resource": DRIVER, "device": "node-a/gpu0", "numaNodes": "1"}
    ]


def test_a_cluster_without_devices_is_one_line(tmp_path, capsys):
    path = tmp_path / "empty.yaml"
    path.write_text("")
    assert shown(capsys, "locality", "-A", "--from", path) == "0 pods looked at, 0 with devices\n"

"""podnuma says what the kubelet said to drawn scenarios when they were recorded. Needs no Go.

Scenarios of the newer release are those to which it has another answer than the reference.
"""

import pytest
from podnuma.cli.commands import replay

from tests.conformance import examine, record


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "path",
    [path for group in ("generated", "newer", "devices") for path in record.recorded_files(group)],
    ids=lambda path: path.name.split(".")[0],
)
def test_answers_are_the_kubelets(path):
    assert examine.findings_of(record.read(path), replay.play) == []


def test_the_newer_release_is_recorded_where_it_takes_other_cpus():
    scenarios = [scenario for path in record.recorded_files("newer") for scenario, _ in record.read(path)]
    assert {examine.release_of([scenario]).value for scenario in scenarios} == {"1.38"}
    options = {option for one in scenarios for option in one["kubelet"].get("cpuManagerPolicyOptions") or ()}
    assert options >= {
        "distribute-cpus-across-cores",
        "distribute-cpus-across-numa",
        "prefer-align-cpus-by-uncorecache",
    }


def test_two_thousand_scenarios_with_devices_are_recorded():
    scenarios = [scenario for path in record.recorded_files("devices") for scenario, _ in record.read(path)]
    with_devices = [one for one in scenarios if any("devices" in step for step in one["steps"])]
    assert len(with_devices) >= 2000
    policies = {one["kubelet"].get("topologyManagerPolicy") for one in with_devices}
    assert policies == {"none", "best-effort", "restricted", "single-numa-node"}
    rows = [row for one in with_devices for step in one["steps"] for row in _rows(step)]
    assert any(row.get("busy") for row in rows)
    assert any(row.get("container") for row in rows)
    assert {len(row.get("numaNodes", ())) for row in rows} == {0, 1, 2}


def _rows(step):
    return [row for listed in step.get("devices", {}).values() for row in listed]

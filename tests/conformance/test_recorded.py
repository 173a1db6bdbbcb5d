"""podnuma says what the kubelet said to written scenarios when they were recorded. Needs no Go.

The drawn ones are in a file of their own, so that two processes can share the work.
"""

import json

import pytest
from podnuma.cli.commands import replay

from tests.conformance import examine, record, releases

FILES = [*record.recorded_files("written"), *record.recorded_files("generated")]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", record.recorded_files("written"), ids=lambda path: path.name.split(".")[0])
def test_answers_are_the_kubelets(path):
    assert examine.findings_of(record.read(path), replay.play) == []


def test_at_least_five_thousand_scenarios_are_recorded():
    counted = json.loads(record.RELEASES.read_text())["scenarios"]
    assert counted >= 5000
    assert (len(FILES) - 2) * record.PER_FILE < counted <= len(FILES) * record.PER_FILE


def test_every_policy_scope_option_and_real_machine_is_recorded():
    seen = set()
    for path in FILES:
        for scenario, _ in record.read(path):
            kubelet = scenario["kubelet"]
            seen |= {kubelet.get("topologyManagerPolicy"), kubelet.get("topologyManagerScope")}
            seen |= {kubelet.get("cpuManagerPolicy"), kubelet.get("memoryManagerPolicy")}
            seen |= set(kubelet.get("cpuManagerPolicyOptions") or ())
            seen |= set(kubelet.get("topologyManagerPolicyOptions") or ())
            seen.add(scenario["name"].split("-")[0])
    assert seen >= {
        *("none", "best-effort", "restricted", "single-numa-node", "container", "pod"),
        *("static", "Static", "None"),
        *("full-pcpus-only", "strict-cpu-reservation", "prefer-align-cpus-by-uncorecache", "align-by-socket"),
        *("distribute-cpus-across-numa", "distribute-cpus-across-cores"),
        *("prefer-closest-numa-nodes", "max-allowable-numa-nodes"),
        *("blog", "kep", "life", "issue", "pick", "admit", "real", "odd", "gen"),
    }


def test_where_v1_36_differs_every_difference_has_a_kind():
    kinds = json.loads(record.RELEASES.read_text())["kinds"]
    assert set(kinds) <= {kind.name for kind in releases.KINDS}

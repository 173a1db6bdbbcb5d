"""podnuma says what the kubelet said to drawn scenarios when they were recorded. Needs no Go.

Scenarios of the newer release are those to which it has another answer than the reference.
"""

import pytest
from podnuma.cli.commands import replay

from tests.conformance import examine, record


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "path",
    [*record.recorded_files("generated"), *record.recorded_files("newer")],
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

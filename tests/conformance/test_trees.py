"""What podnuma discovers in a tree, and decides there, is what the kubelet was recorded to do."""

from collections import Counter

import pytest
from podnuma.cli.commands import replay
from podnuma.cli.objects.scenarios import read_scenario

from tests.conformance import cadvisor, discovery, examine, record, trees
from tests.conformance.world import add, budget, cpus_only, g, pod, scenario

FILES = record.recorded_files("trees")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.split(".")[0])
def test_decisions_on_discovered_machines_are_the_kubelets(path):
    pairs = ((trees.completed(scenario), answer) for scenario, answer in record.read(path))
    assert examine.findings_of(pairs, replay.play) == []


def test_all_real_machines_and_hundreds_of_odd_ones_are_recorded():
    named = Counter(scenario["tree"] for path in FILES for scenario, _ in record.read(path))
    assert named.keys() >= set(discovery.names(0))
    assert sum(name.startswith("generated") for name in named) >= 300


@pytest.mark.parametrize(
    "name", ["xeon-2s-snc2-pmem-isolcpus", "power-256cpu-sparse-numa", "generated 12", "generated 30"]
)
def test_a_scenario_has_the_machine_as_it_was_discovered(name, tmp_path):
    found = discovery.read(name, tmp_path).topology
    said = read_scenario({"topology": cadvisor.described(found)}).topology
    assert (said.cpus, said.nodes) == (found.cpus, found.nodes)
    assert (said.isolated, said.unknown_siblings) == (found.isolated, found.unknown_siblings)


def unnumbered():
    """Four cores that firmware gives no numbers, and a pod for which the kubelet takes them for one core."""
    case = trees.completed({"tree": "cores without a number", "name": "unnumbered"})
    drawn = scenario(
        "unnumbered",
        case["topology"],
        cpus_only(cpu=["full-pcpus-only"], reserved="0", policy="none"),
        add(pod("p", budget(2), [g(2)])),
    )
    return {**case, **drawn}


def test_a_difference_is_explained_by_exactly_the_entry_that_says_so():
    case = unnumbered()
    machine = cadvisor.seen(case["topology"], [case["cadvisor"][cadvisor.CORE_NUMBERS]])
    theirs = replay.play({**case, "topology": machine})
    assert theirs["steps"][0]["reason"] == "SMTAlignmentError"
    verdict = examine.judge(case, theirs, replay.play)
    assert (verdict.twins, verdict.mark, verdict.finding) == ((cadvisor.CORE_NUMBERS,), None, None)


def test_a_difference_on_a_machine_that_both_see_alike_is_a_finding():
    case = {**unnumbered(), "cadvisor": {}}
    theirs = replay.play(case)
    theirs["steps"][0]["pod"]["containers"][0]["cpuset"] = "2-3"
    assert examine.judge(case, theirs, replay.play).finding is not None

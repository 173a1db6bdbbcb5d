"""Every decision of recorded scenarios can be explained, and the explanation tells the same decision."""

from itertools import islice

import pytest
from podnuma.allocator import Admitted, Rejected, SettingsError
from podnuma.allocator.explain.explanation import explain
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.api.decoding import InvalidObjectError
from podnuma.api.pod import read_pod
from podnuma.cli.objects.scenarios import ScenarioError, read_scenario, read_settings

from tests.conformance import record


def decisions(scenario):
    """Yield node and pod of every admission, before it is decided."""
    read = read_scenario(scenario)
    try:
        node = NodeAllocator.empty(read_settings(read.kubelet), read.topology)
    except (ScenarioError, SettingsError):
        return
    for step in read.steps:
        if step["op"] == "removePod":
            node.release(step["uid"])
        if step["op"] != "addPod":
            continue
        meta = {"namespace": "default", **step["pod"]["metadata"]}
        try:
            pod = read_pod({**step["pod"], "metadata": {"uid": meta["name"], **meta}})
        except InvalidObjectError:
            continue
        yield node, pod
        decision = node.decide(pod)
        if isinstance(decision, Admitted):
            node.hold(decision)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["written-00", "written-04", "generated-03", "generated-11"])
def test_an_explanation_tells_the_decision_and_a_change_that_helps(name):
    explained = helped = 0
    for scenario, _ in islice(record.read(record.RECORDED / f"{name}.jsonl.xz"), 60):
        for node, pod in decisions(scenario):
            generation = node.generation
            why = explain(node, pod)
            assert why.decision == node.decide(pod)
            assert node.generation == generation
            explained += 1
            if isinstance(why.decision, Rejected):
                helped += why.smallest is not None or bool(why.together)
    assert explained >= 60
    assert helped > 0

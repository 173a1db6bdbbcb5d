"""Which pods are let go."""

from podnuma.cli.commands.release_gates import gated_pods


def pod(*gates: str) -> dict[str, object]:
    return {"spec": {"schedulingGates": [{"name": gate} for gate in gates]}}


def test_only_pods_with_our_gate_are_let_go():
    ours, both = pod("podnuma.dev/placement"), pod("example.com/quota", "podnuma.dev/placement")
    assert gated_pods([pod(), pod("example.com/quota"), ours, both, {"spec": {}}]) == [ours, both]


def test_a_list_of_gates_that_is_none_is_no_gate():
    assert gated_pods([{"spec": {"schedulingGates": "podnuma.dev/placement"}}, {"spec": None}]) == []

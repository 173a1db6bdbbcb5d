import json

from podnuma.agent.reconcile import pause


def test_a_static_kubelet_is_found_by_its_state_file(tmp_path):
    assert pause.static_kubelet(tmp_path) is None
    state = tmp_path / "cpu_manager_state"
    for text in ('{"policyName":"none"}', "", "[]", "{", '{"policyName":1}'):
        state.write_text(text)
        assert pause.static_kubelet(tmp_path) is None
    state.write_text(json.dumps({"policyName": "static"}))
    assert f'{state} says policyName "static"' in (pause.static_kubelet(tmp_path) or "")


def test_a_static_memory_manager_is_found_too(tmp_path):
    (tmp_path / "memory_manager_state").write_text('{"policyName":"Static"}')
    assert "memoryManagerPolicy: None" in (pause.static_kubelet(tmp_path) or "")


def test_other_pinners_are_named_by_their_containers():
    names = ["nginx", "nri-resource-policy-balloons", "koordlet", "dracpu"]
    assert pause.other_managers(names) == ("dra-driver-cpu", "koordlet", "nri-plugins")
    assert pause.other_managers(["nginx", "agent"]) == ()

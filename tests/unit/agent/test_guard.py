import json

import pytest
from podnuma.agent import guard
from podnuma.allocator import cpuset
from podnuma.allocator.node import Node
from podnuma.allocator.settings import CpuManagerPolicy, Settings

CPUS = guard.Cpus(cpuset.parse("0-15"), cpuset.parse("0-15"), cpuset.parse("0,8"))


@pytest.fixture
def grant(words):
    return lambda uid, cpus: words.pod(uid, words.container("c", cpus), cpus=cpus)


def test_an_overlapping_grant_is_refused_in_favour_of_the_applied_one(grant):
    accepted = guard.accept([grant("a", "1-2"), grant("b", "2-3")], {"b": cpuset.parse("2-3")}, CPUS)
    assert set(accepted.grants) == {"b"}
    assert accepted.refused == {
        "a": "spec.cpus '1-2': CPUs 2 are already held by pod default/b;"
        " delete the PodAllocation of one of them"
    }
    assert accepted.pool == cpuset.parse("0-1,4-15")


def test_an_applied_grant_that_was_edited_has_no_older_right(grant):
    accepted = guard.accept([grant("a", "1-2"), grant("b", "2-3")], {"b": cpuset.parse("4")}, CPUS)
    assert set(accepted.grants) == {"a"}


def test_cpus_that_the_node_does_not_have_are_refused_by_name(grant):
    accepted = guard.accept([grant("a", "15-17")], {}, CPUS)
    assert accepted.refused["a"] == (
        "spec.cpus '15-17': this node has no CPU 16-17; delete the PodAllocation"
    )


def test_offline_cpus_are_cpus_of_the_node(grant):
    cpus = guard.Cpus(cpuset.parse("0-15"), cpuset.parse("0-7"), cpuset.EMPTY)
    assert set(guard.accept([grant("a", "9")], {}, cpus).grants) == {"a"}


def test_the_shared_pool_is_never_emptied(grant):
    whole = grant("a", "0-15")
    accepted = guard.accept([whole], {}, CPUS)
    assert accepted.grants == {}
    assert "would leave no CPU for the node shared pool" in accepted.refused["a"]
    assert accepted.pool == cpuset.parse("0-15")


def test_the_reserved_cpus_are_the_last_resort_of_the_pool(grant):
    strict = guard.Cpus(cpuset.parse("0-15"), cpuset.parse("1-7,9-15"), cpuset.parse("0,8"))
    accepted = guard.accept([grant("a", "1-7,9-15")], {}, strict)
    assert set(accepted.grants) == {"a"}
    assert accepted.pool == cpuset.parse("0,8")


def test_agent_and_operator_work_out_the_same_pool(grant, words):
    settings = Settings(cpu_manager_policy=CpuManagerPolicy.STATIC, reserved_system_cpus=cpuset.parse("0,8"))
    grants = [grant("a", "1,9"), grant("b", "4-5,12")]
    empty = Node.empty(settings, words.machine().topology)
    cpus = guard.Cpus(cpuset.parse("0-15"), empty.default_set, empty.reserved_cpus)
    node, problems = Node.restore(settings, words.machine().topology, grants)
    assert not problems
    assert guard.accept(grants, {}, cpus).pool == node.shared_pool


def test_a_static_kubelet_is_found_by_its_state_file(tmp_path):
    assert guard.static_kubelet(tmp_path) is None
    state = tmp_path / "cpu_manager_state"
    for text in ('{"policyName":"none"}', "", "[]", "{", '{"policyName":1}'):
        state.write_text(text)
        assert guard.static_kubelet(tmp_path) is None
    state.write_text(json.dumps({"policyName": "static"}))
    assert f'{state} says policyName "static"' in (guard.static_kubelet(tmp_path) or "")


def test_a_static_memory_manager_is_found_too(tmp_path):
    (tmp_path / "memory_manager_state").write_text('{"policyName":"Static"}')
    assert "memoryManagerPolicy: None" in (guard.static_kubelet(tmp_path) or "")


def test_other_pinners_are_named_by_their_containers():
    names = ["nginx", "nri-resource-policy-balloons", "koordlet", "dracpu"]
    assert guard.other_pinners(names) == ("dra-driver-cpu", "koordlet", "nri-plugins")
    assert guard.other_pinners(["nginx", "agent"]) == ()

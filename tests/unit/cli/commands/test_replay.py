import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podnuma.cli.commands import replay
from podnuma.cli.exits import Exit
from podnuma.cli.objects.scenarios import ScenarioError

MACHINE = {"sockets": 1, "coresPerNuma": 4, "numaNodes": [{"id": 0, "memoryBytes": "8Gi"}]}
KUBELET = {
    "cpuManagerPolicy": "static",
    "reservedCPUs": "0",
    "memoryManagerPolicy": "Static",
    "reservedMemory": [{"numaNode": 0, "limits": {"memory": "1Gi"}}],
    "topologyManagerPolicy": "single-numa-node",
    "topologyManagerScope": "pod",
}


def amounts(cpu, memory="1Gi"):
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu, "memory": memory}}


def pod(uid="p", cpu="2"):
    spec = {
        "resources": amounts(cpu, "2Gi"),
        "containers": [{"name": "a", "resources": amounts("1")}, {"name": "b"}],
    }
    return {"metadata": {"name": uid}, "spec": spec}


def scenario(*steps, **more):
    return {"name": "s", "topology": MACHINE, "kubelet": KUBELET, "steps": list(steps), **more}


def run(*lines):
    out = io.StringIO()
    code = replay.replay_lines(io.StringIO("".join(f"{line}\n" for line in lines)), out)
    return code, [json.loads(line) for line in out.getvalue().splitlines()]


def steps(*given, **more):
    return replay.play(scenario(*given, **more))["steps"]


def test_one_result_line_per_scenario_line():
    line = json.dumps(scenario({"op": "addPod", "pod": pod()}))
    code, results = run(line, "", line)
    assert code == Exit.OK
    assert [result["scenario"] for result in results] == ["s", "s"]
    (step,) = results[0]["steps"]
    assert step["pod"]["cpuset"] == "1-2"
    assert [one["cpuset"] for one in step["pod"]["containers"]] == ["1", "2"]
    assert step["state"]["defaultCPUSet"] == "0,3"
    assert step["metrics"] == {
        "resource_manager_allocations_total{resource_name=cpu,source=pod}": 2,
        "resource_manager_allocations_total{resource_name=memory,source=pod}": 2,
        "resource_manager_container_assignments{assignment_type=pod_exclusive,resource_name=cpu}": 1,
        "resource_manager_container_assignments{assignment_type=pod_exclusive,resource_name=memory}": 1,
        "resource_manager_container_assignments{assignment_type=pod_shared,resource_name=cpu}": 1,
        "resource_manager_container_assignments{assignment_type=pod_shared,resource_name=memory}": 1,
    }


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("7", "scenario: 7 is not an object"),
        ('{"name": "x"}', "topology: null is not an object"),
        ('{"topology": {"sockets": 1, "coresPerNuma": 1}}', "topology.numaNodes: null is not a list"),
        ('{"topology": {"numaNodes": []}}', "no NUMA nodes"),
        (json.dumps(scenario(topology={**MACHINE, "sockets": 10**9})), "more than 65536 CPUs"),
        (json.dumps(scenario(topology={**MACHINE, "numbering": "spiral"})), "topology.numbering: 'spiral'"),
        (json.dumps(scenario(topology={**MACHINE, "uncorePerNuma": 5})), "uncorePerNuma: 5 is more"),
        (json.dumps({**scenario(), "steps": {}}), ""),
        (json.dumps({**scenario(), "steps": [3]}), "steps[0]: 3 is not an object"),
    ],
)
def test_a_bad_line_is_named_and_the_run_goes_on(line, reason):
    good = json.dumps(scenario())
    code, results = run(good, line, good)
    assert len(results) == 3
    assert "error" not in results[0]
    assert "error" not in results[2]
    if reason:
        assert code == Exit.INPUT
        assert results[1]["line"] == 2
        assert reason in results[1]["error"]


def test_a_line_too_long_is_refused_and_the_next_one_read(monkeypatch):
    monkeypatch.setattr(replay, "_LONGEST_LINE", 500)
    long = json.dumps(scenario(name="x" * 2000))
    short = '{"name": "y"}'
    code, results = run(long, short)
    assert code == Exit.INPUT
    assert [result["line"] for result in results] == [1, 2]
    assert "longer than 500" in results[0]["error"]


def test_a_fault_of_podnuma_itself_ends_one_scenario_only(monkeypatch):
    def broken(_):
        raise ZeroDivisionError("oh")

    good = json.dumps(scenario())
    with monkeypatch.context() as patched:
        patched.setattr(replay, "play", broken)
        code, results = run(good, "{")
    assert code == Exit.FAULT
    assert "ZeroDivisionError: oh" in results[0]["error"]
    assert "no JSON" in results[1]["error"]


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ({"op": "fly"}, 'unknown op "fly"'),
        ({"op": "addPod"}, "addPod needs pod"),
        ({"op": "addPod", "pod": 3}, "pod: 3 is not an object"),
        ({"op": "addPod", "pod": {"metadata": {"name": "n"}, "spec": {}}}, "pod n has no containers"),
        ({"op": "removePod", "uid": "q"}, "pod q is not active"),
        ({"op": "startPod", "uid": "q"}, "pod q is not active"),
        ({"op": "startContainer", "uid": "p", "container": "z"}, "pod p has no container z"),
        ({"op": "stopContainer", "uid": "p", "container": "a"}, "pod p has no running container a"),
        ({"op": "addPod", "pod": pod()}, "pod p is already active"),
        ({"op": "removePod", "uid": 5}, "uid: 5 is not a string"),
    ],
)
def test_an_impossible_step_has_an_error_and_changes_nothing(step, error):
    before, after, again = steps({"op": "addPod", "pod": pod()}, step, {"op": "removePod", "uid": "p"})
    assert after["error"] == error
    assert after["state"] == before["state"]
    assert again["state"]["defaultCPUSet"] == "0-3"


def test_settings_that_cannot_be_used_end_the_scenario_at_its_start():
    result = replay.play(scenario({"op": "addPod", "pod": pod()}, kubelet={**KUBELET, "reservedCPUs": "9"}))
    assert result["start"]["ok"] is False
    assert "drop 9" in result["start"]["error"]
    assert "steps" not in result


def test_a_restart_with_bad_settings_ends_the_scenario_there():
    bad = {"op": "restart", "kubelet": {**KUBELET, "topologyManagerPolicy": "strict"}}
    restart, *rest = steps(bad, {"op": "addPod", "pod": pod()})
    assert restart["start"]["ok"] is False
    assert "'strict' is not one of" in restart["start"]["error"]
    assert rest == []


def test_a_restart_keeps_everything_and_names_the_pods():
    admitted, restarted = steps({"op": "addPod", "pod": pod()}, {"op": "restart"})
    assert restarted["readmissions"] == [{"uid": "p", "admitted": True}]
    assert restarted["state"] == admitted["state"]


def test_a_pod_that_was_never_stored_gets_its_defaults_on_request():
    limits_only = pod()
    del limits_only["spec"]["resources"]["requests"]
    with_defaults = steps({"op": "addPod", "pod": limits_only})
    as_written = steps({"op": "addPod", "pod": limits_only}, apiDefaults=False)
    # A container requests 1 CPU, so the pod-level request becomes 1, below the limit.
    assert (with_defaults[0]["pod"]["qos"], as_written[0]["pod"]["qos"]) == ("Burstable", "Burstable")
    limits_only["spec"]["containers"] = [{"name": "a"}]
    with_defaults = steps({"op": "addPod", "pod": limits_only})
    assert (with_defaults[0]["pod"]["qos"], with_defaults[0]["pod"]["cpuset"]) == ("Guaranteed", "1-2")


def test_a_pod_the_api_server_would_refuse_is_refused():
    (step,) = steps({"op": "addPod", "pod": pod(cpu="500m")})
    assert (step["admitted"], step["reason"]) == (False, "InvalidPod")
    assert step["apiErrors"]
    assert step["state"]["defaultCPUSet"] == "0-3"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "op",
                    "pod",
                    "uid",
                    "metadata",
                    "spec",
                    "containers",
                    "name",
                    "resources",
                    "kubelet",
                    "limits",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_no_step_whatever_it_is_ends_the_run(step):
    read = {"op": "addPod", **step} if isinstance(step, dict) else step
    code, results = run(json.dumps(scenario(read)))
    assert code in {Exit.OK, Exit.INPUT}
    assert len(results) == 1


@given(JSON, st.sampled_from(["topology", "kubelet", "name", "apiDefaults", "steps"]))
def test_no_scenario_whatever_it_is_ends_the_run(value, field):
    code, results = run(json.dumps({**scenario(), field: value}))
    assert code in {Exit.OK, Exit.INPUT}
    assert len(results) == 1


def test_play_names_what_is_no_scenario():
    with pytest.raises(ScenarioError, match="not an object"):
        replay.play([])

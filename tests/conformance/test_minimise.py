from tests.conformance.agreement import Agreement, settings_of
from tests.conformance.minimise import smallest, without_step
from tests.conformance.world import add, budget, d16, g, pod, remove, scenario, settings, shared


def crowded():
    pods = [pod(f"p{place}", budget(2), [g(1), shared()], [shared()]) for place in range(6)]
    steps = [*map(add, pods), remove("p3"), {"op": "restart"}]
    return scenario("crowded", d16(pages={"2Mi": "1Gi"}), settings(cpu=["full-pcpus-only"]), *steps)


def added(case):
    return [step["pod"]["metadata"]["uid"] for step in case["steps"] if step["op"] == "addPod"]


def test_what_is_not_needed_is_left_out():
    found = smallest(crowded(), lambda case: "p4" in added(case))
    assert added(found) == ["p4"]
    assert len(found["steps"]) == 1
    assert found["kubelet"] == {}
    assert "hugepages" not in str(found["topology"])
    assert len(found["steps"][0]["pod"]["spec"]["containers"]) == 1


def test_what_is_needed_together_stays_together():
    def shows(case):
        return (
            added(case) == sorted(added(case)) and {"p1", "p5"} <= set(added(case)) and "restart" in str(case)
        )

    assert added(smallest(crowded(), shows)) == ["p1", "p5"]


def test_the_number_of_trials_is_bounded():
    trials = 0

    def never(_):
        nonlocal trials
        trials += 1
        return False

    case = crowded()
    assert smallest(case, never) == case
    assert trials <= 400


def test_an_added_pod_goes_with_every_step_about_it():
    case = without_step(crowded(), 3)
    assert "p3" not in str(case)
    assert len(case["steps"]) == 6
    assert len(without_step(crowded(), 6)["steps"]) == 7


def test_agreement_is_counted_by_policy_scope_and_option():
    case = crowded()
    assert set(settings_of(case)) == {
        "all",
        "topology policy single-numa-node",
        "scope pod",
        "cpu policy static",
        "memory policy Static",
        "option full-pcpus-only",
    }
    one, other = Agreement(scenarios=1, whole=1), Agreement(scenarios=1)
    one.count(case, 8, [])
    other.count(case, 3, ["A restart decides nothing"])
    other.unexplained(case)
    one.add(other)
    assert (one.scenarios, one.whole) == (2, 1)
    row = one.rows["option full-pcpus-only"]
    assert (row.agreed, row.explained, row.unexplained, row.steps) == (11, 1, 1, 13)
    report = "\n".join(one.lines())
    assert "2 scenarios, 1 agree from start to end" in report
    assert "deviation A restart decides nothing: 1" in report

"""Admission fills in what the API server's does, in its order."""

import pytest
from podnuma.api.decoding import InvalidObjectError
from podnuma.api.pod import read_pod
from podnuma.api.pod_admission import AdmissionPolicies


def limit_range(name="limits", **item):
    return {"metadata": {"name": name, "namespace": "a"}, "spec": {"limits": [{"type": "Container", **item}]}}


def pod(*containers, **spec):
    return {"metadata": {"name": "p", "namespace": "a"}, "spec": {"containers": list(containers), **spec}}


def resources(policies, *containers, **spec):
    return [one.get("resources") for one in policies.admit(pod(*containers, **spec))["spec"]["containers"]]


AMOUNTS = {"cpu": "1", "memory": "512Mi"}


def test_a_container_without_resources_gets_both():
    policies = AdmissionPolicies.of([limit_range(default=AMOUNTS, defaultRequest=AMOUNTS)])
    assert resources(policies, {"name": "c"}) == [{"requests": AMOUNTS, "limits": AMOUNTS}]


def test_what_is_written_stays_and_a_limit_is_its_own_request_first():
    """The API server's defaults come before LimitRanger: the request is the limit, not the default."""
    policies = AdmissionPolicies.of([limit_range(default=AMOUNTS, defaultRequest=AMOUNTS)])
    (found,) = resources(policies, {"name": "c", "resources": {"limits": {"cpu": "3"}}})
    assert found == {
        "requests": {"cpu": "3", "memory": "512Mi"},
        "limits": {"cpu": "3", "memory": "512Mi"},
    }


@pytest.mark.parametrize(
    ("item", "filled"),
    [
        ({"max": {"cpu": "4"}}, {"requests": {"cpu": "4"}, "limits": {"cpu": "4"}}),
        ({"min": {"cpu": "1"}}, {"requests": {"cpu": "1"}}),
        ({"default": {"cpu": "2"}, "min": {"cpu": "1"}}, {"requests": {"cpu": "2"}, "limits": {"cpu": "2"}}),
        ({"defaultRequest": {"cpu": "1"}}, {"requests": {"cpu": "1"}}),
    ],
)
def test_a_limit_range_has_defaults_of_its_own(item, filled):
    assert resources(AdmissionPolicies.of([limit_range(**item)]), {"name": "c"}) == [filled]


def test_limits_of_other_namespaces_and_of_whole_pods_fill_nothing():
    elsewhere = limit_range(default=AMOUNTS)
    elsewhere["metadata"]["namespace"] = "b"
    whole = {
        "metadata": {"name": "w", "namespace": "a"},
        "spec": {"limits": [{"type": "Pod", "max": AMOUNTS}]},
    }
    assert resources(AdmissionPolicies.of([elsewhere, whole]), {"name": "c"}) == [None]


def test_of_several_the_first_by_name_counts():
    policies = AdmissionPolicies.of(
        [limit_range("b", default={"cpu": "2", "memory": "1Gi"}), limit_range("a", default={"cpu": "1"})]
    )
    (found,) = resources(policies, {"name": "c"})
    assert found["limits"] == {"cpu": "1", "memory": "1Gi"}


def test_a_budgets_missing_requests_come_from_before_the_limit_range():
    """The budget's request is what the manifest's containers request, not what they get later."""
    policies = AdmissionPolicies.of([limit_range(default={"cpu": "1"})])
    budget = {"limits": {"cpu": "4"}}
    main = {"name": "m", "resources": {"requests": {"cpu": "3"}, "limits": {"cpu": "3"}}}
    stored = policies.admit(pod(main, {"name": "side"}, resources=budget))
    assert stored["spec"]["resources"]["requests"] == {"cpu": "3"}
    assert stored["spec"]["containers"][1]["resources"]["requests"] == {"cpu": "1"}


def test_a_runtime_class_brings_overhead_selector_and_tolerations():
    kata = {
        "metadata": {"name": "kata"},
        "overhead": {"podFixed": {"cpu": "250m"}},
        "scheduling": {"nodeSelector": {"kata": "yes"}, "tolerations": [{"key": "kata"}]},
    }
    policies = AdmissionPolicies.of([], [kata], [])
    spec = policies.admit(
        pod({"name": "c"}, runtimeClassName="kata", nodeSelector={"a": "b"}, tolerations=[{"key": "t"}])
    )["spec"]
    assert spec["overhead"] == {"cpu": "250m"}
    assert spec["nodeSelector"] == {"a": "b", "kata": "yes"}
    assert spec["tolerations"] == [{"key": "t"}, {"key": "kata"}]


def test_a_priority_class_brings_its_number_and_one_is_the_default():
    high = {"metadata": {"name": "high"}, "value": 1000}
    usual = {"metadata": {"name": "usual"}, "value": 7, "globalDefault": True}
    policies = AdmissionPolicies.of([], [], [high, usual])
    assert policies.admit(pod(priorityClassName="high"))["spec"]["priority"] == 1000
    assert policies.admit(pod())["spec"]["priorityClassName"] == "usual"
    assert policies.admit(pod(priorityClassName="system-node-critical"))["spec"]["priority"] == 2000001000


def test_classes_that_do_not_exist_are_refused_where_the_classes_are_known():
    wanting = pod({"name": "c"}, priorityClassName="x", runtimeClassName="y")
    known = AdmissionPolicies.of([], complete=True)
    assert list(known.refusals(known.admit(wanting))) == [
        "spec.priorityClassName: there is no PriorityClass x",
        "spec.runtimeClassName: there is no RuntimeClass y",
    ]
    assert list(AdmissionPolicies().refusals(wanting)) == []


def test_what_is_outside_of_a_limit_range_is_refused():
    policies = AdmissionPolicies.of([limit_range(min={"cpu": "1"}, max={"cpu": "2"})])
    big = {"name": "c", "resources": {"requests": {"cpu": "500m"}, "limits": {"cpu": "3"}}}
    where = "spec.containers[0].resources: LimitRange limits"
    assert list(policies.refusals(policies.admit(pod(big)))) == [
        f"{where}: the request of 500m cpu is below the minimum of 1",
        f"{where}: the limit of 3 cpu is above the maximum of 2",
    ]


def amounts(requests, limits):
    return {"requests": requests, "limits": limits}


SIDECAR = {"name": "s", "restartPolicy": "Always", "resources": amounts({"cpu": "1"}, {"cpu": "2"})}
FIRST = {"name": "i", "resources": amounts({"cpu": "3"}, {"cpu": "3"})}
MAIN = {"name": "m", "resources": amounts({"cpu": "2"}, {"cpu": "4"})}


def of_pods(**item):
    found = limit_range(**item)
    found["spec"]["limits"][0]["type"] = "Pod"
    return AdmissionPolicies.of([found])


@pytest.mark.parametrize(
    ("item", "spec", "refused"),
    [
        ({"max": {"cpu": "6"}}, {}, None),
        ({"max": {"cpu": "5"}}, {}, "the limit of 6 cpu is above the maximum of 5"),
        ({"min": {"cpu": "4"}}, {}, None),
        ({"min": {"cpu": "4500m"}}, {}, "the request of 4 cpu is below the minimum of 4500m"),
        ({"max": {"memory": "1Gi"}}, {}, "there is no limit of memory, and the maximum is 1Gi"),
        ({"maxLimitRequestRatio": {"cpu": "1.5"}}, {}, None),
        (
            {"maxLimitRequestRatio": {"cpu": "1400m"}},
            {},
            "the limit of 6 cpu is more than 1400m times the request of 4",
        ),
        # The budget counts in the place of what the containers have.
        ({"max": {"cpu": "5"}}, {"resources": amounts({"cpu": "4"}, {"cpu": "5"})}, None),
        (
            {"max": {"cpu": "7"}},
            {"resources": amounts({"cpu": "4"}, {"cpu": "8"})},
            "the limit of 8 cpu is above the maximum of 7",
        ),
    ],
)
def test_a_limit_range_of_pods_counts_what_containers_have_together(item, spec, refused):
    """A sidecar runs beside the init container after it (4 CPUs) and beside the app (limit 6, request 3)."""
    policies = of_pods(**item)
    told = list(policies.refusals(policies.admit(pod(MAIN, initContainers=[SIDECAR, FIRST], **spec))))
    where = "spec: LimitRange limits for the pod as a whole: "
    assert told == ([where + refused] if refused else [])


@pytest.mark.parametrize(
    ("resources", "refused"),
    [
        (amounts({"cpu": "1"}, {"cpu": "2"}), None),
        (
            amounts({"cpu": "1"}, {"cpu": "2001m"}),
            "the limit of 2001m cpu is more than 2 times the request of 1",
        ),
        ({}, "there is no request of cpu, and a limit is at most 2 times a request"),
        (amounts({"cpu": "1"}, {}), "there is no limit of cpu, and a limit is at most 2 times a request"),
        (
            amounts({"cpu": "0"}, {"cpu": "1"}),
            "there is no request of cpu, and a limit is at most 2 times a request",
        ),
    ],
)
def test_a_limit_is_at_most_so_many_times_the_request(resources, refused):
    policies = AdmissionPolicies.of([limit_range(maxLimitRequestRatio={"cpu": "2"})])
    told = list(policies.refusals(policies.admit(pod({"name": "c", "resources": resources}))))
    assert told == ([f"spec.containers[0].resources: LimitRange limits: {refused}"] if refused else [])


def test_no_amount_is_zero_and_not_a_missing_one():
    """`cpu:` with nothing behind it, as charts write it: Go reads null as zero, which is a limit."""
    policies = AdmissionPolicies.of([limit_range(default={"cpu": "1", "memory": "1Gi"})])
    null = {"name": "c", "resources": {"limits": {"cpu": None}}}
    assert resources(policies, null) == [
        {"requests": {"cpu": "0", "memory": "1Gi"}, "limits": {"cpu": "0", "memory": "1Gi"}}
    ]
    budget = policies.admit(pod({"name": "c"}, resources={"limits": {"cpu": None, "memory": "2Gi"}}))
    assert budget["spec"]["resources"]["limits"] == {"cpu": "0", "memory": "2Gi"}
    above = {"name": "c", "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": None}}}
    with pytest.raises(InvalidObjectError, match=r"requests\[cpu\].* is more than the limit, 0"):
        read_pod(AdmissionPolicies().admit(pod(above)))


KATA = {
    "metadata": {"name": "kata"},
    "overhead": {"podFixed": {"cpu": "250m"}},
    "scheduling": {"nodeSelector": {"kata": "yes"}},
}


@pytest.mark.parametrize(
    ("spec", "refused"),
    [
        ({}, None),
        ({"runtimeClassName": "kata", "overhead": {"cpu": 0.25}, "nodeSelector": {"kata": "yes"}}, None),
        (
            {"runtimeClassName": "kata", "overhead": {"cpu": "1m"}},
            "spec.overhead: is not that of RuntimeClass kata; leave it out",
        ),
        ({"overhead": {"cpu": "1m"}}, "spec.overhead: only a RuntimeClass gives one; leave it out"),
        (
            {"runtimeClassName": "kata", "nodeSelector": {"kata": "no"}},
            "spec.nodeSelector[kata]: no is not yes, as RuntimeClass kata says",
        ),
    ],
)
def test_a_pod_that_says_something_else_than_its_runtime_class_is_refused(spec, refused):
    """As one that was saved from another cluster; kubernetes-sigs/kueue#14289."""
    policies = AdmissionPolicies.of([], [KATA])
    told = list(policies.refusals(policies.admit(pod({"name": "c"}, **spec))))
    assert told == ([refused] if refused else [])


@pytest.mark.parametrize(
    ("spec", "refused"),
    [
        ({"priority": 7}, None),
        ({"priority": 1000, "priorityClassName": "high"}, None),
        ({"priority": 0}, "0 is not that of PriorityClass usual, 7; leave it out"),
        (
            {"priority": 7, "priorityClassName": "high"},
            "7 is not that of PriorityClass high, 1000; leave it out",
        ),
    ],
)
def test_a_priority_is_that_of_its_class(spec, refused):
    high = {"metadata": {"name": "high"}, "value": 1000}
    usual = {"metadata": {"name": "usual"}, "value": 7, "globalDefault": True}
    policies = AdmissionPolicies.of([], [], [high, usual])
    told = list(policies.refusals(policies.admit(pod({"name": "c"}, **spec))))
    assert told == ([f"spec.priority: {refused}"] if refused else [])


def test_a_priority_without_a_class_is_judged_where_the_classes_are_known():
    for complete, refused in (
        (False, []),
        (True, ["spec.priority: 5 is not what the pod gets, 0; leave it out"]),
    ):
        policies = AdmissionPolicies.of([], complete=complete)
        assert list(policies.refusals(policies.admit(pod({"name": "c"}, priority=5)))) == refused


def test_what_only_pods_that_exist_have_is_refused():
    """mhrabovcin/troubleshoot-live#33."""
    spec = {"ephemeralContainers": [{"name": "d"}], "nodeName": "n", "schedulingGates": [{"name": "g"}]}
    assert list(AdmissionPolicies().refusals(pod({"name": "c"}, **spec))) == [
        "spec.ephemeralContainers: only a pod that exists gets them (kubectl debug); leave them out",
        "spec.nodeName: not beside schedulingGates; leave out one of them",
    ]


def test_a_pod_has_a_container_and_a_sidecar_is_written_with_a_capital():
    policies = AdmissionPolicies()
    assert list(policies.refusals(policies.admit(pod()))) == [
        "spec.containers: is missing; a pod has one container at least"
    ]
    sidecar = {"name": "s", "restartPolicy": "always"}
    assert list(policies.refusals(policies.admit(pod({"name": "c"}, initContainers=[sidecar])))) == [
        "spec.initContainers[0].restartPolicy: always is none of Always, OnFailure, Never"
    ]


@pytest.mark.parametrize("junk", [None, 7, {}, {"spec": 7}, {"spec": {"containers": 7}}])
def test_what_is_no_pod_stays_what_it_is(junk):
    assert AdmissionPolicies.of([limit_range(default=AMOUNTS)]).admit(junk) == junk


def test_with_fixed_defaulting_the_budget_is_filled_in_after_limit_ranges():
    ranges = [limit_range(default={"memory": "1Gi"})]
    asked = pod({"name": "c"}, resources={"limits": {"memory": "4Gi"}})
    before, after = (
        AdmissionPolicies.of(ranges, fix_defaulting=fixed).admit(asked) for fixed in (False, True)
    )
    assert before["spec"]["resources"]["requests"] == {"memory": "4Gi"}
    assert after["spec"]["resources"]["requests"] == {"memory": "1Gi"}

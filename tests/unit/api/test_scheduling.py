"""A pod goes where kube-scheduler would let it go."""

import pytest
from podnuma.allocator.quantities import NANO
from podnuma.api.pod_needs import read_pod_needs
from podnuma.api.scheduling import (
    DAEMON_TOLERATIONS,
    Obstacle,
    PodConstraints,
    SchedulableNode,
    insufficient_resources,
    obstacle,
    read_pod_constraints,
    read_schedulable_node,
)


def node(name="n", labels=None, taints=(), *, unschedulable=False, **allocatable):
    status = {"allocatable": {"pods": "110", **allocatable}} if allocatable else {}
    return read_schedulable_node(
        {
            "metadata": {"name": name, "labels": labels or {}},
            "spec": {"taints": list(taints), "unschedulable": unschedulable},
            "status": status,
        }
    )


def pod(**spec):
    return read_pod_constraints({"spec": spec})


def affinity(*terms):
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
    return {"affinity": {"nodeAffinity": required}}


def expression(key, operator, *values):
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


def taint(effect="NoSchedule", key="team", value="db"):
    return {"key": key, "value": value, "effect": effect}


def test_a_pod_without_demands_goes_anywhere():
    assert obstacle(pod(), node(), {}) is None


def test_every_label_of_the_selector_counts():
    wants = pod(nodeSelector={"pool": "db", "disk": "ssd"})
    assert obstacle(wants, node(labels={"pool": "db", "disk": "ssd", "x": "y"}), {}) is None
    assert obstacle(wants, node(labels={"pool": "db"}), {}) is Obstacle.SELECTOR


@pytest.mark.parametrize(
    ("asked", "goes"),
    [
        ({}, True),
        ({"spec": {"os": {"name": "linux"}}}, True),
        ({"spec": {"os": {"name": "windows"}}}, False),
        ({"spec": {"os": {"name": "windows"}, "nodeName": "n"}}, False),
        ({"metadata": {"labels": {"kubernetes.io/os": "windows"}}}, False),
        ({"spec": {"os": {"name": "linux"}}, "metadata": {"labels": {"kubernetes.io/os": "windows"}}}, False),
    ],
)
def test_a_kubelet_takes_no_pods_for_another_operating_system(asked, goes):
    wants = read_pod_constraints(asked)
    known = [
        {"metadata": {"name": "n", "labels": {"kubernetes.io/os": "linux"}}},
        {"metadata": {"name": "n"}, "status": {"nodeInfo": {"operatingSystem": "linux"}}},
    ]
    for one in map(read_schedulable_node, known):
        assert obstacle(wants, one, {}) is (None if goes else Obstacle.SYSTEM)
    assert obstacle(wants, node(), {}) is None  # nothing is known of it


@pytest.mark.parametrize(
    ("operator", "values", "matching"),
    [
        ("In", ["a", "b"], {"a"}),
        ("NotIn", ["a"], {"7", "10", None}),
        ("Exists", [], {"a", "7", "10"}),
        ("DoesNotExist", [], {None}),
        ("Gt", ["7"], {"10"}),
        ("Lt", ["10"], {"7"}),
        ("Gt", ["x"], set()),
        ("Gt", ["1", "2"], set()),
        ("Near", ["a"], set()),
    ],
)
def test_every_operator_of_node_affinity(operator, values, matching):
    wants = pod(**affinity(expression("k", operator, *values)))
    found = {
        value
        for value in ("a", "7", "10", None)
        if obstacle(wants, node(labels={} if value is None else {"k": value}), {}) is None
    }
    assert found == matching


def test_terms_are_alternatives_their_parts_are_not_and_an_empty_one_matches_nothing():
    both = {
        **expression("a", "Exists"),
        "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}],
    }
    wants = pod(**affinity(both, expression("b", "Exists")))
    assert obstacle(wants, node(labels={"a": ""}), {}) is None
    assert obstacle(wants, node(name="m", labels={"a": ""}), {}) is Obstacle.AFFINITY
    assert obstacle(wants, node(name="m", labels={"b": ""}), {}) is None
    assert obstacle(pod(**affinity({})), node(), {}) is Obstacle.AFFINITY
    assert obstacle(pod(**affinity()), node(), {}) is Obstacle.AFFINITY


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        ({"key": "team", "operator": "Equal", "value": "db", "effect": "NoSchedule"}, True),
        ({"key": "team", "value": "db"}, True),
        ({"key": "team", "value": "ml"}, False),
        ({"key": "team", "operator": "Exists"}, True),
        ({"key": "other", "operator": "Exists"}, False),
        ({"operator": "Exists"}, True),
        ({"operator": "Exists", "effect": "NoExecute"}, False),
        ({"value": "db"}, False),
    ],
)
def test_a_taint_repels_unless_it_is_tolerated(toleration, tolerated):
    found = obstacle(pod(tolerations=[toleration]), node(taints=[taint()]), {})
    assert found is (None if tolerated else Obstacle.TAINT)


def test_a_preference_repels_nobody_and_no_execute_does():
    assert obstacle(pod(), node(taints=[taint("PreferNoSchedule")]), {}) is None
    assert obstacle(pod(), node(taints=[taint("NoExecute")]), {}) is Obstacle.TAINT


def test_a_cordon_is_told_from_a_taint_and_daemons_pass_it():
    cordoned = node(unschedulable=True, taints=[taint(key="node.kubernetes.io/unschedulable", value="")])
    assert obstacle(pod(), cordoned, {}) is Obstacle.CORDON
    assert obstacle(pod(), node(unschedulable=True), {}) is Obstacle.CORDON
    assert obstacle(pod().tolerating(DAEMON_TOLERATIONS), cordoned, {}) is None


def test_a_pod_with_a_node_name_passes_the_scheduler_but_not_the_kubelet():
    wants = pod(nodeName="n")
    assert obstacle(wants, node(name="m"), {}) is Obstacle.NODE_NAME
    assert obstacle(wants, node(taints=[taint()], unschedulable=True), {}) is None
    assert obstacle(wants, node(taints=[taint("NoExecute")]), {}) is Obstacle.TAINT


def test_what_all_pods_request_is_taken_from_what_is_allocatable():
    wants = pod(containers=[{"resources": {"requests": {"cpu": "3", "example.com/card": 1}}}])
    roomy = node(cpu="8", **{"example.com/card": "2"})
    assert obstacle(wants, roomy, {"cpu": 5 * NANO}) is None
    assert obstacle(wants, roomy, {"cpu": 6 * NANO}) is Obstacle.RESOURCES
    assert list(insufficient_resources(wants, roomy, {"cpu": 6 * NANO})) == [("cpu", 2 * NANO)]
    assert obstacle(wants, roomy, {"example.com/card": 2 * NANO}) is Obstacle.RESOURCES
    assert obstacle(wants, node(cpu="8"), {}) is Obstacle.RESOURCES
    assert obstacle(wants, roomy, {"pods": 110 * NANO}) is Obstacle.RESOURCES
    assert obstacle(wants, node(), {"cpu": 10**6 * NANO}) is None


def test_a_pod_requests_its_peak_or_its_budget_and_its_overhead():
    def asks(cpu, **more):
        return {"resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}, **more}

    spec = {
        "initContainers": [asks("1", restartPolicy="Always"), asks("5")],
        "containers": [asks("2"), asks("1")],
        "overhead": {"cpu": "250m"},
    }
    needs = read_pod_needs({"spec": spec})
    assert (needs["cpu"], needs["memory"]) == (6.25 * NANO, 3 * 2**30 * NANO)
    spec["resources"] = {"requests": {"cpu": "8"}}
    needs = read_pod_needs({"spec": spec})
    assert (needs["cpu"], needs["memory"], needs["pods"]) == (8.25 * NANO, 3 * 2**30 * NANO, NANO)


def test_what_is_not_looked_at_is_named():
    anti = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "x"}]}}
    found = pod(
        affinity=anti,
        topologySpreadConstraints=[{"whenUnsatisfiable": "DoNotSchedule"}],
        containers=[{"ports": [{"hostPort": 80}]}],
        volumes=[{"persistentVolumeClaim": {}}],
    )
    assert found.not_considered == ("pod anti-affinity", "topology spread", "host ports", "volumes")
    assert pod(topologySpreadConstraints=[{"whenUnsatisfiable": "ScheduleAnyway"}]).not_considered == ()


@pytest.mark.parametrize(
    "spec",
    [
        {"initContainers": [{"restartPolicy": "Always", "ports": [{"containerPort": 80, "hostPort": 80}]}]},
        {"hostNetwork": True, "containers": [{"ports": [{"containerPort": 80}]}]},
        {
            "hostNetwork": True,
            "initContainers": [{"restartPolicy": "Always", "ports": [{"containerPort": 80}]}],
        },
    ],
)
def test_ports_of_the_node_are_those_of_sidecars_and_of_its_network_too(spec):
    assert pod(**spec).not_considered == ("host ports",)


@pytest.mark.parametrize(
    "spec",
    [
        {"initContainers": [{"ports": [{"containerPort": 80, "hostPort": 80}]}]},
        {"containers": [{"ports": [{"containerPort": 80}]}]},
        {"hostNetwork": True, "containers": [{"name": "a"}]},
        {"schedulerName": "default-scheduler"},
        {"schedulerName": ""},
    ],
)
def test_what_the_scheduler_does_not_look_at_either_is_not_named(spec):
    assert pod(**spec).not_considered == ()


def test_groups_and_other_schedulers_are_named():
    group = {"podGroupName": "workers"}
    assert pod(schedulingGroup=group, schedulerName="volcano").not_considered == (
        "pod group",
        "scheduler volcano",
    )


@pytest.mark.parametrize("junk", [None, 7, [], {"spec": 7}, {"spec": {"containers": [7], "tolerations": {}}}])
def test_what_no_api_server_stores_demands_nothing(junk):
    assert obstacle(read_pod_constraints(junk), node(), {}) is None
    assert read_schedulable_node(junk).taints == ()


@pytest.mark.parametrize("value", ["1_000", " 1000", "9" * 21, "-" + "9" * 20, "1e3", "", "+"])
def test_what_go_reads_as_no_integer_is_neither_greater_nor_less(value):
    for operator in ("Gt", "Lt"):
        wants = pod(**affinity(expression("size", operator, "5")))
        assert obstacle(wants, node(labels={"size": value}), {}) is Obstacle.AFFINITY


def test_a_resource_that_claims_serve_is_looked_for_only_where_a_device_plugin_has_some():
    """As the scheduler does: a plugin that has gone leaves a zero behind."""
    wants = PodConstraints(requests={"example.com/gpu": 1 * NANO})
    claimed = frozenset({"example.com/gpu"})
    for allocatable, fits in (
        ({}, True),
        ({"example.com/gpu": 0}, True),
        ({"example.com/gpu": 1 * NANO}, False),
    ):
        one = SchedulableNode("n", allocatable=allocatable)
        used = {"example.com/gpu": 1 * NANO}
        assert (obstacle(wants, one, used, claimed) is None) is fits
        assert obstacle(wants, one, used) is Obstacle.RESOURCES

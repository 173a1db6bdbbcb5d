"""A pod is read as it is stored, with or without the field for its budget."""

import json
from typing import Any

import pytest
from podnuma.allocator import ContainerKind, ContainerRequest, PodRequest, Qos, Quantity
from podnuma.api.asked_resources import LONGEST_BUDGET, MAX_CONTAINERS, is_guaranteed_budget
from podnuma.api.decoding import InvalidObjectError
from podnuma.api.pod import PodPhase, read_pod, read_pod_facts

from tests.unit.api.objects import example

ANNOTATION = "podnuma.dev/resources"
GIB = 2**30


def amounts(cpu: int, gib: int) -> dict[str, Quantity]:
    return {"cpu": Quantity(cpu * 10**9), "memory": Quantity(gib * GIB * 10**9)}


def same(cpu: str, memory: str) -> dict[str, Any]:
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu, "memory": memory}}


def pod(
    *containers: dict[str, Any],
    init: tuple[dict[str, Any], ...] = (),
    resources: dict[str, Any] | None = None,
    **more,
) -> dict[str, Any]:
    spec: dict[str, Any] = {"containers": list(containers), "initContainers": list(init)}
    if resources is not None:
        spec["resources"] = resources
    return {"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": spec, **more}


def annotated(budget: object, *containers: dict[str, Any], **more) -> dict[str, Any]:
    text = budget if isinstance(budget, str) else json.dumps(budget)
    body = pod(*containers, **more)
    body["metadata"]["annotations"] = {ANNOTATION: text}
    return body


def one(resources: dict[str, Any] | None = None, name: str = "c") -> dict[str, Any]:
    return {"name": name} | ({} if resources is None else {"resources": resources})


def test_the_database_of_the_announcement():
    stored = example("pods/database")
    stored["metadata"] |= {"uid": "u1", "namespace": "shop"}
    stored["status"] = {"qosClass": "Guaranteed"}
    assert read_pod(stored) == PodRequest(
        uid="u1",
        namespace="shop",
        name="database",
        containers=(
            ContainerRequest("metrics-exporter", ContainerKind.SIDECAR),
            ContainerRequest("backup-agent", ContainerKind.SIDECAR),
            ContainerRequest("database", ContainerKind.APP, amounts(6, 12), amounts(6, 12)),
        ),
        pod_requests=amounts(8, 16),
        pod_limits=amounts(8, 16),
        qos=Qos.GUARANTEED,
    )


def test_init_containers_come_first_and_only_those_that_restart_are_sidecars():
    read = read_pod(
        pod(
            one(name="app"),
            init=(
                {"name": "a"},
                {"name": "b", "restartPolicy": "Always"},
                {"name": "c", "restartPolicy": "Never"},
            ),
        )
    )
    assert [(c.name, c.kind.value) for c in read.containers] == [
        ("a", "init"),
        ("b", "sidecar"),
        ("c", "init"),
        ("app", "app"),
    ]


def test_ephemeral_containers_and_other_resources_are_not_looked_at():
    body = pod(one({"requests": {"cpu": "1", "example.com/gpu": "many", "ephemeral-storage": "?"}}))
    body["spec"]["ephemeralContainers"] = [{"name": "debug"}]
    (container,) = read_pod(body).containers
    assert container.requests == {"cpu": Quantity(10**9)}


def test_a_budget_that_is_present_and_empty_is_a_budget():
    read = read_pod(pod(one(), resources={}))
    assert (read.pod_requests, read.pod_limits, read.pod_level) == ({}, {}, False)
    read = read_pod(pod(one()))
    assert (read.pod_requests, read.pod_limits) == (None, None)


def test_the_budget_is_never_read_from_the_status():
    body = pod(one(), resources=same("4", "8Gi"))
    body["status"] = {"qosClass": "Guaranteed", "resources": {"requests": {"memory": "9Gi"}}}
    assert read_pod(body).pod_requests == amounts(4, 8)


def test_overhead_is_read():
    body = pod(one(same("1", "1Gi")))
    body["spec"]["overhead"] = {"cpu": "250m", "memory": "120Mi"}
    assert read_pod(body).overhead["cpu"] == Quantity(250 * 10**6)


def test_an_annotation_is_the_budget_where_the_field_is_absent():
    body = annotated(same("4", "8Gi"), one(same("2", "2Gi")), status={"qosClass": "Burstable"})
    read = read_pod(body)
    assert (read.pod_requests, read.pod_limits) == (amounts(4, 8), amounts(4, 8))
    # The API server has classed the pod by its containers, which is not what it asks for.
    assert read.qos is None


def test_an_annotation_gets_the_defaults_of_the_api_server():
    read = read_pod(annotated({"limits": {"cpu": "4", "memory": "8Gi"}}, one()))
    assert read.pod_requests == amounts(4, 8)
    read = read_pod(annotated({"limits": {"cpu": "4", "memory": "8Gi"}}, one({"requests": {"cpu": "1"}})))
    assert read.pod_requests == {**amounts(4, 8), "cpu": Quantity(10**9)}


@pytest.mark.parametrize(
    ("written", "guaranteed"),
    [
        (json.dumps(same("4", "8Gi")), True),
        ('{"requests": {"cpu": 4, "memory": "8Gi"}, "limits": {"cpu": "4000m", "memory": 8589934592}}', True),
        ('{"limits": {"cpu": "4", "memory": "8Gi"}}', False),
        ('{"requests": {"cpu": "3", "memory": "8Gi"}, "limits": {"cpu": "4", "memory": "8Gi"}}', False),
        ('{"requests": {"cpu": "4"}, "limits": {"cpu": "4"}}', False),
        ('{"requests": {"cpu": "many", "memory": "1Gi"}, "limits": {"cpu": "many", "memory": "1Gi"}}', False),
        ("[" * 4000, False),
        ("7", False),
        ("{" + " " * 5000 + "}", False),
        ("", False),
    ],
)
def test_a_node_can_tell_from_the_annotation_alone_whether_a_pod_is_guaranteed(written, guaranteed):
    assert is_guaranteed_budget(written) is guaranteed


def test_the_field_wins_over_the_annotation():
    body = annotated("not even JSON", one(), resources=same("4", "8Gi"), status={"qosClass": "Guaranteed"})
    read = read_pod(body)
    assert read.pod_limits == amounts(4, 8)
    assert read.qos is Qos.GUARANTEED


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ("{", r"metadata.annotations\[podnuma.dev/resources\] \"{\": is not JSON; write for example"),
        ("[" * LONGEST_BUDGET, "is not JSON"),
        ("4 CPUs" * 2000, f"has 12000 characters; at most {LONGEST_BUDGET} are allowed"),
        ([], "must be an object"),
        ({"cpu": "4"}, '"cpu": unknown field; only requests and limits are known'),
        ({"limits": {"cpu": "four"}}, r"limits\[cpu\] \"four\": .*is not a quantity"),
        (
            {"limits": {"example.com/gpu": 1}},
            "is not a pod-level resource; only cpu, memory and hugepages-<size>",
        ),
        ({"limits": {"hugepages-1GB": "1Gi"}}, '"hugepages-1GB": is not a pod-level resource'),
        ({"limits": {"cpu": {}}}, r"limits\[cpu\] \(an object\): must be a string"),
        ({"limits": {"cpu": 10**5}, "requests": {"cpu": 10**6}}, '"1000000": is more than the limit, 100000'),
    ],
)
def test_a_bad_annotation_says_what_to_write(budget, words):
    with pytest.raises(InvalidObjectError, match=words):
        read_pod(annotated(budget, one()))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            pod(one(same("3", "1Gi")), one(same("2", "1Gi"), "d"), resources=same("4", "8Gi")),
            r'Pod n/p, spec.resources.requests\[cpu\] "4": is less than .* together, 5; raise it',
        ),
        (
            pod(one({"requests": {"cpu": "1"}, "limits": {"cpu": "6"}}), resources=same("4", "8Gi")),
            r'spec.resources.limits\[cpu\] "4": is less than the limit of container c, 6; raise it',
        ),
        (
            pod(resources={"requests": {"cpu": "4"}, "limits": {"cpu": "3500m"}}),
            r'spec.resources.requests\[cpu\] "4": is more than the limit, 3500m; lower it',
        ),
        (
            pod(one({"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}})),
            r'spec.containers\[0\].resources.requests\[memory\] "2Gi": is more than the limit, 1Gi',
        ),
        (
            pod(
                one({"requests": {"hugepages-1Gi": "1Gi"}, "limits": {"hugepages-1Gi": "1Gi"}}),
                one({"requests": {"hugepages-1Gi": "1Gi"}, "limits": {"hugepages-1Gi": "1Gi"}}, "d"),
                resources={"limits": {"hugepages-1Gi": "1Gi"}},
            ),
            r"limits\[hugepages-1Gi\] \"1Gi\": is less than the limit of its containers together, 2Gi",
        ),
        (
            pod(resources={"requests": {"hugepages-2Mi": "2Mi"}, "limits": {"hugepages-2Mi": "4Mi"}}),
            "huge pages cannot be overcommitted; request the limit, 4Mi",
        ),
        (
            pod(one({"requests": {"hugepages-2Mi": "2Mi"}})),
            "huge pages need a limit as well; set limits to the same",
        ),
    ],
)
def test_pods_that_bypassed_the_api_servers_checks_are_refused(body, words):
    with pytest.raises(InvalidObjectError, match=words):
        read_pod(body)


def test_an_init_container_may_have_a_limit_above_the_pods():
    init = {"name": "i", "resources": {"limits": {"cpu": "9"}, "requests": {"cpu": "1"}}}
    assert read_pod(pod(one(), init=(init,), resources=same("4", "8Gi"))).pod_limits == amounts(4, 8)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (pod(one({"requests": {"cpu": "1.5.2"}})), r"containers\[0\].resources.requests\[cpu\] \"1.5.2\""),
        (pod(one({"requests": {"cpu": "-1"}})), "is not a quantity"),
        (pod(one(), one()), 'spec.containers "c": two containers have this name'),
        (pod({}), r"spec.containers\[0\].name: is required"),
        (
            pod(*[one(name=f"c{n}") for n in range(MAX_CONTAINERS + 1)]),
            f"at most {MAX_CONTAINERS} are allowed",
        ),
        (
            pod(*[one(name=f"c{n}") for n in range(MAX_CONTAINERS)], init=(one(name="i"),)),
            f"spec.containers: more than {MAX_CONTAINERS} containers; podnuma leaves such pods alone",
        ),
        (
            pod(one({"requests": {f"hugepages-{n}Mi": "1" for n in range(1, 70)}})),
            "more than 64 kinds of memory",
        ),
        (pod(one(), status={"qosClass": "Platinum"}), "must be one of Guaranteed, Burstable, BestEffort"),
    ],
)
def test_a_bad_pod_is_named_with_the_place(body, words):
    with pytest.raises(InvalidObjectError, match=words):
        read_pod(body)


def facts(phase: str = "Running", **metadata):
    return read_pod_facts(
        {
            "metadata": {"name": "p", "namespace": "n", "uid": "u", **metadata},
            "spec": {"nodeName": "w1"},
            "status": {"phase": phase},
        }
    )


def test_who_a_pod_is_and_where_it_stands():
    found = facts(labels={"app": "db"})
    assert (found.uid, found.uid_on_node, found.node_name, found.labels) == ("u", "u", "w1", {"app": "db"})
    assert (found.finished, found.terminating, found.bound, found.phase) == (
        False,
        False,
        True,
        PodPhase.RUNNING,
    )


@pytest.mark.parametrize(("phase", "finished"), [("Succeeded", True), ("Failed", True), ("Pending", False)])
def test_finished_pods_hold_nothing(phase, finished):
    assert facts(phase).finished is finished


def test_terminating_pods_are_not_finished():
    found = facts(deletionTimestamp="2026-05-01T12:00:00Z")
    assert (found.terminating, found.finished) == (True, False)


def test_a_static_pod_has_another_uid_on_its_node():
    mirror = {"kubernetes.io/config.mirror": "h1", "kubernetes.io/config.hash": "h1"}
    owner = {"apiVersion": "v1", "kind": "Node", "name": "w1", "uid": "n", "controller": True}
    assert facts(annotations=mirror, ownerReferences=[owner]).uid_on_node == "h1"
    # Anybody can annotate a pod; only the kubelet makes mirrors.
    for made in (
        {"annotations": {"kubernetes.io/config.hash": "h1"}, "ownerReferences": [owner]},
        {"annotations": mirror},
        {"annotations": mirror, "ownerReferences": [{**owner, "name": "w2"}, "x"]},
    ):
        assert facts(**made).uid_on_node == "u"


def test_a_pod_that_is_not_bound_is_nowhere():
    assert not read_pod_facts({"metadata": {"name": "p"}}).bound

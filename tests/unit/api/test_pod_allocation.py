"""What a pod holds survives the API exactly, and reads well."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podnuma.allocator import (
    Admitted,
    AssignmentType,
    ContainerKind,
    Reason,
    Rejected,
    TopologyManagerScope,
)
from podnuma.allocator.counts import Counts, tally
from podnuma.api.conditions import Condition, Status
from podnuma.api.decoding import InvalidObjectError
from podnuma.api.device_plugins import ReportedDevice
from podnuma.api.pod_allocation import (
    DEVICES_PENDING,
    Decision,
    SentSpec,
    numa_nodes,
    read_accepted_allocation,
    read_pod_allocation,
    rejected_grant,
    render_pod_allocation,
    render_summary,
)
from podnuma.api.pod_allocation_status import (
    ContainerStatus,
    ObservedCgroup,
    Phase,
    PodAllocationStatus,
    Verdict,
    render_status,
)

from tests.unit.api.objects import (
    DATABASE,
    MACHINES,
    TRAINING,
    container,
    granted_devices,
    grants,
    machine,
    names,
)

ADMITTED = Decision(admitted=True, generation=5)


@given(grants(), names)
def test_a_grant_is_read_exactly_as_it_was_rendered(grant, node):
    body = json.loads(json.dumps(render_pod_allocation(grant, node, ADMITTED)))
    allocation = read_pod_allocation(body)
    assert allocation.grant == grant
    assert (allocation.node_name, allocation.decision, allocation.pod_uid) == (node, ADMITTED, grant.uid)


@given(grants(), names)
def test_a_spec_that_is_stored_as_it_was_sent_says_what_parsing_it_says(grant, node):
    body = json.loads(json.dumps(render_pod_allocation(grant, node, ADMITTED)))
    read = read_pod_allocation(body, sent=SentSpec(body["spec"], grant))
    assert read.grant is grant
    assert read == read_pod_allocation(body)


def outcome(body: Any, sent: SentSpec | None = None) -> Any:
    try:
        return read_pod_allocation(body, sent=sent)
    except InvalidObjectError as error:
        return str(error)


@given(grants(), names, st.data())
def test_a_spec_that_is_stored_otherwise_than_sent_is_parsed(grant, node, data):
    body = json.loads(json.dumps(render_pod_allocation(grant, node, ADMITTED)))
    sent = SentSpec(body["spec"], grant)
    lost = data.draw(st.sampled_from(sorted(body["spec"])))
    cut = {**body, "spec": {name: value for name, value in body["spec"].items() if name != lost}}
    assert outcome(cut, sent) == outcome(cut)
    renamed = {**body, "metadata": {**body["metadata"], "name": f"{grant.name}-1"}}
    assert outcome(renamed, sent).grant == outcome(renamed).grant


def test_an_allocation_goes_with_its_pod_when_its_cgroup_is_empty():
    body = render_pod_allocation(DATABASE, "w1", ADMITTED)
    assert body["metadata"] == {
        "name": "database",
        "namespace": "shop",
        "ownerReferences": [
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": "database",
                "uid": "u1",
                "controller": False,
                "blockOwnerDeletion": False,
            }
        ],
        "finalizers": ["podnuma.dev/cgroup"],
    }


def test_what_holds_nothing_waits_for_nobody():
    nothing = rejected_grant("u1", "shop", "database", DATABASE.scope)
    assert "finalizers" not in render_pod_allocation(nothing, "w1", ADMITTED)["metadata"]


def test_the_mirror_of_a_static_pod_owns_nothing():
    assert "ownerReferences" not in render_pod_allocation(DATABASE, "w1", ADMITTED, "hash")["metadata"]


@pytest.mark.parametrize(
    ("grant", "columns"),
    [
        (DATABASE, {"cpus": "1-4,49-52", "numa": "0", "exclusive": "1-3,49-51", "shared": "4,52"}),
        (TRAINING, {"cpus": "6-8", "numa": "0", "exclusive": "6-8", "shared": "node"}),
        (
            rejected_grant("u", "a", "b", TopologyManagerScope.POD),
            {"cpus": "-", "numa": "-", "exclusive": "-", "shared": "-"},
        ),
    ],
)
def test_the_columns_say_who_has_what(grant, columns):
    assert render_summary(grant) == columns


def test_the_numa_column_names_the_nodes_of_cpus_where_the_topology_is_known():
    grant = replace(TRAINING, containers=tuple(replace(c, memory_nodes=None) for c in TRAINING.containers))
    (epyc,) = [machine(path) for path in MACHINES if "epyc7401" in path.stem]
    assert render_summary(grant)["numa"] == "-"
    assert render_summary(grant, numa_nodes(grant, epyc))["numa"] == "1"
    spec = render_pod_allocation(grant, "w1", ADMITTED, numa=numa_nodes(grant, epyc))["spec"]
    assert spec["summary"]["numa"] == "1"


def test_the_columns_leave_out_what_only_init_containers_use():
    init = container("migrate", AssignmentType.POD_EXCLUSIVE, "1-4,49-52", ContainerKind.INIT)
    summary = render_summary(replace(DATABASE, containers=(init, *DATABASE.containers[1:])))
    assert (summary["exclusive"], summary["shared"]) == ("1-3,49-51", "4,52")


@given(grants())
def test_no_column_is_ever_empty(grant):
    assert all(render_summary(grant).values())


def test_a_static_pod_has_another_uid_on_its_node():
    assert read_pod_allocation(render_pod_allocation(DATABASE, "w1", ADMITTED)).uid_on_node == "u1"
    mirror = read_pod_allocation(render_pod_allocation(DATABASE, "w1", ADMITTED, "h1"))
    assert (mirror.pod_uid, mirror.uid_on_node, mirror.grant) == ("u1", "h1", DATABASE)


def test_a_decision_records_the_allocators_answer():
    assert Decision.of(Admitted(DATABASE, 5)) == ADMITTED
    refused = Rejected(Reason.TOPOLOGY_AFFINITY, "Resources cannot be allocated", Counts())
    assert Decision.of(refused, 6, "needs 2 more CPUs") == Decision(
        admitted=False,
        reason="TopologyAffinityError",
        message="Resources cannot be allocated",
        generation=6,
        explanation="needs 2 more CPUs",
    )
    by_memory = Rejected(Reason.UNEXPECTED_ADMISSION, "no", tally((), ("memory", "node")))
    assert Decision.of(by_memory).refused_by == ("memory", "node")


def test_a_pod_whose_devices_are_not_known_is_neither_admitted_nor_refused():
    waits = Decision(admitted=False, reason=DEVICES_PENDING)
    assert (waits.undecided, waits.refused) == (True, False)
    refused = Decision(admitted=False, reason="TopologyAffinityError")
    assert (refused.undecided, refused.refused) == (False, True)
    assert (ADMITTED.undecided, ADMITTED.refused) == (False, False)


def test_a_rejected_pod_holds_nothing():
    decision = Decision(
        admitted=False,
        reason="UnexpectedAdmissionError",
        message="no",
        explanation="why",
        refused_by=("memory", "pod"),
    )
    grant = rejected_grant("u", "a", "b", TopologyManagerScope.POD)
    allocation = read_pod_allocation(render_pod_allocation(grant, "w1", decision))
    assert (allocation.grant, allocation.decision) == (grant, decision)
    assert not allocation.grant.holds_anything


def edited(**spec) -> dict[str, Any]:
    body = render_pod_allocation(TRAINING, "w1", ADMITTED)
    return {**body, "spec": {**body["spec"], **spec}}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            edited(cpus="6-9"),
            'PodAllocation ml/training, spec.cpus "6-9": is not what the containers have together: 6-8',
        ),
        (edited(cpus="6-7", podLevel=True), 'spec.cpus "6-7": lacks CPUs of its containers: 8'),
        (edited(cpus=""), "must not be empty; leave the field out"),
        (edited(cpus="8-6"), "runs backwards"),
        (edited(scope="node"), "must be one of container, pod"),
        (edited(nodeName=None), "spec.nodeName: is required"),
        (edited(containers=[{"name": "a"}]), r"spec.containers\[0\].assignment.cpu: is required"),
        (
            edited(containers=edited()["spec"]["containers"] * 2),
            r'containers\[2\].name "mesh": is there twice',
        ),
        (edited(decision={}), "spec.decision.admitted: is required"),
    ],
)
def test_an_allocation_edited_by_hand_is_refused_by_name(body, words):
    with pytest.raises(InvalidObjectError, match=words):
        read_pod_allocation(body)


values = st.builds(
    ObservedCgroup, st.sampled_from(["", "1-3"]), st.sampled_from(["", "0"]), st.just("max 100000")
)
statuses = st.builds(
    PodAllocationStatus,
    observed_generation=st.integers(0, 2**62),
    phase=st.sampled_from(Phase),
    conditions=st.just((Condition("Ready", Status.TRUE, "Applied", "", 3, "2026-05-01T12:00:00Z"),)),
    pod_written=st.none() | values,
    pod_effective=st.none() | values,
    containers=st.lists(
        st.builds(
            ContainerStatus,
            name=names,
            container_id=st.sampled_from(["", "containerd://abc"]),
            written=st.none() | values,
            effective=st.none() | values,
            verdict=st.sampled_from(Verdict),
            pinned_after_millis=st.none() | st.integers(0, 2**40),
            message=st.sampled_from(["", "cpuset.cpus: EBUSY"]),
            throttled_percent=st.none() | st.integers(0, 100),
        ),
        max_size=3,
    ).map(tuple),
    accepted_spec=st.none() | st.just({"podUID": "u", "later": 1}),
    devices=granted_devices.map(lambda devices: tuple(ReportedDevice("main", device) for device in devices)),
    assignments=st.dictionaries(
        st.tuples(st.sampled_from(["cpu", "memory"]), st.sampled_from(AssignmentType)), st.integers(1, 99)
    ),
)


@given(statuses)
def test_a_status_is_read_as_it_was_rendered(status):
    body = edited() | {"status": json.loads(json.dumps(render_status(status)))}
    assert read_pod_allocation(body).status == status


def test_an_allocation_nobody_has_acted_on_is_pending():
    assert read_pod_allocation(edited()).status == PodAllocationStatus()
    assert PodAllocationStatus().phase is Phase.PENDING


def test_a_verdict_is_not_taken_for_a_boolean():
    with pytest.raises(TypeError, match="five values"):
        bool(Verdict.NOT_PINNED)


@given(grants())
def test_the_accepted_spec_says_what_was_decided_where_the_spec_does_not(grant):
    good = json.loads(json.dumps(render_pod_allocation(grant, "w1", ADMITTED)))
    broken = good | {"spec": {"podUID": 5}, "status": {"acceptedSpec": good["spec"]}}
    with pytest.raises(InvalidObjectError):
        read_pod_allocation(broken)
    accepted = read_accepted_allocation(broken)
    assert accepted is not None
    assert (accepted.grant, accepted.decision, accepted.node_name) == (grant, ADMITTED, "w1")


@pytest.mark.parametrize(
    "status", [None, [], {}, {"acceptedSpec": None}, {"acceptedSpec": "x"}, {"acceptedSpec": {"podUID": "u"}}]
)
def test_without_an_accepted_spec_nothing_is_known_of_a_broken_one(status):
    assert read_accepted_allocation(edited(cpus="8-6") | {"status": status}) is None

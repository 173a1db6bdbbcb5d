"""What agents find on their nodes becomes an event when it begins, about the node and about the pod."""

import pytest
from podnuma.operator.cache.kinds import Kind

from tests.unit.operator.rig import Rig, pod
from tests.unit.operator.virtual import virtual


def put(rig, kind, known, *conditions):
    made = [
        {"type": name, "status": status, "reason": "R", "message": text, "observedGeneration": 1}
        for name, status, text in conditions
    ]
    others = [
        one
        for one in known.get("status", {}).get("conditions", [])
        if one["type"] not in {"Contended", "NotIsolated", "Isolated", "OutsideKubepods"}
    ]
    rig.cluster.put(kind, {**known, "status": {**known.get("status", {}), "conditions": others + made}})


def events(rig, reason):
    return [
        (event["involvedObject"]["kind"], event["involvedObject"]["name"], event["message"])
        for event in rig.cluster.events
        if event["reason"] == reason
    ]


@pytest.mark.parametrize(
    ("reason", "on_node"),
    [
        ("Contended", ("Contended", "True")),
        ("NotIsolated", ("Isolated", "False")),
        ("OutsideKubepods", ("OutsideKubepods", "True")),
    ],
)
@virtual
async def test_a_finding_is_announced_once_about_the_pod_and_the_node_each_time_it_begins(reason, on_node):
    rig = Rig()
    await rig.furnished()
    await rig.create(pod())
    for number in (1, 2):
        for _ in range(3):  # an agent says it again and again, in words that change
            put(rig, Kind.ALLOCATION, rig.allocation(), (reason, "True", f"container main, {number}"))
            put(rig, Kind.TOPOLOGY, rig.topology(), (*on_node, f"container main of pod db, {number}"))
            await rig.quiet(10)
        assert len(events(rig, reason)) == 2 * number
        put(rig, Kind.ALLOCATION, rig.allocation())
        put(rig, Kind.TOPOLOGY, rig.topology(), (on_node[0], "False" if on_node[1] == "True" else "True", ""))
        await rig.quiet(10)
    assert sorted(events(rig, reason)) == sorted(
        each
        for number in (1, 2)
        for each in (
            ("Pod", "db", f"container main, {number}"),
            ("NodeTopology", "n1", f"container main of pod db, {number}"),
        )
    )


@virtual
async def test_a_new_operator_announces_what_began_while_there_was_none():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod())
    await rig.crash()
    put(rig, Kind.ALLOCATION, rig.allocation(), ("Contended", "True", "container main"))
    await rig.start()
    await rig.quiet(10)
    assert events(rig, "Contended") == [("Pod", "db", "container main")]

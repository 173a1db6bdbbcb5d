import pytest
from podnuma.agent.nri.messages import nri_pb2 as pb
from podnuma.agent.nri.messages import reading, writing
from podnuma.agent.nri.values import Answer, Event, Resources, Update

FULL = Resources(
    cpus="2-3",
    mems="0",
    cpu_quota=-1,
    cpu_period=100000,
    cpu_shares=2048,
    memory_limit=2**30,
    hugepage_limits={"2MB": 4194304},
    unified={"cpu.max.burst": "1000"},
)


def test_mask_has_bit_zero_for_event_one():
    assert (
        writing.event_mask([Event.RUN_POD_SANDBOX, Event.CREATE_CONTAINER, Event.STOP_CONTAINER])
        == 0b10_0000_1001
    )


def test_mask_of_nothing_would_mean_everything():
    with pytest.raises(ValueError, match="name those it wants"):
        writing.event_mask([])


def test_resources_come_back_as_they_went():
    assert reading.resources(writing.resources(FULL)) == FULL


def test_what_is_none_is_not_on_the_wire():
    assert writing.resources(Resources(cpus="2-3")).SerializeToString().hex() == "12053203322d33"
    assert writing.resources(Resources()).SerializeToString() == b""


def test_answer_without_opinion_is_empty():
    assert writing.answer(Answer()).SerializeToString() == b""


def test_adjustment_and_updates_stand_side_by_side():
    message = writing.answer(Answer(adjust=FULL, updates=(Update("c0", Resources(cpus="1")),)))
    assert reading.resources(message.adjust.linux.resources) == FULL
    assert [reading.update(each) for each in message.update] == [Update("c0", Resources(cpus="1"))]


def test_order_of_updates_is_kept():
    sent = [Update(name, Resources(cpus="1")) for name in ("c2", "c0", "c1")]
    assert [each.container_id for each in writing.updates(sent)] == ["c2", "c0", "c1"]


def test_updates_are_readable_by_the_full_message():
    wire = writing.update(Update("c0", FULL, ignore_failure=True)).SerializeToString()
    assert reading.update(pb.ContainerUpdate.FromString(wire)) == Update("c0", FULL, ignore_failure=True)

import pytest
from podnuma.agent.nri.messages import decode, encode
from podnuma.agent.nri.messages import nri_pb2 as pb
from podnuma.agent.nri.values import ContainerUpdate, CreateContainerResponse, LinuxResources, NriEvent

FULL = LinuxResources(
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
        encode.event_mask([NriEvent.RUN_POD_SANDBOX, NriEvent.CREATE_CONTAINER, NriEvent.STOP_CONTAINER])
        == 0b10_0000_1001
    )


def test_mask_of_nothing_would_mean_everything():
    with pytest.raises(ValueError, match="name those it wants"):
        encode.event_mask([])


def test_resources_come_back_as_they_went():
    assert decode.linux_resources(encode.encode_resources(FULL)) == FULL


def test_what_is_none_is_not_on_the_wire():
    assert encode.encode_resources(LinuxResources(cpus="2-3")).SerializeToString().hex() == "12053203322d33"
    assert encode.encode_resources(LinuxResources()).SerializeToString() == b""


def test_answer_without_opinion_is_empty():
    assert encode.encode_response(CreateContainerResponse()).SerializeToString() == b""


def test_adjustment_and_updates_stand_side_by_side():
    message = encode.encode_response(
        CreateContainerResponse(adjust=FULL, updates=(ContainerUpdate("c0", LinuxResources(cpus="1")),))
    )
    assert decode.linux_resources(message.adjust.linux.resources) == FULL
    assert [decode.container_update(each) for each in message.update] == [
        ContainerUpdate("c0", LinuxResources(cpus="1"))
    ]


def test_order_of_updates_is_kept():
    sent = [ContainerUpdate(name, LinuxResources(cpus="1")) for name in ("c2", "c0", "c1")]
    assert [each.container_id for each in encode.encode_updates(sent)] == ["c2", "c0", "c1"]


def test_updates_are_readable_by_the_full_message():
    wire = encode.encode_update(ContainerUpdate("c0", FULL, ignore_failure=True)).SerializeToString()
    assert decode.container_update(pb.ContainerUpdate.FromString(wire)) == ContainerUpdate(
        "c0", FULL, ignore_failure=True
    )

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from podnuma.agent.nri import ttrpc
from podnuma.agent.nri.errors import CallError, ProtocolError
from podnuma.agent.nri.messages import ttrpc_pb2
from podnuma.agent.nri.ttrpc import Message, MessageReader, MessageType, Request, StatusCode

CALL = Request(stream=3, service="s", method="m", payload=b"\x01", timeout=1.5)


def only(wire):
    (message,) = MessageReader().feed(wire)
    return message


def test_request_is_header_and_envelope():
    assert ttrpc.request(CALL).hex() == "0000000f0000000301000a017312016d1a01012080dea0cb05"


def test_request_comes_back_as_it_was_sent():
    assert ttrpc.read_request(only(ttrpc.request(CALL))) == CALL


def test_caller_that_will_wait_for_less_than_nothing_does_not_say():
    envelope = ttrpc_pb2.Request(timeout_nano=-5).SerializeToString()
    assert ttrpc.read_request(Message(1, MessageType.REQUEST, envelope)).timeout == 0


def test_answer_comes_back_as_its_payload():
    assert ttrpc.response(5, b"xy").hex() == "0000000400000005020012027879"
    assert ttrpc.read_response(only(ttrpc.response(5, b"xy")), "M") == b"xy"


def test_empty_answer_has_no_data():
    assert ttrpc.response(5, b"").hex() == "00000000000000050200"


def test_failure_comes_back_as_an_error_with_method_code_and_text():
    with pytest.raises(CallError, match="M: the runtime answered with code 2: no decision yet") as caught:
        ttrpc.read_response(only(ttrpc.error_response(5, StatusCode.UNKNOWN, "no decision yet")), "M")
    assert caught.value.code == 2


def test_text_of_a_failure_is_cut_to_what_a_pod_status_can_show():
    message = only(ttrpc.error_response(5, StatusCode.UNKNOWN, "x" * 5000))
    assert len(ttrpc_pb2.Response.FromString(message.data).status.message) == 1024


@settings(deadline=None)  # a busy machine is no failure
@given(payloads=st.lists(st.binary(max_size=3000), max_size=5), cut=st.integers(1, 700))
def test_messages_come_out_whole_however_the_stream_is_cut(payloads, cut):
    wire = b"".join(ttrpc.response(2 * number + 1, payload) for number, payload in enumerate(payloads))
    reader, messages = MessageReader(), []
    for at in range(0, len(wire), cut):
        messages += reader.feed(wire[at : at + cut])
    assert [ttrpc.read_response(message, "M") for message in messages] == payloads


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("00400001000000010100", "announces 4194305 bytes"),
        ("00000000000000010300", "has type 3"),
        ("00000000000000010000", "has type 0"),
        ("00000000000000020200", "stream 2 is even"),
        ("00000000000000010102", "has flags 0x2"),
    ],
    ids=["too long", "data", "unknown type", "even stream", "streaming"],
)
def test_header_that_unary_calls_never_have_is_garbage(header, why):
    with pytest.raises(ProtocolError, match=why):
        MessageReader().feed(bytes.fromhex(header))


def test_envelope_that_is_not_protobuf_is_garbage():
    with pytest.raises(ProtocolError, match="request envelope is not protobuf"):
        ttrpc.read_request(Message(1, MessageType.REQUEST, b"\xff\xff"))
    with pytest.raises(ProtocolError, match="response envelope is not protobuf"):
        ttrpc.read_response(Message(1, MessageType.RESPONSE, b"\xff\xff"), "M")


def test_response_where_a_request_is_due_is_garbage_and_the_other_way_round():
    with pytest.raises(ProtocolError, match="expected a request, got a response"):
        ttrpc.read_request(Message(1, MessageType.RESPONSE, b""))
    with pytest.raises(ProtocolError, match="expected a response, got a request"):
        ttrpc.read_response(Message(1, MessageType.REQUEST, b""), "M")


def test_message_longer_than_the_peer_takes_is_not_made():
    with pytest.raises(ValueError, match="does not fit ttrpc"):
        ttrpc.response(1, bytes(4 << 20))

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from podnuma.agent.nri.errors import ProtocolError
from podnuma.agent.nri.mux import RECEIVED_PAYLOAD_MAX, Chunk, Demux, frames


def streams(chunks):
    joined: dict[int, bytes] = {}
    for chunk in chunks:
        joined[chunk.conn] = joined.get(chunk.conn, b"") + chunk.data
    return joined


def test_frame_is_connection_length_and_payload():
    assert frames(2, b"abc").hex() == "0000000200000003616263"


def test_sent_frames_never_exceed_what_a_go_reader_takes():
    wire = frames(1, bytes(10_000))
    lengths = []
    while wire:
        length = int.from_bytes(wire[4:8])
        lengths.append(length)
        wire = wire[8 + length :]
    assert lengths == [4096, 4096, 1808]


def test_nothing_to_send_makes_no_frame():
    assert frames(1, b"") == b""


def test_payload_is_handed_out_as_it_arrives():
    demux = Demux()
    assert demux.feed(bytes.fromhex("000000020000")) == []
    assert demux.feed(bytes.fromhex("00036162")) == [Chunk(2, b"ab")]
    assert demux.feed(b"c") == [Chunk(2, b"c")]


def test_empty_frame_is_followed_by_the_next():
    assert Demux().feed(bytes.fromhex("0000000100000000") + frames(1, b"x")) == [Chunk(1, b"x")]


def test_largest_frame_passes_and_a_longer_one_is_garbage():
    Demux().feed((1).to_bytes(4) + RECEIVED_PAYLOAD_MAX.to_bytes(4))
    with pytest.raises(ProtocolError, match="connection 1 announces 4194315 bytes"):
        Demux().feed((1).to_bytes(4) + (RECEIVED_PAYLOAD_MAX + 1).to_bytes(4))


def test_text_in_place_of_frames_is_garbage():
    with pytest.raises(ProtocolError, match="announces 541611092 bytes"):
        Demux().feed(b"GET  HTTP/1.1\r\n")


@settings(deadline=None)  # a busy machine is no failure
@given(
    sent=st.lists(st.tuples(st.sampled_from([1, 2, 7]), st.binary(max_size=9000)), max_size=8),
    cuts=st.lists(st.integers(1, 500), min_size=1, max_size=20),
)
def test_streams_come_out_as_they_went_in_however_the_trunk_is_cut(sent, cuts):
    wire = b"".join(frames(conn, data) for conn, data in sent)
    demux, chunks, at = Demux(), [], 0
    while at < len(wire):
        cut = cuts[at % len(cuts)]
        chunks += demux.feed(wire[at : at + cut])
        at += cut
    expected = streams(Chunk(conn, data) for conn, data in sent)
    assert streams(chunks) == {conn: data for conn, data in expected.items() if data}

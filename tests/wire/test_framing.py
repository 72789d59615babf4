"""Framings: whatever the event, its bytes say the same to every kind of client."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace
from sse_parsers import naive, spec
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from millstream.errors import MillstreamError, RequestError
from millstream.events import Event, Pattern, Segment, Single, Strip, decode, encode
from millstream.wire import kind, position, websocket
from millstream.wire.dialect import Framer, Message
from millstream.wire.ndjson import NDJSON
from millstream.wire.sse import SSE, with_retry

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
).filter(lambda value: "inf" not in repr(value))
types = st.sampled_from(["run.queued", "step.partial", "step.result"]) | st.text(min_size=1)
events = st.builds(
    Event,
    run=st.text(min_size=1, max_size=40),
    seq=st.integers(1, 2**53),
    type=types,
    step=st.none() | st.text(min_size=1),
    item=st.none() | st.integers(0, 10**6),
    attempt=st.integers(1, 9),
    time=st.just("2026-11-20T08:00:00.123Z"),
    data=json_values,
)


def one_line(name):
    return name.replace("\r", " ").replace("\n", " ")


@given(st.lists(events, max_size=6))
@example([Event(run='a","seq":9,"type":"x', seq=1, type='q"uote\n\ndata: x', data={})])
@example([Event(run="r", seq=1, type="a\\", data='"type":"fake"')])
def test_sse_to_a_parser_of_the_specification(given):
    lines = [encode(event) for event in given]
    blocks = list(spec(SSE.frames(lines)))
    assert [(b.event, b.id) for b in blocks] == [(one_line(e.type), str(e.seq)) for e in given]
    assert [b.data.encode() for b in blocks] == lines


def strip(step: str, values: list[object]) -> Strip:
    """What a pen makes of them."""
    blank = encode(Event(run="a % b", seq=0, type="step.partial", step=step))
    pattern = Pattern.of(blank, "step.partial")
    return Strip(pattern, b"now", [encode(value) for value in values])


strips = st.builds(strip, st.text(min_size=1), st.lists(json_values, min_size=1, max_size=5))


@given(st.integers(1, 2**53), st.lists(events | strips, max_size=6))
def test_a_segment_of_strips_is_its_events_on_every_wire(first, given):
    pieces, seq = [], first
    for piece in given:
        told = encode(replace(piece, seq=seq)) if isinstance(piece, Event) else piece
        pieces.append(told)
        seq += len(told.data) if isinstance(told, Strip) else 1

    def segment() -> Segment:
        return Segment(first, tuple(pieces), max(seq - 1, 0), plain=False)

    lines = segment().events
    assert [decode(line).seq for line in lines] == list(range(first, seq))
    sent = [[decode(p).data] if isinstance(p, bytes) else map(json.loads, p.data) for p in pieces]
    assert [decode(line).data for line in lines] == [data for each in sent for data in each]
    assert SSE.segment(segment()) == SSE.frames(lines)
    assert NDJSON.segment(segment()) == segment().ndjson() == NDJSON.frames(lines)
    assert websocket.segment(segment()) == websocket.frames(lines)
    assert segment() == Segment(first, lines)
    assert segment().after(first) == Segment(first, lines).after(first)


@given(st.integers(1, 2**53), st.text(min_size=1), json_values)
def test_a_single_event_is_on_every_wire_what_a_strip_of_one_is(first, step, value):
    one = strip(step, [value])

    def segment(pieces: tuple[Strip] | Single) -> Segment:
        return Segment(first, pieces, first, plain=False)

    def single() -> Segment:
        return segment(Single(one.pattern, one.time, one.data[0]))

    for wire in (SSE.segment, NDJSON.segment, websocket.segment, Segment.ndjson):
        assert wire(single()) == wire(segment((one,)))
    assert single() == segment((one,))
    assert single().after(first) == segment((one,)).after(first)


@given(st.lists(events, max_size=6))
def test_sse_to_a_client_that_splits_at_blank_lines(given):
    told = naive(SSE.frames([encode(event) for event in given]).decode())
    assert [(name, json.loads(data)["seq"]) for name, data in told] == [
        (one_line(event.type), event.seq) for event in given
    ]


@given(st.lists(events, min_size=1, max_size=6))
def test_lines_end_with_lf_alone_and_blocks_have_three_lines(given):
    frames = SSE.frames([encode(event) for event in given])
    assert b"\r" not in frames
    assert all(block.count(b"\n") == 2 for block in frames.removesuffix(b"\n\n").split(b"\n\n"))


@given(st.lists(events, min_size=1, max_size=6))
def test_retry_is_told_once_and_within_the_first_event(given):
    lines = [encode(event) for event in given]
    frames = with_retry(SSE.frames(lines), 1500)
    plain, told = list(spec(SSE.frames(lines))), list(spec(frames))
    assert frames.count(b"\nretry: 1500\n") == 1
    assert told[0].retry == 1500
    assert [b.retry for b in told[1:]] == [None] * (len(told) - 1)
    assert [(b.event, b.data, b.id) for b in told] == [(b.event, b.data, b.id) for b in plain]
    assert len(naive(frames.decode())) == len(given)


def test_heartbeat_and_farewell_are_no_events():
    assert not list(spec(SSE.heartbeat + SSE.farewell + SSE.heartbeat))
    assert NDJSON.heartbeat == NDJSON.farewell == b""


@given(st.lists(events, max_size=6))
def test_ndjson_is_one_envelope_a_line(given):
    frames = NDJSON.frames([encode(event) for event in given])
    lines = frames.decode().split("\n")
    assert lines.pop() == ""
    assert [decode(line.encode()) for line in lines] == given


@given(events)
def test_position_and_kind_are_read_off_the_bytes(event):
    line = encode(event)
    assert int(position(line)) == event.seq
    assert kind(line).decode() == one_line(event.type)


# --- dialects ------------------------------------------------------------------------------------


def chatty():
    """Says as many messages an event as its data asks for; the count is state from all events."""
    total = 0

    def dialect(event):
        nonlocal total
        for _ in range(event.data):
            total += 1
            yield Message(None if total % 3 == 0 else f"m{total % 2}", {"n": total})

    return dialect


def log(counts):
    return [
        encode(Event(run="r", seq=n, type="t", data=count)) for n, count in enumerate(counts, 1)
    ]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.data())
def test_a_dialect_resumed_at_any_cursor_tells_the_tail_of_the_whole(counts, data):
    lines = log(counts)
    cut = data.draw(st.integers(0, len(lines)))
    for wire in (SSE, NDJSON):
        each = [Framer(wire, chatty(), 0)([*lines[:n]]) for n in range(len(lines) + 1)]
        for after in range(len(lines) + 1):
            framer = Framer(wire, chatty(), after)
            told = framer(lines[:cut]) + framer(lines[cut:])
            assert told == each[-1].removeprefix(each[after])


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_only_the_last_message_of_an_event_carries_its_position(counts):
    blocks = list(spec(Framer(SSE, chatty(), 0)(log(counts))))
    expected = [
        str(n) if last else None
        for n, count in enumerate(counts, 1)
        for last in [False] * (count - 1) + [True] * (count > 0)
    ]
    assert [block.own_id for block in blocks] == expected
    silent = list(spec(Framer(SSE, chatty(), 0, ids=False)(log(counts))))
    assert [block.own_id for block in silent] == [None] * len(blocks)


@given(st.text(), json_values)
def test_a_dialects_name_cannot_end_its_line(name, value):
    (block,) = spec(SSE.message(name, encode(value), 7))
    assert (block.event or "") == (one_line(name) or "message")
    assert json.loads(block.data) == value
    assert block.own_id == "7"


# --- frames of a socket --------------------------------------------------------------------------

sizes = st.sampled_from([0, 1, 125, 126, 127, 4095, 4096, 65_535, 65_536]) | st.integers(0, 70_000)


@given(st.lists(sizes, max_size=5))
def test_a_client_of_the_library_reads_our_frames(given):
    texts = [b"x" * size for size in given]
    client = ClientProtocol(parse_uri("ws://here/"), state=State.OPEN, max_size=None)
    client.receive_data(websocket.frames(texts))
    told = client.events_received()
    assert told == [Frame(Opcode.TEXT, text) for text in texts]
    assert client.parser_exc is None


# --- requests of a socket ------------------------------------------------------------------------


@given(st.text() | st.binary() | json_values.map(json.dumps))
@example('{"type":"start","pipeline":"p","input":' + '{"a":' * 100_000)
@example("[" * 1_000_000)
@example('{"type":"subscribe","run":"r","after":-1}')
@example('{"type":"subscribe","run":"r","after":99999999999999999999999}')
@example('{"type":"start","pipeline":"p","timeout":-1}')
@example('{"type":"start","pipeline":"p","on_disconnect":"explode"}')
@example('{"type":"start","pipeline":"p","key":""}')
@example(b'{"type":"ping","ref":"\xff"}')
@example('{"type":"ping","ref":[]}')
def test_whatever_a_client_sends_only_a_request_error_escapes(frame):
    with pytest.raises(RequestError):
        websocket.parse(frame)
    websocket.ref_of(frame)


@given(st.none() | st.text() | st.integers())
def test_a_ref_is_found_in_a_request_that_was_refused(ref):
    frame = json.dumps({"type": "nonsense", "ref": ref})
    if isinstance(ref, int) and not -(2**63) <= ref < 2**64:
        return
    assert websocket.ref_of(frame) == ref


def test_requests_are_read_with_their_defaults():
    assert websocket.parse('{"type":"subscribe","run":"r"}') == websocket.Subscribe("r", 0, None)
    started = websocket.parse(b'{"type":"start","pipeline":"p","timeout":2,"ref":1}')
    assert isinstance(started, websocket.Start)
    assert (started.timeout, started.on_disconnect, started.ref) == (2, "detach", 1)


def test_a_refusal_says_its_code():
    told = json.loads(websocket.refusal(MillstreamError("oh"), "r1", run="x"))
    assert told == {
        "type": "error",
        "code": "internal_error",
        "message": "oh",
        "run": "x",
        "ref": "r1",
    }

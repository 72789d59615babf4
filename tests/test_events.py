"""Events and their bytes: what goes in comes out, and one event is one line."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from millstream.events import (
    LOG_GAP,
    LOG_MERGED,
    NOTICES,
    TERMINAL,
    Event,
    Segment,
    decode,
    decode_all,
    decode_head,
    decode_raw,
    encode,
    flatten,
    iso,
    notice,
)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
numbers = st.none() | st.integers(0, 2**53)
events = st.builds(
    Event,
    run=st.text(min_size=1),
    seq=st.integers(1, 2**53),
    type=st.text(min_size=1),
    step=st.none() | st.text(min_size=1),
    item=numbers,
    index=numbers,
    attempt=st.integers(1, 9),
    fallback=st.booleans(),
    count=numbers,
    time=st.just("2026-11-20T08:00:00.123Z"),
    data=st.just(msgspec.UNSET) | json_values,
)


@given(events)
def test_what_goes_in_comes_out(event):
    line = encode(event)
    assert decode(line) == event
    assert b"\n" not in line
    assert encode(decode(line)) == line


@given(events)
def test_data_that_stays_bytes_is_the_same_data(event):
    raw = decode_raw(encode(event))
    if event.data is msgspec.UNSET:
        assert raw.data is msgspec.UNSET
    else:
        assert isinstance(raw.data, msgspec.Raw)
        assert encode(msgspec.json.decode(bytes(raw.data))) == encode(event.data)
    rest = {f: getattr(event, f) for f in event.__struct_fields__ if f != "data"}
    assert {f: getattr(raw, f) for f in rest} == rest
    assert encode(raw) == encode(event)


@given(events)
def test_the_head_is_the_event_without_its_data(event):
    head = decode_head(encode(event))
    assert (head.seq, head.type, head.step, head.item) == (
        event.seq,
        event.type,
        event.step,
        event.item,
    )


def test_the_envelope_says_only_what_says_something():
    event = Event("r", 7, "step.result", step="price", item=2, time="T", data={"a": 1})
    told = (
        '{"run":"r","seq":7,"type":"step.result","step":"price","item":2,"time":"T","data":{"a":1}}'
    )
    assert encode(event).decode() == told
    assert encode(Event("r", 1, "run.started")) == b'{"run":"r","seq":1,"type":"run.started"}'
    assert b'"attempt":2' in encode(Event("r", 1, "x", attempt=2))
    assert b'"data":null' in encode(Event("r", 1, "x", data=None))


# --- segments ------------------------------------------------------------------------------------

segments = st.builds(
    lambda first, told: Segment(first, tuple(encode(event) for event in told)),
    st.integers(1, 1000),
    st.lists(events, min_size=1, max_size=6),
)


@given(segments)
def test_a_segment_at_every_cursor(segment):
    for cursor in range(segment.first - 2, segment.last + 1):
        rest = segment.after(cursor)
        taken = max(0, cursor + 1 - segment.first)
        assert rest.events == segment.events[taken:]
        assert rest.last == segment.last
        assert rest.first == segment.first + taken
    assert segment.after(segment.first - 1) is segment


@given(segments)
def test_a_segment_as_ndjson_and_back(segment):
    lines = segment.ndjson()
    assert Segment.from_ndjson(segment.first, lines) == segment
    assert len(lines) == segment.size
    assert lines.count(b"\n") == len(segment.events)


def test_an_empty_segment():
    assert (Segment(5, ()).ndjson(), Segment(5, ()).last) == (b"", 4)


@given(st.lists(st.lists(events, max_size=3), max_size=3))
def test_segments_in_a_row(told):
    firsts = accumulate((len(each) for each in told), initial=1)
    row = [
        Segment(first, tuple(map(encode, each))) for first, each in zip(firsts, told, strict=False)
    ]
    flat = [event for each in told for event in each]
    assert decode_all(row) == flat
    assert flatten(row) == [encode(event) for event in flat]


# --- what is no plain JSON -----------------------------------------------------------------------


class Model(BaseModel):
    page_title: str = Field(alias="pageTitle")
    at: datetime | None = None


@dataclass
class Data:
    model: Model


@given(st.text())
def test_a_pydantic_model_at_any_depth(title):
    model = Model(pageTitle=title)
    line = encode(Event("r", 1, "x", data={"deep": [Data(model)]}))
    assert b"\n" not in line
    told = json.loads(line)["data"]["deep"][0]["model"]
    assert Model.model_validate(told) == model
    assert told.keys() == {"pageTitle", "at"}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        ({1: "a"}, {"1": "a"}),
        ((1, 2), [1, 2]),
        (datetime(2026, 11, 20, 8, tzinfo=UTC), "2026-11-20T08:00:00Z"),
    ],
)
def test_values_that_have_a_json_form(value, told):
    assert json.loads(encode(value)) == told


@given(json_values)
def test_a_raw_value_that_somebody_formatted_stays_one_line(value):
    raw = msgspec.Raw(json.dumps(value, indent=2).encode())
    line = encode(Event("r", 1, "x", data=raw))
    assert b"\n" not in line
    assert decode(line) == Event("r", 1, "x", data=msgspec.json.decode(raw))


@pytest.mark.parametrize("value", [object(), {"a": [print]}, 1j])
def test_what_has_no_json_form_is_a_type_error(value):
    with pytest.raises(TypeError):
        encode(Event("r", 1, "x", data=value))


@pytest.mark.parametrize("junk", [b"", b"{", b"[]", b'{"run":1}', b"\xff"])
def test_junk_is_no_event(junk):
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        decode(junk)


# --- about ---------------------------------------------------------------------------------------


@given(st.integers(0, 4_000_000_000_000))
def test_a_moment_to_the_millisecond(milliseconds):
    text = iso(milliseconds / 1000)
    assert len(text) == 24
    back = Event("r", 1, "x", time=text).timestamp
    assert abs(back - milliseconds / 1000) < 0.0011
    assert json.loads(f'"{text}"').endswith("Z")


def test_moments_sort_as_text():
    moments = [0.0, 0.999, 1.0, 1_700_000_000.001, 1_700_000_000.01]
    assert sorted(map(iso, moments)) == [iso(moment) for moment in moments]
    assert iso(1_763_625_600.123) == "2025-11-20T08:00:00.123Z"


@given(st.integers(1, 99), st.integers(0, 99))
def test_a_notice_stands_at_the_last_position_it_covers(first, more):
    for kind in (LOG_GAP, LOG_MERGED):
        told = decode(notice("r", kind, first, first + more, "T"))
        assert (told.type, told.seq) == (kind, first + more)
        assert told.data == {"from": first, "to": first + more}
    assert not NOTICES & TERMINAL


def test_only_the_three_ends_are_terminal():
    assert {t for t in TERMINAL if Event("r", 1, t).terminal} == TERMINAL
    assert not Event("r", 1, "run.started").terminal
    assert Event("r", 1, "x").value is None

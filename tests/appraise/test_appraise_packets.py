"""Packets: whatever happened in a run, each part is told once, the end last, every line small."""

import json

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream import Event
from millstream.wire.dialect import Framer
from millstream.wire.ndjson import NDJSON
from millstream_apps.appraise.packets import LIMIT, PARTS, PacketDialect, fit, outcome

SESSION, BASE = "261120080000", "https://pins.example/"
TIME = "2026-11-20T08:00:{:02d}.500Z"
PACKETS = {step: part.packet for step, part in PARTS.items()}
words = st.one_of(st.text(max_size=40), st.text("<&\"'é漢", min_size=500, max_size=9000))

values = {
    "authenticity": st.fixed_dictionaries(
        {
            "verdict": st.just("authentic"),
            "authentic": st.booleans(),
            "authenticityRating": st.floats(0, 100),
            "confidence": st.floats(0, 1),
            "method": st.just("full"),
            "note": st.none() | words,
            "reason": st.none(),
            "evidence": st.just([]),
        }
    ),
    "characters": st.fixed_dictionaries({"characters": words, "identification": words}),
    "pricing": st.fixed_dictionaries({"pricing": words, "summary": st.none()}),
    "details": st.fixed_dictionaries({"analysis": words, "reference": st.none()}),
    "display": st.fixed_dictionaries(
        {"pages": st.dictionaries(st.sampled_from(["front", "back", "angled"]), st.integers(1))}
    ),
}


@st.composite
def logs(draw):
    """A run's log, as far as the dialect looks at it: parts in any order, some failing, an end."""
    told = [("run.queued", None, {}), ("run.started", None, msgspec.UNSET)]
    failed = set()
    for step in draw(st.permutations(list(PARTS))):
        fate = draw(st.sampled_from(["result", "retried", "fallback", "failed", "open"]))
        failure = {"code": "step_timeout", "message": draw(words), "retryable": True}
        told.append(("step.started", step, msgspec.UNSET))
        if fate in ("retried", "fallback"):
            again = {"will_retry": fate == "retried", "fallback": fate == "fallback"}
            told.append(("step.failed", step, {**failure, **again}))
        if fate in ("result", "retried", "fallback"):
            told.append(("step.result", step, draw(values[step])))
        elif fate == "failed":
            failed.add(step)
            told.append(("step.failed", step, {**failure, "will_retry": False}))
        if fate == "open" or (fate == "failed" and step == "authenticity"):
            failed.add(step)
            told.append(("run.failed", None, {**failure, "step": step}))
            break
    else:
        told.append(("step.result", "record", {"id": 7}))
        told.append(("run.completed", None, {}))
    events = [
        Event("r1", seq, kind, step=step, time=TIME.format(min(seq, 59)), data=data)
        for seq, (kind, step, data) in enumerate(told, start=1)
    ]
    return events, failed


def packets(events, after=0):
    lines = [msgspec.json.encode(event) for event in events]
    framed = Framer(NDJSON, PacketDialect(SESSION, BASE), after)(lines)
    assert framed.endswith(b"\n") or not framed
    return framed.splitlines(keepends=True)


@given(logs())
@settings(max_examples=40, deadline=None)
def test_each_part_once_and_the_end_last(log):
    events, failed = log
    lines = packets(events)
    told = [json.loads(line) for line in lines]
    kinds = [packet["packetType"] for packet in told]
    assert all(len(line) <= LIMIT for line in lines)
    assert kinds[:2] == ["CONNECTION_ESTABLISHED", "PROCESSING_STARTED"]
    assert len(set(kinds)) == len(kinds)
    completed = events[-1].type == "run.completed"
    assert kinds[-1] == ("ANALYSIS_COMPLETE" if completed else "ERROR")
    for packet in told:
        assert packet["sessionId"] == SESSION
        assert packet["timestamp"].endswith("Z")
        assert ("error" in packet) == (packet["packetType"] == "ERROR")
    if completed:
        assert set(PACKETS.values()) < set(kinds)
        assert told[-1]["id"] == 7
        assert told[-1]["processingTime"] == (min(len(events), 59) - 1) * 1000
        assert told[-1].get("failedParts", []) == sorted(PACKETS[step] for step in failed)
    else:
        assert {PACKETS[step] for step in failed} <= set(told[-1]["failedParts"])


@given(logs())
@settings(max_examples=40, deadline=None)
def test_a_failed_part_says_so_and_no_verdict_is_made_up(log):
    events, _ = log
    results = {event.step for event in events if event.type == "step.result"}
    for packet in map(json.loads, packets(events)):
        step = next((s for s, kind in PACKETS.items() if kind == packet["packetType"]), None)
        if step is not None:
            assert packet.get("failed", False) == (step not in results)
        if step == "authenticity":
            assert "authenticity" in results
        if packet.get("failed"):
            assert "could not be determined" in packet[PARTS[step or ""].html[0]] or "Url" in str(
                packet.keys()
            )


@given(logs(), st.data())
@settings(max_examples=40, deadline=None)
def test_a_reader_that_comes_back_gets_exactly_the_rest(log, data):
    events, _ = log
    whole = packets(events)
    if not whole:
        return
    seen = data.draw(st.integers(0, len(whole)))
    cursor = json.loads(whole[seen - 1])["cursor"] if seen else 0
    assert packets(events, after=cursor) == whole[seen:]


@given(logs())
@settings(max_examples=40, deadline=None)
def test_one_document_unites_the_packets(log):
    events, _ = log
    found = outcome([json.loads(line) for line in packets(events)], "r1")
    if events[-1].type != "run.completed":
        assert found.status in (500, 503)
        assert found.body.keys() == {"success", "error", "message"}
        return
    assert found.status == 200
    assert found.body["success"] is True
    assert {"authentic", "authenticityRating", "characters", "identification"} <= set(found.body)
    assert {"analysis", "pricing", "frontHtml", "backHtml", "angledHtml"} <= set(found.body)
    assert found.body["id"] == 7


@given(st.dictionaries(st.sampled_from(["pricing", "analysis", "message", "note"]), words))
def test_whatever_a_packet_holds_it_fits_and_html_stays_whole(fields):
    packet = {"packetType": "X", **fields}
    fitted = fit(packet, "https://pins.example/api/analyses/r1")
    assert len(msgspec.json.encode(fitted)) < LIMIT
    for name in ("pricing", "analysis"):
        if name in fields and fitted[name] != fields[name]:
            assert fitted[f"{name}Url"] == f"https://pins.example/api/analyses/r1/{name}"
            assert fitted[f"{name}Url"] in fitted[name]

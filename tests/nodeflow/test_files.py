"""File nodes: tails across rotation and truncation, rows in order, and no way out of the folder."""

import asyncio
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream import Out, StepError
from millstream.testing.clock import run_virtual
from millstream_apps.nodeflow.nodes.tailing import LINE_BYTES, Tailer
from tests.nodeflow.nodes import made, source, timed, values


@pytest.fixture
def log(tmp_path):
    return tmp_path / "app.log"


@pytest.fixture
def tail(log):
    """Makes tails of the file, and closes them."""
    made = []

    def make(*, from_start):
        made.append(Tailer(log, from_start=from_start))
        return made[-1]

    yield make
    for tailer in made:
        tailer.close()


def drained(tailer):
    found = []
    while lines := tailer.read():
        found += lines
    return found


def test_a_tail_tells_whole_lines_only(log, tail):
    log.write_text("old\n")
    tailer = tail(from_start=False)
    assert tailer.read() == []
    with log.open("a") as file:
        file.write("one\ntw")
        file.flush()
        assert tailer.read() == ["one"]
        file.write("o\r\n")
    assert drained(tailer) == ["two"]
    assert drained(tail(from_start=True)) == ["old", "one", "two"]


def test_a_file_that_comes_later_is_read_whole(log, tail):
    tailer = tail(from_start=False)
    assert tailer.read() == []
    log.write_text("first\n")
    assert drained(tailer) == ["first"]


def test_a_rotated_file_is_read_to_its_end_before_the_new_one(log, tail):
    log.write_text("a\n")
    tailer = tail(from_start=True)
    assert drained(tailer) == ["a"]
    with log.open("a") as old:
        os.rename(log, log.with_suffix(".1"))
        log.write_text("c\n")
        old.write("b\nlast words")
    found = []
    for _ in range(5):
        found += tailer.read()
    assert found == ["b", "last words", "c"]


def test_a_truncated_file_is_read_from_its_start(log, tail):
    log.write_text("a long line\n")
    tailer = tail(from_start=True)
    assert drained(tailer) == ["a long line"]
    log.write_text("new\n")
    assert drained(tailer) == ["new"]


def test_a_line_without_end_is_bounded(log, tail):
    log.write_bytes(b"x" * (2 * LINE_BYTES + 5) + b"\n")
    assert [len(line) for line in drained(tail(from_start=True))] == [LINE_BYTES] * 2 + [5]


LINES = st.lists(st.text("ab é", max_size=6), max_size=4)
DEEDS = st.lists(st.tuples(st.sampled_from(["write", "rotate", "read"]), LINES), max_size=25)


@settings(max_examples=100, deadline=None)
@given(DEEDS)
def test_whatever_happens_to_the_file_each_line_is_told_once_in_order(tmp_path_factory, deeds):
    log = tmp_path_factory.mktemp("tail") / "a.log"
    log.touch()
    tailer = Tailer(log, from_start=True)
    written, told, rotations = [], [], 0
    for deed, lines in deeds:
        if deed == "rotate":
            told += drained(tailer)  # a tail follows one rotation at a time
            rotations += 1
            os.rename(log, log.with_suffix(f".{rotations}"))
            log.touch()
        elif deed == "read":
            told += tailer.read()
        with log.open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
        written += lines
    for _ in range(3):
        told += drained(tailer)
    tailer.close()
    assert told == written


async def test_the_node_follows_the_file(log):
    config = {"path": "app.log", "poll": 0.01, "parse": "json", "from_start": True}
    node = made("file-tail", config, files=log.parent)
    log.touch()
    stream = node()
    found = []
    waiting = asyncio.ensure_future(anext(stream))
    for line in ("1\n", "{bad\n", '{"a": 2}\n'):
        with log.open("a") as file:
            file.write(line)
        found.append(await waiting)
        waiting = asyncio.ensure_future(anext(stream))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert found[0] == Out("out", 1)
    assert found[1].port == "bad"
    assert found[1].value["line"] == "{bad"
    assert found[2] == Out("out", {"a": 2})


# --- rows -----------------------------------------------------------------------------------------


def test_ndjson_gives_every_line_in_order(tmp_path):
    (tmp_path / "r.ndjson").write_text('{"a": 1}\n\n[2]\n3')
    told = values(source("ndjson", {"path": "r.ndjson"}, files=tmp_path))
    assert told == [Out("out", {"a": 1}), Out("out", [2]), Out("out", 3)]


def test_a_bad_row_ends_the_flow_or_goes_to_its_port(tmp_path):
    (tmp_path / "r.ndjson").write_text("1\n{\n2\n")
    with pytest.raises(StepError, match="line 2"):
        source("ndjson", {"path": "r.ndjson"}, files=tmp_path)
    told = values(source("ndjson", {"path": "r.ndjson", "bad": "port"}, files=tmp_path))
    assert [out.port for out in told] == ["out", "bad", "out"]
    assert told[1].value["line"] == 2


def test_csv_gives_objects_at_its_rate(tmp_path):
    (tmp_path / "r.csv").write_text('\ufeffname;n\n"a;b";1\nc;2.5\n\nd;x\n', encoding="utf-8")
    config = {"path": "r.csv", "delimiter": ";", "rate": 2}
    told = source("csv", config, files=tmp_path)
    rows = [{"name": "a;b", "n": 1}, {"name": "c", "n": 2.5}, {"name": "d", "n": "x"}]
    assert values(told) == [Out("out", row) for row in rows]
    assert [t for t, _ in told] == [0.0, 0.5, 1.0]


def test_csv_rows_of_another_length_are_bad(tmp_path):
    (tmp_path / "r.csv").write_text("1,2\n3\n")
    config = {"path": "r.csv", "fields": ["a", "b"], "bad": "port", "numbers": False}
    told = values(source("csv", config, files=tmp_path))
    assert told == [
        Out("out", {"a": "1", "b": "2"}),
        Out("bad", {"line": 2, "error": "1 cells, but 2 fields"}),
    ]


def test_a_file_that_is_not_there_is_a_clear_error(tmp_path):
    with pytest.raises(StepError, match="No such file") as told:
        source("ndjson", {"path": "none"}, files=tmp_path)
    assert told.value.code == "file_unreadable"


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "link/x"])
def test_no_path_leads_out_of_the_folder(tmp_path, path):
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="outside of the folder"):
        made("csv", {"path": path}, files=folder)


def test_without_a_folder_nothing_is_read():
    with pytest.raises(ValueError, match="NODEFLOW_FILES"):
        made("file-tail", {"path": "x"})


def test_the_virtual_clock_waits_for_threads(tmp_path):
    (tmp_path / "r.ndjson").write_text("\n".join(map(str, range(1000))))
    told = run_virtual(timed(made("ndjson", {"path": "r.ndjson"}, files=tmp_path)()))
    assert [out.value for out in values(told)] == list(range(1000))

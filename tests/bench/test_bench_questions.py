"""Every question runs at a size that shows nothing; its checks can fail. No time is asserted."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from bench.client import Load, get
from bench.contest import Figures, Options, Table
from bench.contestants.graphing import Flow
from bench.machine import ROOT
from bench.programs import compiler
from bench.search import highest
from bench.server import Broken, tree
from hypothesis import given
from hypothesis import strategies as st

from bench import catchup, fanout, memory, shortruns, steady, streams
from tests.bench.test_bench_runs import Blocks, event

needs_cc = pytest.mark.skipif(compiler() is None, reason="the load client is C: needs cc")
pytestmark = [needs_cc, pytest.mark.skipif(sys.platform != "linux", reason="epoll, /proc")]

ASKED = {
    "1, in two requests": (streams.ask, ("Gradio's queue",)),
    "2": (steady.ask, ("Millstream SSE, memory",)),
    "2, highest": (steady.ask_highest, ("limit: bare uvloop",)),
    "3": (fanout.ask, ("Millstream SSE, memory", "nchan")),
    "3, highest": (fanout.ask_highest, ("limit: bare uvloop",)),
    "4": (catchup.ask, ("Millstream SSE, SQLite", "limit")),
    "7": (shortruns.ask, ("HTTP, memory", "embedded, SQLite")),
}


@pytest.mark.parametrize("question", ASKED)
def test_it_runs_and_everything_arrives(question: str) -> None:
    ask, among = ASKED[question]
    complete(ask, among)


def test_question_8_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    small = tuple(level for level in memory.TINY if level.kind in ("idle run", "stopped reader"))
    monkeypatch.setattr(memory, "TINY", small)
    # So few streams may take less than the garbage of their beginning: a slope may be negative.
    table = complete(memory.ask, ("Millstream SSE, memory",), least=-1e9)
    assert len(table.rows) == 2


def complete(
    ask: Callable[[Options], Table], among: tuple[str, ...], *, least: float = 0.0
) -> Table:
    """Ask; every contestant that is there has its figures. Leaves no process behind."""
    before = set(tree(os.getpid()))
    table = ask(Options(rounds=1, size="tiny", among=among))
    assert table.rows
    for row in table.rows:
        assert row.rounds or "not installed" in (row.missing or ""), (row.name, row.missing)
        for column in table.columns:
            assert all(figures.get(column.figure, 0) >= least for figures in row.rounds)
    assert set(tree(os.getpid())) <= before
    return table


def test_the_short_form_runs() -> None:
    """`make bench QUICK=1`, smaller still: both its questions, from the command line."""
    among = [f"--among={name}" for name in ("Millstream SSE, memory", "live", "limit: f")]
    words = [sys.executable, "-m", "bench", "--tiny", *among]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for title in ("many streams", "a line of 10 nodes", "a diamond", "10,000 messages/s"):
        assert title in done.stdout


# --- the checks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["missing", "twice", "swapped", "altered"])
@pytest.mark.parametrize("shape", ["line", "diamond"])
def test_a_graph_that_loses_or_mixes_up_messages_is_seen(shape: str, fault: str) -> None:
    flow = Flow(shape, 4)
    right = [x * 4 + 10 if shape == "diamond" else x + 10 for x in flow.numbers()]
    wrong = {
        "missing": right[:-1],
        "twice": [*right, right[-1]],
        "swapped": [right[1], right[0], *right[2:]],
        "altered": [right[0] + 8, *right[1:]],
    }[fault]
    sink = flow.sink()
    for out in wrong:
        sink(out)
    with pytest.raises(SystemExit, match="came out, or out of order"):
        flow.figures()


@given(st.integers(0, 40), st.integers(0, 40))
def test_the_highest_rate_is_the_last_one_that_holds(rates: int, held: int) -> None:
    tried: list[float] = []

    def at(rate: float) -> Figures:
        tried.append(rate)
        return {"rate": rate}

    found = highest(range(rates), at, lambda figures: figures["rate"] < held)
    wanted = min(rates, held)
    assert found == ({"rate": wanted - 1} if wanted else None)
    assert len(tried) <= rates.bit_length()


def test_every_answer_on_an_open_connection_is_checked(tmp_path: Path) -> None:
    whole = "".join([event(1), event(2, "run.completed")]).encode()
    torn = event(1).encode()
    with Kept(whole) as port, loading(port, tmp_path) as load:
        told = load.finish()
        assert (told["answered"], told["done_count"], told["events"]) == (6, 6, 6)
    with (
        Kept(torn) as port,
        loading(port, tmp_path) as load,
        pytest.raises(Broken, match="terminal"),
    ):
        load.finish()


def loading(port: int, folder: Path) -> Load:
    return Load(get("/"), port, folder, connections=2, events=1, repeat=6, timeout=5)


class Kept(Blocks):
    """Answers every request on a connection that stays open, with a body of known length."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body, len(body))

    async def _answer(self, reader, writer) -> None:
        body = self._chunks[0]
        while await reader.readline():
            while (await reader.readline()).strip():
                pass
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()

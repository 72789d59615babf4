"""The suite's pieces run, and its checks can fail. No time is asserted."""

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from bench.__main__ import chosen
from bench.client import Load, get
from bench.contest import Options, Table
from bench.machine import ROOT
from bench.programs import compiler
from bench.report import as_markdown
from bench.server import Broken

from bench import appends, fanout, steady, streams

needs_cc = pytest.mark.skipif(compiler() is None, reason="the load client is C: needs cc")
pytestmark = [needs_cc, pytest.mark.skipif(sys.platform != "linux", reason="epoll, /proc")]
TINY = Options(rounds=1, size="tiny")


def ours(table: Table) -> list[str]:
    return [row.name for row in table.rows if row.kind == "ours" and row.rounds]


def test_question_1_runs_and_every_stream_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = ("Millstream SSE, memory", "limit: C, ready bytes")
    some = [c for c in streams.contestants() if c.name in kept]
    monkeypatch.setattr(streams, "contestants", lambda: some)

    table = streams.ask(TINY)

    assert ours(table) == ["Millstream SSE, memory"] * len(streams.TINY)
    for row in table.rows:
        assert row.missing is None
        assert all(figures["events_per_second"] > 0 for figures in row.rounds)
    assert "Millstream SSE, memory" in as_markdown(
        table, {"date": "2026-11-20", "machine": MACHINE}
    )


@pytest.mark.parametrize("wire", ["SSE", "NDJSON", "WebSocket"])
def test_every_wire_is_understood(wire: str, monkeypatch: pytest.MonkeyPatch) -> None:
    some = [c for c in streams.contestants() if c.name == f"Millstream {wire}, SQLite"]
    monkeypatch.setattr(streams, "contestants", lambda: some)
    monkeypatch.setattr(streams, "TINY", (streams.Level(2, 300),))
    monkeypatch.setattr(streams, "_in_quick", lambda _: True)

    (row,) = streams.ask(TINY).rows

    assert row.missing is None
    assert row.rounds[0]["events"] == 600


def test_question_5_runs_and_the_disk_has_everything() -> None:
    table = appends.ask(TINY)
    assert ours(table) == ["Millstream's journal, SQLite"] * len(appends.TINY)


def test_the_command_says_what_questions_there_are() -> None:
    words = [sys.executable, "-m", "bench", "--only", "99"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "there is no question 99; there are 1-streams, 2-steady" in done.stderr


def test_questions_and_their_parts_are_asked_by_name() -> None:
    assert chosen("2") == [steady.ask, steady.ask_highest]
    assert chosen("3-highest, 1") == [streams.ask, fanout.ask_highest]
    assert len(chosen("")) == 11


def event(seq: int, type: str = "step.partial") -> str:
    return f'data: {{"run":"r","seq":{seq},"type":"{type}","data":1}}\n\n'


END = "run.completed"
WRONG = {
    "a gap": ([event(1), event(3), event(4, END)], "gaps"),
    "a repetition": ([event(1), event(1), event(2, END)], "gaps"),
    "no end": ([event(1), event(2)], "terminal"),
    "too few": ([event(1), event(2, END)], "number"),
    "more behind the end": ([event(1), event(2), event(3, END), event(4, "step.result")], "after"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_the_load_client_sees_what_is_wrong(fault: str, tmp_path: Path) -> None:
    blocks, complaint = WRONG[fault]
    with pytest.raises(Broken, match=complaint):
        loaded(blocks, tmp_path)


@pytest.mark.parametrize("cut", [1, 7, 4096])
def test_the_load_client_reads_events_however_they_are_cut(cut: int, tmp_path: Path) -> None:
    blocks = [event(1), ": beat\n\n", event(2), event(3, END).replace("\n", "\r\n")]
    told = loaded(blocks, tmp_path, cut=cut)
    assert (told["events"], told["messages"], told["failures"]) == (4, 6, 0)


def loaded(blocks: list[str], folder: Path, *, cut: int = 4096) -> dict[str, int]:
    """What the load client says of a server that sends these blocks."""
    with Blocks("".join(blocks).encode(), cut) as port:
        return Load(get("/"), port, folder, connections=2, events=2, timeout=5).finish()


class Blocks:
    """A server in a thread that answers everything with the same chunked body."""

    def __init__(self, body: bytes, cut: int) -> None:
        self._chunks = [body[at : at + cut] for at in range(0, len(body), cut)]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> int:
        self._thread.start()
        start = asyncio.start_server(self._answer, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result(5)
        return self._server.sockets[0].getsockname()[1]

    def __exit__(self, *_: object) -> None:
        async def stop() -> None:
            self._server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await self._send(writer, self._chunks)
        writer.close()
        await writer.wait_closed()

    async def _send(self, writer: asyncio.StreamWriter, chunks: list[bytes]) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for chunk in chunks:
            writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(b"0\r\n\r\n")


MACHINE = {"cores": 2, "cpu": "x", "kernel": "6", "load_average_before": [0.0]}

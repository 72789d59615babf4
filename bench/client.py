"""Drives `bench/load/load.c`: what to ask, and what came back, checked."""

import json
import os
import select
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.programs import built
from bench.server import Broken, on_load_core

WORDS = ("holding", "ready", "window", "over")
"""What the load client says while it works."""


@dataclass(frozen=True)
class Then:
    """The second request, on the same connection: "{id}" in it is that field of the first answer's
    JSON. Times count from the first request."""

    field: str
    request: str


@dataclass(frozen=True)
class Asked:
    """One kind of request. `request` is the bytes of it; `frame` what a WebSocket sends first;
    `then` the request that brings the stream, where it takes two; `only` the kind ("event:") of the
    blocks that bring the log's events, where the wire is SSE and has others beside them."""

    wire: str
    request: str
    frame: str | None = None
    then: Then | None = None
    only: str | None = None


def get(path: str, accept: str = "text/event-stream", wire: str = "sse") -> Asked:
    """A GET."""
    return Asked(wire, f"GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\n\r\n")


def post(path: str, body: Any, accept: str, wire: str) -> Asked:
    """A POST of JSON."""
    text = json.dumps(body)
    return Asked(
        wire,
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(text)}\r\n\r\n{text}",
    )


def websocket(path: str, frame: Any = None) -> Asked:
    """A WebSocket that sends one frame, if any, when it is open."""
    return Asked(
        "websocket",
        f"GET {path} HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n",
        None if frame is None else json.dumps(frame),
    )


@dataclass(frozen=True)
class Window:
    """The part of a load that is measured, in seconds from its beginning."""

    after: float
    length: float


class Load:
    """The load client as a process of its own, on its own core.

    Its words are in `load.c`: `gate` tells `wait("ready")` when everything is open, and counts
    from there; `repeat` is how many requests in all go out, one after the other a connection.
    """

    def __init__(
        self,
        asked: Asked,
        port: int,
        folder: Path,
        *,
        connections: int,
        events: int = 0,
        timeout: float = 120.0,
        stamps: bool = False,
        hold: bool = False,
        stop_after: int = 0,
        spread: float = 0.0,
        window: Window | None = None,
        gate: bool = False,
        until_terminal: bool = False,
        repeat: int = 0,
        event: str = "",
    ) -> None:
        request = folder / "request"
        request.write_bytes(asked.request.encode())
        words = [str(built("load/load.c")), "--port", str(port), "--request", str(request)]
        words += ["--wire", asked.wire, "--connections", str(connections)]
        words += ["--events", str(events), "--timeout", str(timeout)]
        words += ["--frame", asked.frame] if asked.frame else []
        words += ["--only", asked.only] if asked.only else []
        if asked.then:
            then = folder / "then"
            then.write_bytes(asked.then.request.encode())
            words += ["--then", str(then), "--field", asked.then.field]
        words += ["--stop-after", str(stop_after)] if stop_after else []
        words += ["--spread", str(spread)] if spread else []
        words += ["--window", f"{window.after}:{window.length}"] if window else []
        words += ["--repeat", str(repeat)] if repeat else []
        words += ["--event", event] if event else []
        flags = {"stamps": stamps, "hold": hold, "gate": gate, "until-terminal": until_terminal}
        words += [f"--{name}" for name, given in flags.items() if given]
        self._until = time.monotonic() + timeout + 30
        self._errors = (folder / "load.err").open("w+b")
        self._said = b""
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            preexec_fn=on_load_core,
        )

    def __enter__(self) -> "Load":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait(self, word: str) -> None:
        """Until it says so: "holding" (all is open, or has stopped reading), "ready", "window",
        "over"."""
        line = self._line()
        if line != word:
            raise Broken(f"the load client did not say {word!r}: {line[-300:]} {self._complaint()}")

    def finish(self) -> dict[str, Any]:
        """What it counted. Raises Broken where anything was wrong."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(b"\n")
            self.process.stdin.close()
        except OSError:  # it has ended, and said why
            pass
        try:
            line = self._line()
            while line in WORDS:
                line = self._line()
            if not line:
                raise Broken(f"the load client failed: {self._complaint()}")
        finally:
            self.close()
        told = json.loads(line)
        if told["failures"]:
            raise Broken(f"{told['complaint']} ({told['failures']} of {told['connections']})")
        return told

    def close(self) -> None:
        """End it, whatever it is doing."""
        if self.process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(0.5)  # it has told everything, and is about to
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self._errors):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _line(self) -> str:
        assert self.process.stdout is not None
        while b"\n" not in self._said:
            left = self._until - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                self.process.kill()
                raise Broken("the load client hung")
            read = os.read(self.process.stdout.fileno(), 65536)
            if not read:
                break
            self._said += read
        line, _, self._said = self._said.partition(b"\n")
        return line.decode().strip()

    def _complaint(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode("utf-8", "replace").strip()

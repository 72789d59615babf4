"""Drives `bench/load/load.c`: what to ask, and what came back, checked."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.machine import LOAD_CORE
from bench.programs import built
from bench.server import Broken


@dataclass(frozen=True)
class Asked:
    """One kind of request. `request` is the bytes of it; `frame` what a WebSocket sends first."""

    wire: str
    request: str
    frame: str | None = None


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


def websocket(path: str, frame: Any) -> Asked:
    """A WebSocket that sends one frame when it is open."""
    return Asked(
        "websocket",
        f"GET {path} HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n",
        json.dumps(frame),
    )


class Load:
    """The load client as a process of its own, on its own core."""

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
    ) -> None:
        request = folder / "request"
        request.write_bytes(asked.request.encode())
        words = [str(built("load/load.c")), "--port", str(port), "--request", str(request)]
        words += ["--wire", asked.wire, "--connections", str(connections)]
        words += ["--events", str(events), "--timeout", str(timeout)]
        words += ["--frame", asked.frame] if asked.frame else []
        words += ["--stamps"] if stamps else []
        words += ["--hold"] if hold else []
        words += ["--stop-after", str(stop_after)] if stop_after else []
        self.timeout = timeout
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {LOAD_CORE}),
        )

    def wait_until_held(self) -> None:
        """Until every connection is open, or has stopped reading."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if line.strip() != "holding":
            raise Broken(f"the load client did not hold: {line} {self._errors()}")

    def finish(self) -> dict[str, Any]:
        """What it counted. Raises Broken where anything was wrong."""
        try:
            out, err = self.process.communicate("\n", timeout=self.timeout + 30)
        except subprocess.TimeoutExpired as error:
            self.process.kill()
            raise Broken("the load client hung") from error
        if not out.strip():
            raise Broken(f"the load client failed: {err.strip()}")
        told = json.loads(out.strip().splitlines()[-1])
        if self.process.returncode:
            raise Broken(f"{told['complaint']} ({told['failures']} of {told['connections']})")
        return told

    def _errors(self) -> str:
        self.process.kill()
        return self.process.communicate()[1].strip()

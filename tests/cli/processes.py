"""The command as a process, for tests. Nothing here waits for ever: what does not come within
BOUND seconds fails, with what came until then.
"""

import codecs
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pytest

HERE = Path(__file__).parent

BOUND = 60.0
"""Seconds: a machine may be slow, but not that slow."""

MILLSTREAM = [sys.executable, "-m", "millstream"]


class Said(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def lines(self):
        return self.out.splitlines()

    @property
    def progress(self):
        return self.err.splitlines()


class Output:
    """What comes out of a file descriptor (ours to close), read at once by a thread of its own."""

    def __init__(self, fd: int) -> None:
        self._fd, self._text, self._ended = fd, "", False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            while chunk := os.read(self._fd, 65536):
                with self._changed:
                    self._text += decoder.decode(chunk)
                    self._changed.notify_all()
        except OSError:  # Linux: nobody has the terminal's other end any more
            pass
        finally:
            os.close(self._fd)
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    @property
    def text(self) -> str:
        with self._changed:
            return self._text

    def wait(self, for_what: Callable[[str], Any], seconds: float) -> bool:
        """False: it did not come in time, or can come no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or for_what(self._text), seconds)
            return bool(for_what(self._text))

    def wait_end(self, seconds: float) -> bool:
        self._thread.join(seconds)
        return self._ended


class Spawned:
    """A process, and what it says. `terminals`: which of its outputs are one (each its own)."""

    def __init__(self, command: list[str], terminals: tuple[str, ...] = (), **options: Any) -> None:
        self.outputs: dict[str, Output] = {}
        theirs: dict[str, int] = {}
        for name in ("stdout", "stderr"):
            if name not in options:
                ours, theirs[name] = os.openpty() if name in terminals else os.pipe()
                self.outputs[name] = Output(ours)
        try:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, cwd=HERE, **theirs, **options
            )
        finally:
            for fd in theirs.values():
                os.close(fd)

    def until(self, line: str, name: str = "stderr") -> str:
        """Wait until it says that line there. All of what it has said there."""
        output = self.outputs[name]
        if not output.wait(lambda text: line in text.splitlines(), BOUND):
            self._fail(f"no line {line!r} on {name}")
        return output.text

    def first_line(self, name: str = "stderr") -> str:
        output = self.outputs[name]
        if not output.wait(lambda text: "\n" in text, BOUND):
            self._fail(f"no line on {name}")
        return output.text.splitlines()[0]

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def ended(self) -> Said:
        """Wait for its end: its status, and all that it said."""
        until = time.monotonic() + BOUND
        for name, output in self.outputs.items():
            if not output.wait_end(max(0, until - time.monotonic())):
                self._fail(f"{name} has not ended")
        try:
            status = self.process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._fail("it has not ended")
        texts = {name: output.text for name, output in self.outputs.items()}
        return Said(status, texts.get("stdout", ""), texts.get("stderr", ""))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(BOUND)

    def _fail(self, what: str) -> NoReturn:
        said = "".join(f"\n{name}: {output.text!r}" for name, output in self.outputs.items())
        status = self.process.poll()
        pytest.fail(f"{what} (waited up to {BOUND:g} s; exit status {status}); so far:{said}")

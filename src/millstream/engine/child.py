"""Engine, parent side: one process of a pool, and the thread that attends to it.

The attendant starts the process, reads what it says, and sees it out; all that others call here
runs in the event loop. Knows no pool, no calls and no runs.
"""

import asyncio
import os
import pickle
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import wait
from threading import Lock, Thread
from typing import Any, Final, Literal

from msgspec import Struct

from millstream.engine import process_child
from millstream.engine.process_child import ACK, END, PARTIALS, described
from millstream.errors import ExecutorCrashed, StepError

SMALL: Final = 32 * 1024  # bytes that a socket takes at once; more is written by a thread
GRACE: Final = 1.0  # seconds a process has to end by itself, or by SIGTERM, before SIGKILL
PATIENCE: Final = 10.0  # seconds to wait for the kernel to end a process that was killed

Message = tuple[Any, ...]
StartMethod = Literal["spawn", "forkserver"]

_registry = Lock()  # multiprocessing keeps its children in a set that has no lock


class Problem(Struct, frozen=True):
    """Why a process never became ready."""

    kind: Literal["warmup_failed", "executor_crashed", "executor_closed"]
    text: str
    trace: str | None = None

    def error(self, what: str) -> StepError:
        """As an error, for `what` wanted the process."""
        message = f"{what}: {self.text}"
        if self.kind == "executor_crashed":
            return ExecutorCrashed(message)
        again = self.kind == "executor_closed"
        error = StepError(message, code=self.kind, retryable=again)
        if self.trace:
            error.add_note(self.trace)
        return error


class Child:
    """One process, as the event loop sees it, and its attendant.

    Messages reach `hear` in the loop in the order in which the process sent them; the last one of
    all is ("gone", how it ended).
    """

    def __init__(
        self, method: StartMethod, warm: bytes, hear: Callable[["Child", Message], None]
    ) -> None:
        self._loop, self._hear = asyncio.get_running_loop(), hear
        self.inbox: asyncio.Queue[Message] = asyncio.Queue()
        self.ready: asyncio.Future[Problem | None] = self._loop.create_future()
        self.gone: asyncio.Future[None] = self._loop.create_future()
        self.doomed = False
        self._taken_in = 0
        context = get_context("spawn") if method == "spawn" else get_context("forkserver")
        self._ours, theirs = context.Pipe()
        self._plug = socket.socket(fileno=os.dup(self._ours.fileno()))
        self._writing = Lock()
        self._process = context.Process(
            target=process_child.main, args=(theirs, warm), name="millstream-step", daemon=True
        )
        self.attendant = Thread(
            target=self._attend, args=(theirs.close,), name="millstream-attendant", daemon=True
        )
        self.attendant.start()

    # in the event loop

    async def put(self, frame: bytes, writers: ThreadPoolExecutor) -> None:
        """Write a frame without holding the loop. Of a process that is gone, `hear` tells."""
        if len(frame) <= SMALL:
            self._write(frame)
        else:
            await self._loop.run_in_executor(writers, self._write, frame)

    def took_in(self) -> None:
        """One message was handed on: let the process know now and then, before it must wait."""
        self._taken_in += 1
        if self._taken_in == PARTIALS // 2:
            self._write(ACK + bytes([self._taken_in]))
            self._taken_in = 0

    def begin(self) -> None:
        """A new call: the process counts anew as well."""
        self._taken_in = 0

    def end(self) -> None:
        """Ask it to end after the call it has."""
        self._write(END)

    def kill(self) -> None:
        """End it, whatever it does; returns at once. The attendant does the waiting."""
        self.doomed = True
        self._unplug()

    # in any thread

    def _write(self, frame: bytes) -> None:
        with self._writing, suppress(OSError):
            self._ours.send_bytes(frame)

    def _unplug(self) -> None:
        # Whoever reads or writes the connection wakes, here as there. (Closing would not wake
        # them, and would free the number of the descriptor for another file.)
        with suppress(OSError):
            self._plug.shutdown(socket.SHUT_RDWR)

    # in the attendant

    def _attend(self, close_theirs: Callable[[], None]) -> None:
        problem = None
        try:
            self._start()
            close_theirs()  # so that the end of the process is the end of the stream
            while True:
                self._tell(self._read())
        except EOFError:
            pass
        except Exception as error:  # OSError: no more processes; RuntimeError: the loop is closed
            problem = described(error)
            self.doomed = True
        close_theirs()
        how = self._see_out() or f"could not be started ({problem})"
        with suppress(RuntimeError):
            self._tell(("gone", how))

    def _start(self) -> None:
        # Ctrl-C is blocked here and so, by inheritance, in the child until it can ignore it. The
        # tracker comes first: starting it unblocks the signal.
        if self.doomed:
            raise EOFError
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        with _registry:
            self._process.start()

    def _read(self) -> Message:
        try:
            frame = self._ours.recv_bytes()
        except OSError as error:  # reset: it died with something of ours unread
            raise EOFError from error
        try:
            return pickle.loads(frame)
        except Exception as error:
            return ("garbled", described(error))

    def _tell(self, message: Message) -> None:
        self._loop.call_soon_threadsafe(self._hear, self, message)

    def _see_out(self) -> str | None:
        """Wait for the process to end, with force if need be; free all it held."""
        self._unplug()
        with self._writing:  # a writer, if any, has just been woken
            self._ours.close()
            self._plug.close()
        process = self._process
        if process.pid is None:
            return None
        if self.doomed and not wait([process.sentinel], 0):
            process.terminate()
        if not wait([process.sentinel], GRACE):
            process.kill()
            wait([process.sentinel], GRACE)
        with _registry:
            process.join()
            code = process.exitcode
            with suppress(ValueError):  # somebody else waited for it: its exit code is lost
                process.close()
        return ending(code)


def ending(code: int | None) -> str:
    """How a process ended, for people, by its exit code."""
    if code is None:
        return "ended, nobody knows how"
    if code >= 0:
        return f"exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")

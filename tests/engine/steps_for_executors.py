"""Steps for the executors' tests: module-level, so that a child process can import them."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from millstream.context import Context
from millstream.errors import StepError


class Ear:
    """An Emit that notes what it hears. While `gate` is shut, partials wait."""

    def __init__(self, *, shut: bool = False) -> None:
        self.heard: list = []
        self.gate, self.news = asyncio.Event(), asyncio.Event()
        self.broken: Exception | None = None
        if not shut:
            self.gate.set()

    async def partial(self, value) -> None:
        self.news.set()
        await self.gate.wait()
        if self.broken:
            raise self.broken
        self.heard.append(value)

    def send(self, type: str, data) -> None:
        self.heard.append((type, data))
        self.news.set()

    async def something(self) -> None:
        """Wait for the next news, with a bound."""
        await asyncio.wait_for(self.news.wait(), 20)
        self.news.clear()


def add(a, b):
    return a + b


def count(n: int) -> Iterator[int]:
    yield from range(n)


def size(data: bytes) -> int:
    return len(data)


def make(n: int) -> bytes:
    return b"x" * n


def setting(name: str) -> str | None:
    return os.environ.get(name)


def pid() -> int:
    return os.getpid()


def speak(context: Context, n: int) -> str:
    for i in range(n):
        context.emit("app.number", i)
    return "done"


def mixed(context: Context, n: int) -> Iterator[int]:
    for i in range(n):
        context.emit("app.number", i)
        yield i
    context.emit("app.end")


def produce(path: str, n: int) -> Iterator[int]:
    """Write a byte into the FIFO at `path` before each value."""
    with open(path, "wb", buffering=0) as fifo:
        for i in range(n):
            fifo.write(b".")
            yield i


def hang(context: Context) -> None:
    context.emit("app.pid", os.getpid())
    threading.Event().wait()


def hang_hard(context: Context) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    hang(context)


def die(how: str) -> None:
    if how == "exit":
        os._exit(3)
    os.kill(os.getpid(), getattr(signal, how))
    threading.Event().wait()


def yield_and_die() -> Iterator[int]:
    yield 1
    yield 2
    os.kill(os.getpid(), signal.SIGKILL)


class TwoWords(Exception):
    """Can be pickled, but not made again: `args` holds one."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


def fail(kind: str) -> None:
    if kind == "value":
        error = ValueError("bad value")
        error.add_note("a note of the step's")
        raise error
    if kind == "step":
        raise StepError("not HTML", code="not_html", retryable=False)
    if kind == "exit":
        sys.exit(7)
    raise TwoWords("hello", "world")


def lock() -> object:
    return threading.Lock()


def yield_lock() -> Iterator[object]:
    yield 1
    yield threading.Lock()


def send_lock(context: Context) -> None:
    context.emit("app.lock", threading.Lock())


class Unreadable:
    """Comes to pieces wherever it is unpickled."""

    def __reduce__(self):
        return int, ("not a number",)


def unreadable() -> Unreadable:
    return Unreadable()


def yield_unreadable() -> Iterator[Unreadable]:
    yield Unreadable()
    threading.Event().wait()


_late: list[threading.Thread] = []
_go = threading.Event()


def leave_a_thread(context: Context) -> None:
    """A thread that outlives the call and speaks when the next call lets it."""

    def late() -> None:
        _go.wait()
        context.emit("app.late")

    _late.append(threading.Thread(target=late))
    _late[-1].start()


def hear_the_thread() -> str:
    _go.set()
    _late[-1].join()
    return "joined"


def clock(context: Context) -> tuple[float | None, bool]:
    return context.remaining(), context.cancelled


def ignores_interrupt() -> bool:
    os.kill(os.getpid(), signal.SIGINT)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    return signal.getsignal(signal.SIGINT) is signal.SIG_IGN and signal.SIGINT not in blocked


def say(text: str) -> None:
    print(text, flush=True)


async def coroutine() -> None: ...


def original() -> int:
    return 1


replaced = original
globals()["original"] = len  # what a decorator that returns something else does


warmed = 0


def warm() -> None:
    global warmed
    warmed += 1


def how_warm() -> tuple[int, int]:
    return warmed, os.getpid()


def warm_badly() -> None:
    raise FileNotFoundError("model.onnx")


def warm_by_dying() -> None:
    os._exit(9)


def warm_by_fifo() -> None:
    """Says that it began, then waits to be let go, over FIFOs whose folder the test sets."""
    folder = Path(os.environ["MILLSTREAM_TEST_FIFOS"])
    (folder / "began").write_bytes(b".")
    (folder / "go").read_bytes()


warm_without_end = signal.pause

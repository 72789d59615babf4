"""Engine, child side: what runs inside each process of the pool. It starts fast: few imports.

Takes calls from a connection, one after another, and sends home what each gives. May touch that
connection and its own process; knows no event loop, no pool, no run, and not why a call is made.

Frames from the parent: a pickled call; ACK and a count of messages taken in; END (empty).
Frames to the parent: pickled tuples whose first element is one of
ready, unwarmed, partial, send | done, failed, unreadable (these three end a call).
"""

import os
import pickle
import signal
from collections.abc import Callable
from contextlib import closing
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from threading import Lock, Thread
from time import monotonic
from types import GeneratorType
from typing import Any, Final

from millstream.context import Context, Facts
from millstream.errors import StepError

ACK: Final = b"a"  # a pickle never begins with it
END: Final = b""
PARTIALS: Final = 8  # messages that may be on their way when a generator yields another value
SENDS: Final = 64  # … and when a step sends an event; the parent takes those in without waiting
ONE_CORE: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""What numeric libraries go by when they are loaded. There is a process for each core: were each to
compute in as many threads, these would mostly wait for one another."""

Work = tuple[Callable[..., Any], dict[str, Any], Facts, str | None, float]


def packed(message: object, step: str, what: str, value: object) -> bytes:
    """`message` as bytes. Raises StepError `not_picklable`, saying that `value` is why."""
    try:
        return pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise StepError(
            f"step {step!r}: {what}, a {type(value).__qualname__}, cannot travel between "
            f"processes: {error}",
            code="not_picklable",
            retryable=False,
        ) from error


def described(error: BaseException) -> str:
    """`TypeName: text`."""
    return f"{type(error).__name__}: {error}"


def main(connection: Connection, warm: bytes) -> None:
    """A child's whole life. `warm` is the pickled warm-up function, or None pickled."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    Thread(target=_end_with_parent, daemon=True).start()
    for name in ONE_CORE:
        os.environ.setdefault(name, "1")
    try:
        if _warmed(connection, warm):
            _serve(connection)
    except (EOFError, ConnectionError):
        pass  # the parent is gone, or wants this process gone


def _end_with_parent() -> None:
    # A step may be busy for hours and look at no pipe; this thread does. (One that holds the GIL
    # throughout delays it until it lets go.)
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _warmed(connection: Connection, warm: bytes) -> bool:
    try:
        function = pickle.loads(warm)
        if function is not None:
            function()
    except BaseException as error:
        connection.send_bytes(pickle.dumps(("unwarmed", described(error), _trace(error))))
        return False
    connection.send_bytes(pickle.dumps(("ready",)))
    return True


def _serve(connection: Connection) -> None:
    while (frame := connection.recv_bytes()) != END:
        if not frame.startswith(ACK) and not _perform(connection, frame):  # an ACK is of old
            return


def _perform(connection: Connection, frame: bytes) -> bool:
    """One call, from its frame to its last message. Returns whether to go on serving."""
    try:
        work: Work = pickle.loads(frame)
    except BaseException as error:  # importing the step's module runs its code
        connection.send_bytes(pickle.dumps(("unreadable", described(error), _trace(error))))
        return True
    home = _Home(connection, work[2].step)
    try:
        home.end(_called(work, home))
    except BaseException as error:
        home.fail(error)
    return not home.ending


def _called(work: Work, home: "_Home") -> Any:
    function, arguments, facts, context, parents_now = work
    if context is not None:
        ahead = parents_now - monotonic()  # the parent's clock goes on here
        arguments[context] = Context(
            facts, send=home.send, stopped=home.shut, now=lambda: ahead + monotonic()
        )
    value = function(**arguments)
    if not isinstance(value, GeneratorType):
        return value
    with closing(value):
        for each in value:
            home.partial(each)
    return None


class _Home:
    """One call's way home: ordered, and bounded by what the parent has taken in.

    It is shut when the call ends, so that a thread the step left behind cannot speak into the next.
    """

    def __init__(self, connection: Connection, step: str) -> None:
        self._connection, self._step = connection, step
        self._lock = Lock()  # a step's own threads may use its Context
        self._under_way, self._shut = 0, False
        self.ending = False

    def shut(self) -> bool:
        """Whether the call has ended. (A cancelled one is killed; it cannot ask.)"""
        return self._shut

    def partial(self, value: Any) -> None:
        """Send a yielded value, once there is room."""
        self._post(packed(("partial", value), self._step, "a value it yields", value), PARTIALS)

    def send(self, type: str, data: Any) -> None:
        """Send an event, once there is room."""
        self._post(packed(("send", type, data), self._step, f"the data of {type!r}", data), SENDS)

    def end(self, value: Any) -> None:
        """The call's result; nothing follows."""
        self._last(packed(("done", value), self._step, "its result", value))

    def fail(self, error: BaseException) -> None:
        """The call's failure, with the traceback as the last of its notes; nothing follows."""
        notes = [*getattr(error, "__notes__", ()), _trace(error)]
        self._last(pickle.dumps(("failed", _portable(error), notes), pickle.HIGHEST_PROTOCOL))

    def _post(self, frame: bytes, room: int) -> None:
        with self._lock:
            if self._shut:
                return
            try:
                while self._under_way >= room:
                    self._take_ack()
                self._connection.send_bytes(frame)
            except (EOFError, OSError):
                os._exit(1)  # nobody is there any more; the step shall not handle that
            self._under_way += 1

    def _take_ack(self) -> None:
        frame = self._connection.recv_bytes()
        if frame == END:
            self.ending = True  # after this call
        else:
            self._under_way -= frame[1]

    def _last(self, frame: bytes) -> None:
        with self._lock:
            self._shut = True
            self._connection.send_bytes(frame)


def _portable(error: BaseException) -> Exception:
    """`error` itself where the parent can make it again, else a StepError that tells of it."""
    if isinstance(error, Exception):
        try:
            if type(pickle.loads(pickle.dumps(error))) is type(error):
                return error
        except Exception:  # such as an __init__ that wants more than `args` has
            pass
    if isinstance(error, StepError):
        return StepError(described(error), code=error.code, retryable=error.retryable)
    return StepError(described(error))


def _trace(error: BaseException) -> str:
    from traceback import format_exception  # late: few calls fail

    return "in the process:\n" + "".join(format_exception(error)).rstrip()

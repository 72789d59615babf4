"""A contestant's server process: started on its core, watched through /proc, ended."""

import ctypes
import os
import re
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.machine import LOAD_CORE, ROOT, SERVER_CORE
from bench.node import FOLDER as NODE

PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)
TICKS = os.sysconf("SC_CLK_TCK")
STARTS_WITHIN = 60.0
"""Seconds. The slowest imports some thousand modules, and others may be at work on its core."""


class Broken(Exception):
    """A contestant that did not start, or whose events were wrong."""


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(more: dict[str, str] | None = None) -> dict[str, str]:
    """Of a contestant's process: it finds our modules and node's packages, and writes no bytecode
    beside them."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    found = {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "BENCH_NODE": str(NODE)}
    return {**os.environ, **found, **(more or {})}


def on_server_core() -> None:
    """In a child, before it becomes a contestant."""
    os.sched_setaffinity(0, {SERVER_CORE})
    _ready_child()


def on_load_core() -> None:
    """In a child, before it becomes a client."""
    os.sched_setaffinity(0, {LOAD_CORE})
    _ready_child()


def _ready_child() -> None:
    """As many files as it may have; and it is told to end where we die (see prctl(2))."""
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class Server:
    """`with Server(command, port, folder) as server:`; runs on the server's core alone."""

    def __init__(
        self, command: Sequence[str], port: int, folder: Path, env: dict[str, str] | None = None
    ) -> None:
        self.command, self.port, self.folder = list(command), port, folder
        self.env = environment(env)

    def __enter__(self) -> "Server":
        self.log = (self.folder / "server.log").open("wb")
        self.process = subprocess.Popen(
            self.command,
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            preexec_fn=on_server_core,
        )
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        tree = self.tree()
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
        for pid in tree[1:]:  # children that outlived it
            if _stat(pid):
                os.kill(pid, 9)
        self.log.close()

    def _wait(self) -> None:
        until = time.monotonic() + STARTS_WITHIN
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise Broken(f"{self.command[0]} ended at once: {self.said()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.5).close()
                return
            except OSError:
                time.sleep(0.05)
        raise Broken(f"{self.command[0]} did not listen within {STARTS_WITHIN:g} s: {self.said()}")

    def said(self) -> str:
        """The end of what it printed."""
        return (self.folder / "server.log").read_text("utf-8", "replace")[-600:].strip()

    def tree(self) -> list[int]:
        """Its process and all below it."""
        return tree(self.process.pid)

    def cpu_seconds(self) -> float:
        """User and system time of the tree so far."""
        return sum(cpu_seconds(pid) for pid in self.tree())

    def rss(self) -> int:
        """Resident bytes of the tree."""
        return sum(_rollup(pid, "Rss") for pid in self.tree())

    def pss(self) -> int:
        """Resident bytes of the tree, shared ones counted once."""
        return sum(_rollup(pid, "Pss") for pid in self.tree())


def tree(root: int) -> list[int]:
    """A process and all below it."""
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (stat := _stat(int(name))):
            parents.setdefault(int(stat[1]), []).append(int(name))
    found = [root]
    for pid in found:
        found += parents.get(pid, [])
    return found


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat behind the name (state, ppid, …); none where it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process, those that have ended too. From its CPU
    clock, to the nanosecond: /proc/<pid>/stat counts in steps of 10 ms, and the fastest contestant
    is done in three of them."""
    try:
        return time.clock_gettime((~pid << 3) | 2)  # CPUCLOCK_SCHED, see clock_getcpuclockid(3)
    except OSError:
        stat = _stat(pid)
        return (int(stat[11]) + int(stat[12])) / TICKS if stat else 0.0


def children_seconds() -> float:
    """CPU seconds of the programs that were run here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _rollup(pid: int, field: str) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0


def kernel_bytes(port: int) -> int:
    """What the kernel holds of data in the server's sockets on a port: received and not read,
    queued for sending, set aside for more (`skmem` of ss(8): r, w, f). Not the sockets' own
    structures, nor what lies in the client's."""
    command = ["ss", "-tmnH", f"sport = :{port}"]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = re.findall(r"skmem:\(r(\d+),rb\d+,t\d+,tb\d+,f(\d+),w(\d+)", told)
    return sum(int(each) for fields in found for each in fields)


@contextmanager
def serving(command: Callable[[int, Path], list[str]], folder: Path) -> Iterator[Server]:
    """A server on a free port, in that folder (which is made where it is not there)."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    with Server(command(port, folder), port, folder) as server:
        yield server

"""A contestant's server process: started on its core, watched through /proc, ended."""

import os
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.machine import ROOT, SERVER_CORE

TICKS = os.sysconf("SC_CLK_TCK")


class Broken(Exception):
    """A contestant that did not start, or whose events were wrong."""


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """`with Server(command, port, folder) as server:`; runs on the server's core alone."""

    def __init__(
        self, command: Sequence[str], port: int, folder: Path, env: dict[str, str] | None = None
    ) -> None:
        self.command, self.port, self.folder = list(command), port, folder
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self.env = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **(env or {})}

    def __enter__(self) -> "Server":
        self.log = (self.folder / "server.log").open("wb")
        self.process = subprocess.Popen(
            self.command,
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}),
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
        until = time.monotonic() + 30
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise Broken(f"{self.command[0]} ended at once: {self.said()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.5).close()
                return
            except OSError:
                time.sleep(0.05)
        raise Broken(f"{self.command[0]} did not listen within 30 s: {self.said()}")

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


def _rollup(pid: int, field: str) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0


def sockets_memory() -> dict[str, Any]:
    """What the kernel holds for TCP, in bytes."""
    for line in Path("/proc/net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            words = line.split()
            return {"tcp_bytes": int(words[words.index("mem") + 1]) * 4096}
    return {}

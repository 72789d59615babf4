"""A real server of the decklists system, one for all tests of this folder."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

PROJECT = Path(__file__).resolve().parents[2]
SAMPLES = PROJECT / "examples" / "decks"


def start_server(folder: Path, **environment: str) -> tuple[subprocess.Popen[str], str]:
    """A server process and its address."""
    command = [sys.executable, "-m", "millstream", "serve", "millstream_apps.decklists:app"]
    store = f"sqlite:///{folder}/store.db"
    process = subprocess.Popen(
        [*command, "--port", "0", "--store", store],
        cwd=PROJECT,
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if " at http" in line:
            return process, line.split(" at ")[1].split()[0]
    raise AssertionError(f"the server did not start: {process.wait()}")


def stop_server(process: subprocess.Popen[str]) -> str:
    """Stop it as an operator would; the rest of what it logged."""
    process.terminate()
    _, logged = process.communicate(timeout=30)
    return logged


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process, url = start_server(tmp_path_factory.mktemp("decklists"))
    yield url
    logged = stop_server(process)
    assert "Traceback" not in logged, logged


@pytest.fixture
def http(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=60) as client:
        yield client

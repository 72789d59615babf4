"""A real server of the extract system and a local site that it may crawl, one each for all tests
of this folder.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.extract.local_site import LocalSite

PROJECT = Path(__file__).resolve().parents[2]
SHARED = PROJECT.parent / "shared" / "data"


def start_server(folder: Path, **environment: str) -> tuple[subprocess.Popen[str], str]:
    """A server process and its address."""
    command = [sys.executable, "-m", "millstream", "serve", "millstream_apps.extract:app"]
    process = subprocess.Popen(
        [*command, "--port", "0", "--store", f"sqlite:///{folder}/store.db"],
        cwd=PROJECT,
        env={**os.environ, "EXTRACT_DATA": str(folder / "extract"), **environment},
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
    _, logged = process.communicate(timeout=30)
    return logged


@pytest.fixture(scope="session")
def site() -> Iterator[LocalSite]:
    with LocalSite() as served:
        yield served


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory, site: LocalSite) -> Iterator[str]:
    process, url = start_server(
        tmp_path_factory.mktemp("extract"),
        EXTRACT_ALLOW="127.0.0.1",
        EXTRACT_WORKERS="1",
        STREAM_RATE_LIMIT_ENABLED="false",
        SERPER_API_KEY="a-key-of-the-tests",
        MILLSTREAM_RATE_LIMIT="off",
        SERPER_URL=f"{site.url}/serper",
    )
    yield url
    logged = stop_server(process)
    assert "Traceback" not in logged, logged


@pytest.fixture
def http(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=60) as client:
        yield client

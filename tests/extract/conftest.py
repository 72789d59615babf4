"""A real server of the extract system and a local site that it may crawl, one each for all tests
of this folder.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.extract.local_site import LocalSite
from tests.serving_process import PROJECT, start_server, stop_server

SHARED = PROJECT.parent / "shared" / "data"


def start_extract(folder: Path, **environment: str) -> tuple[subprocess.Popen[str], str]:
    """A server process and its address."""
    environment = {"EXTRACT_DATA": str(folder / "extract"), **environment}
    return start_server("millstream_apps.extract:app", folder, **environment)


@pytest.fixture(scope="session")
def site() -> Iterator[LocalSite]:
    with LocalSite() as served:
        yield served


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory, site: LocalSite) -> Iterator[str]:
    process, url = start_extract(
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

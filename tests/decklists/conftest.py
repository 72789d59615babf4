"""A real server of the decklists system, one for all tests of this folder."""

from collections.abc import Iterator

import httpx
import pytest

from tests.serving_process import PROJECT, start_server, stop_server

APP = "millstream_apps.decklists:app"
SAMPLES = PROJECT / "examples" / "decks"


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process, url = start_server(APP, tmp_path_factory.mktemp("decklists"))
    yield url
    logged = stop_server(process)
    assert "Traceback" not in logged, logged


@pytest.fixture
def http(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=60) as client:
        yield client

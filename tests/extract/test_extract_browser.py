"""Pages made by scripts, over real HTTP, with a real Chromium and without one."""

import os
from pathlib import Path

import httpx
import pytest

from tests.extract.conftest import start_extract
from tests.extract.local_site import LocalSite
from tests.page import browser
from tests.serving_process import stop_server


def test_without_a_browser_it_says_so(http: httpx.Client, site: LocalSite) -> None:
    body = {"urls": [f"{site.url}/app"], "options": {"cache_mode": "off"}}
    found = http.post("/crawl", json=body).json()["results"][0]
    assert found["gate_decision"] == "headless"
    assert "no browser" in found["document"]["notes"][0]
    body = {"urls": [site.page(1)], "options": {"render_mode": "headless"}}
    found = http.post("/crawl", json=body).json()["results"][0]
    assert "EXTRACT_CHROMIUM" in found["document"]["notes"][0]


def test_a_browser_makes_the_page_and_reaches_nothing_itself(
    tmp_path: Path, site: LocalSite
) -> None:
    path = browser.executable()
    if path is None:
        pytest.skip("no Chromium on PATH (or in CHROMIUM): rendering is not tested")
    process, url = start_extract(
        tmp_path,
        EXTRACT_CHROMIUM=path,
        EXTRACT_CHROMIUM_FLAGS="--no-sandbox" if os.geteuid() == 0 else "",
        EXTRACT_ALLOW=f"127.0.0.1:{site.port}",
        EXTRACT_WORKERS="1",
    )
    try:
        urls = [f"{site.url}/app", site.page("plain")]
        answer = httpx.post(f"{url}/crawl", json={"urls": urls}, timeout=60)
    finally:
        logged = stop_server(process)
    assert "Traceback" not in logged, logged
    made, plain = answer.json()["results"]
    assert made["gate_decision"] == "headless"
    assert "page of a script grinds" in made["document"]["text"]
    assert "The secret was kept." in made["document"]["text"]
    assert site.hits["/secret"] == 0
    assert made["document"]["notes"] == []
    assert plain["gate_decision"] == "raw"

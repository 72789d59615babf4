"""The whole system with its real eyes: a command line that fills the catalogue, a server process,
photos of drawn pins. How well it sees is measured by `bench/appraisal.py`, not here.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from examples.pins.drawing import draw
from examples.pins.photographs import photograph

from tests.appraise.conftest import PHONE, by_type, lines
from tests.appraise.drawn import drawn_pin
from tests.appraise.test_appraise_catalogue_routes import form
from tests.serving_process import PROJECT, start_server, stop_server

MILLSTREAM = [sys.executable, "-m", "millstream"]
KNOWN, LATER, UNKNOWN = range(8), 40, 41


def command(folder: Path, *words: str) -> str:
    """One command's output."""
    done = subprocess.run(
        [*MILLSTREAM, "appraise", "catalogue", *words],
        cwd=PROJECT,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def environment(folder: Path) -> dict[str, str]:
    store = f"sqlite:///{folder}/store.db"
    return {**os.environ, "MILLSTREAM_STORE": store, "APPRAISE_WORKERS": "1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the store is; and beside it the catalogue, filled by the command line."""
    found = tmp_path_factory.mktemp("appraise")
    for number in KNOWN:
        front = found / f"pin-{number}.png"
        front.write_bytes(drawn_pin(number))
    rows = [f"p{n},Pin {n},pin-{n}.png" for n in KNOWN]
    listed = found / "pins.csv"
    listed.write_text("\n".join(["id,name,front", *rows[1:]]) + "\n")
    assert "7 added" in command(found, "import", str(listed))
    sales = [f"--sale={price}.00,USD,2026-0{price}-01,fair" for price in (1, 2, 9)]
    front = str(found / "pin-0.png")
    made = command(
        found, "add", "Pin 0", "--id", "p0", "--front", front, "--character", "Ada", *sales
    )
    assert made.strip() == "p0"
    return found


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    app = "millstream_apps.appraise:app"
    process, address = start_server(app, folder, **environment(folder))
    yield address
    logged = stop_server(process)
    assert "Traceback" not in logged, logged


def appraise(url: str, photo: bytes) -> dict[str, dict]:
    answer = httpx.post(
        f"{url}/mobile-upload",
        files={"front_image": ("pin.jpg", photo, "image/jpeg")},
        headers=PHONE,
        timeout=120,
    )
    return by_type(lines(answer.text))


def test_the_catalogue_on_the_command_line(folder):
    listed = command(folder, "list").splitlines()
    assert [line.split("\t")[0] for line in listed] == [f"p{n}" for n in KNOWN]
    assert "3 sales" in listed[0]
    assert command(folder, "list", "Pin 3").startswith("p3\tPin 3\t")


def test_a_known_pin_is_known(url):
    found = appraise(url, photograph(draw(0), seed=1))
    assert found["ANALYSIS_COMPLETE"]["success"] is True
    assert "failedParts" not in found["ANALYSIS_COMPLETE"]
    verdict = found["AUTHENTICATION_RESULT"]
    assert verdict["verdict"] in ("authentic", "not_authentic"), verdict
    assert 0 <= verdict["authenticityRating"] <= 100
    assert 0 < verdict["confidence"] <= 1
    assert found["CHARACTER_IDENTIFICATION"]["characters"] == "Ada"
    assert "2.00 USD" in found["PRICING_ANALYSIS"]["pricing"]
    page = httpx.get(found["HTML_DISPLAY_DATA"]["frontHtmlUrl"]).text
    assert page.count("data:image/webp") == 2
    assert "Evidence" in page


def test_an_unknown_pin_is_not_named(url):
    found = appraise(url, photograph(draw(UNKNOWN), seed=2))
    verdict = found["AUTHENTICATION_RESULT"]
    assert (verdict["authentic"], verdict["authenticityRating"]) == (None, None)
    assert verdict["reason"] in ("no_match", "close_candidates", "unreadable")
    assert found["CHARACTER_IDENTIFICATION"]["characters"] == ""
    assert found["ANALYSIS_COMPLETE"]["success"] is True


def test_no_picture_is_the_clients_to_mend(url):
    found = appraise(url, b"\xff\xd8\xff no picture")
    assert found["ERROR"]["error"].startswith("frontImageData: ")


def test_a_pin_that_is_added_while_it_serves_is_known_at_once(url):
    photo = photograph(draw(LATER), seed=3)
    assert appraise(url, photo)["AUTHENTICATION_RESULT"]["verdict"] == "undetermined"
    made = httpx.post(f"{url}/api/catalogue", **form(LATER, characters="Cleo"), timeout=60)
    assert made.status_code == 201, made.text
    assert appraise(url, photo)["CHARACTER_IDENTIFICATION"]["characters"] == "Cleo"

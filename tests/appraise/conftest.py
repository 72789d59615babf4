"""A server of the appraise system in this process, with eyes that a test tells what to see."""

import base64
import datetime
import json
import shutil
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import count

import pytest

from millstream import Millstream, Settings
from millstream.stores.memory import MemoryStore
from millstream_apps.appraise import settings as settings_module
from millstream_apps.appraise.catalogue import Catalogue, Reference, Sale
from millstream_apps.appraise.pipeline import build
from millstream_apps.appraise.system import system_of
from tests.appraise.drawn import drawn_pin
from tests.appraise.eyes import CARD, Told, picture
from tests.server.serving import disk, serving

PHONE = {"User-Agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Expo"}
SESSION = "261120080000"
PRICES = ("12.50", "19.00", "21.00", "30.25", "90.00")


def sales() -> tuple[Sale, ...]:
    """Five sales, the median at 21."""
    day = datetime.date(2026, 1, 1)
    each = enumerate(PRICES)
    return tuple(Sale(Decimal(p), "USD", day.replace(month=n + 1), "auction") for n, p in each)


@pytest.fixture
def database(tmp_path, monkeypatch):
    """The database of this test, by the environment as a server finds it."""
    url = f"sqlite:///{tmp_path}/appraise.db"
    monkeypatch.setenv("APPRAISE_DATABASE_URL", url)
    settings_module.settings.cache_clear()
    yield url
    settings_module.settings.cache_clear()


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A catalogue with one pin and its sales, as a file to copy."""
    path = tmp_path_factory.mktemp("catalogue") / "appraise.db"
    with Catalogue(f"sqlite:///{path}") as opened:
        reference = Reference(
            id=CARD.id,
            name=CARD.name,
            characters=CARD.characters,
            series=CARD.series,
            edition=CARD.edition,
            notes=CARD.notes,
            photos=(),
            sales=sales(),
        )
        opened.add(reference, [("front", drawn_pin(1))])
    return path


@pytest.fixture
def catalogue(database, prepared):
    """That catalogue, for one test alone; its URL."""
    shutil.copy(prepared, database.removeprefix("sqlite:///"))
    return database


@pytest.fixture
def told():
    """What the eyes are told; nobody is left hanging."""
    found = Told()
    yield found
    found.release.set()


@pytest.fixture
def open_server(tmp_path, catalogue, told):
    """Serves the system: `async with open_server() as served`; each time on an empty folder."""
    numbers = count()

    @asynccontextmanager
    async def opened(*, store=None, quiet=True, **more):
        app = Millstream(
            system_of(build(told.eyes())),
            settings=Settings(**{"store": "memory://", "drain": 0.2, **more}),
            store=store or MemoryStore(),
            blobs=disk(tmp_path / str(next(numbers))),
        )
        async with serving(tmp_path, app=app, quiet=quiet) as served:
            yield served

    return opened


def body(**more) -> dict:
    """A phone's JSON."""
    encoded = base64.b64encode(picture()).decode()
    return {"sessionId": SESSION, "frontImageData": encoded, **more}


def lines(text: str) -> list[dict]:
    """What a client without streaming body support does: take all of it, split, parse."""
    return [json.loads(line) for line in text.split("\n") if line]


def by_type(packets) -> dict[str, dict]:
    """Packets by their type; each there at most once."""
    kinds = [packet["packetType"] for packet in packets]
    assert len(kinds) == len(set(kinds)), kinds
    return dict(zip(kinds, packets, strict=True))

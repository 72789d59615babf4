"""Every adapter of this process does what the port says."""

from contextlib import asynccontextmanager

import pytest

from millstream.stores.memory import MemoryStore
from millstream.stores.sqlite import SqliteStore
from millstream.testing.store_conformance import CASES, check_store

STORES = {
    "memory": lambda folder: MemoryStore(),
    "sqlite": lambda folder: SqliteStore(folder / "new" / "runs.db"),
    "sqlite-process": lambda folder: SqliteStore(folder / "runs.db", durability="process"),
}


@asynccontextmanager
async def opened(store):
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", STORES)
async def test_conformance(kind, case, tmp_path):
    async with opened(STORES[kind](tmp_path)) as store:
        await CASES[case](store)


async def test_check_store_runs_every_case():
    made = []

    @asynccontextmanager
    async def make():
        async with opened(MemoryStore()) as store:
            made.append(store)
            yield store

    await check_store(make)
    assert len(made) == len(CASES)


async def test_check_store_names_the_case_that_fails():
    class Forgetful(MemoryStore):
        async def append(self, run, epoch, segment, mark=None):
            """Promises, and keeps nothing."""

    with pytest.raises(AssertionError, match=r"what_was_appended_is_there|_leases: "):
        await check_store(lambda: opened(Forgetful()))

"""Executors for the tests of this folder."""

import sys
from types import ModuleType

import pytest
from executors import now, within
from process_pools import make

from millstream.engine.threads import Threads


@pytest.fixture
def bare_main(monkeypatch):
    """Each child imports its parent's `__main__`; pytest's takes a while and has no steps."""
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))


@pytest.fixture
async def pool(bare_main):
    pool = make(2)
    yield pool
    await within(pool.aclose())
    assert pool.statistics().alive == 0


@pytest.fixture
async def threads():
    executor = Threads(now, max_workers=2, grace=10)
    yield executor
    await executor.aclose()

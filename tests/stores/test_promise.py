"""Promises: whoever asks, and whenever, is told what was settled, once."""

import asyncio

import pytest

from millstream.errors import StoreError
from millstream.store import Promise

OUTCOMES = pytest.mark.parametrize("error", [None, StoreError("the disk is full")])


@OUTCOMES
@pytest.mark.parametrize("before", [True, False])
def test_a_call_is_told_once_before_or_after(before, error):
    promise, told = Promise(), []
    if before:
        promise.settle(error)
        promise.then(told.append)
    else:
        promise.then(told.append)
        assert told == []
        promise.settle(error)
    assert told == [error]


@OUTCOMES
@pytest.mark.parametrize("before", [True, False])
async def test_awaiting_gives_it_before_or_after(before, error):
    promise = Promise()
    if before:
        promise.settle(error)
    waiting = asyncio.ensure_future(promise)
    await asyncio.sleep(0)
    assert waiting.done() == before
    if not before:
        promise.settle(error)
    assert await asyncio.gather(waiting, return_exceptions=True) == [error]


async def test_who_leaves_is_not_told_and_harms_nothing():
    promise = Promise()
    waiting = asyncio.ensure_future(promise)
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    promise.settle(None)
    await promise

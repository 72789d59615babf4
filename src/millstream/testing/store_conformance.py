"""Public test kit: what every store must do, as checks that run on any adapter of the port.

Imports the standard library and `millstream` alone, no test framework. Knows of a store only
what `store.py` says; time is an argument, so nothing here waits. With pytest, one test a check:

    @pytest.mark.parametrize("name", CASES)
    async def test_my_store(name):
        async with my_open_store() as store:
            await CASES[name](store)

Each check takes a store that is open and empty. What outlives the death of a process (law 2)
cannot be asked from inside it: test that with a child process of your own.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from msgspec.structs import replace

from millstream.errors import StaleEpoch
from millstream.events import Event, Position, Segment, encode, flatten
from millstream.store import Cancellation, Created, Lease, Mark, Page, Promise, Run, Store
from millstream.testing import keeping_conformance

Case = Callable[[Store], Awaitable[None]]

TTL: Final = 30.0
PIPELINES: Final = ("crawl", "resize")


async def check_store(make: Callable[[], AbstractAsyncContextManager[Store]]) -> None:
    """Run every check on a fresh open store from `make`; AssertionError names the check."""
    for name, case in CASES.items():
        async with make() as store:
            try:
                await case(store)
            except AssertionError as error:
                raise AssertionError(f"{name}: {error}") from error


# --- create ---------------------------------------------------------------------------------------


async def keeps_every_field_of_a_run(store: Store) -> None:
    """What was given comes back; the log's end and the count of leases are the store's to say."""
    full = Run(
        id="r-1",
        pipeline="crawl",
        created=1_700_000_000.25,
        input='{"url":"https://example.org/é?a=\'b\'"}'.encode(),
        tier="urgent",
        owner="owner-é",
        deadline=1_700_000_060.5,
        unwatched=12.5,
        key="owner-é:first",
        fingerprint="f" * 64,
    )
    created = await _create(store, full, 3)
    _equal(created.existing, False, "existing of a new run")
    _equal(created.lease, None, "lease where nobody asked for one")
    expected = replace(full, seq=3, epoch=0)
    _equal(created.run, expected, "the run that create returns")
    _equal(await store.run("r-1"), expected, "the run that is kept")
    _equal(await _log(store, "r-1"), _events("r-1", 1, 3), "the first events")


async def an_unknown_run_is_none(store: Store) -> None:
    """Not an error, and an empty page with last 0."""
    _equal(await store.run("nobody"), None, "an unknown run")
    _equal(await store.read("nobody", 0), Page((), 1, 0, False), "an unknown run's log")
    _equal(await store.read("nobody", 7), Page((), 1, 0, False), "an unknown run's log behind 7")


async def create_with_a_worker_leases(store: Store) -> None:
    """Epoch 1 until now + ttl: the worker writes at once, and nobody else gets the run."""
    created = await _create(store, _run("r"), worker="w1", now=100.0)
    kept = replace(_run("r"), seq=1, epoch=1)
    _equal(created.lease, Lease(kept, 1, "w1"), "the lease that create returns")
    _equal(created.run, kept, "the run that create returns")
    _equal(await _claim(store, "w2", now=100.0 + TTL - 1), None, "claim of a leased run")
    await store.append("r", 1, _segment("r", 2))
    _equal(await _log(store, "r"), _events("r", 1, 2), "the log")


async def create_without_a_worker_is_claimable(store: Store) -> None:
    """Nobody holds it, so nobody writes to it, until somebody claims it."""
    await _create(store, _run("r"))
    for epoch in (0, 1):
        await _stale(store, "r", epoch, _segment("r", 2))
    lease = await _claim(store)
    _equal(lease, Lease(replace(_run("r"), seq=1, epoch=1), 1, "w1"), "the first lease")


async def a_known_key_creates_nothing(store: Store) -> None:
    """The first run of the key comes back as it stands; nothing of the second is kept."""
    await _create(store, _run("r1", key="k", fingerprint="a"), worker="w1")
    await store.append("r1", 1, _segment("r1", 2), Mark("running", 5.0))
    second = await _create(store, _run("r2", key="k", fingerprint="b"), worker="w2")
    _equal((second.existing, second.lease), (True, None), "existing and lease of the second")
    _equal(second.run, await store.run("r1"), "the run of a known key")
    _equal((second.run.seq, second.run.state), (2, "running"), "its last position and state")
    _equal(await store.run("r2"), None, "the run that was not created")
    _equal((await store.read("r2", 0)).last, 0, "its log")


async def one_key_makes_one_run(store: Store) -> None:
    """However many ask at the same time."""
    asked = [_create(store, _run(f"r{n}", key="k")) for n in range(100)]
    created = await asyncio.gather(*asked)
    _equal(sum(not one.existing for one in created), 1, "runs created by 100 requests of one key")
    _equal(len({one.run.id for one in created}), 1, "different runs that the requests were told")
    _equal(len(await store.runs(limit=200)), 1, "runs kept")


async def runs_without_a_key_stay_apart(store: Store) -> None:
    """No key is not a key; nor are two keys one."""
    for number, key in enumerate((None, None, "", "k", "K", "k ")):
        created = await _create(store, _run(f"r{number}", key=key))
        _equal(created.existing, False, f"existing of run {number} with key {key!r}")


async def refuses_what_cannot_begin_a_log(store: Store) -> None:
    """A log begins at 1, with an event, for a run of a new id that has not ended."""
    await _create(store, _run("old"), 2)
    for what, run, first in (
        ("a first position of 2", _run("new"), _segment("new", 2)),
        ("a first position of 0", _run("new"), _segment("new", 0)),
        ("no event", _run("new"), Segment(1, ())),
        ("an ended run", _run("new", state="failed"), _segment("new", 1)),
        ("an id that is taken", _run("old"), _segment("old", 1)),
    ):
        try:
            await store.create(run, first, now=0.0, ttl=TTL)
        except ValueError:
            continue
        raise AssertionError(f"create with {what} was not refused with ValueError")
    _equal(await store.run("new"), None, "the run that was refused")
    _equal(await _log(store, "old"), _events("old", 1, 2), "the log of the taken id")


# --- runs -----------------------------------------------------------------------------------------


async def lists_newest_first(store: Store) -> None:
    """By created, then id."""
    for name, created in (("b", 2.0), ("a", 2.0), ("d", 1.0), ("c", 3.0)):
        await _create(store, _run(name, created=created))
    _equal(_ids(await store.runs()), ["c", "b", "a", "d"], "order")
    _equal(_ids(await store.runs(limit=2)), ["c", "b"], "the first two")
    _equal(_ids(await store.runs(limit=0)), [], "a list of none")
    _equal((await store.runs(limit=1))[0], await store.run("c"), "a run in a list")


async def lists_what_is_asked_for(store: Store) -> None:
    """By pipeline, state and owner, each alone and all together."""
    every = []
    for number in range(24):
        pipeline, owner = PIPELINES[number % 2], (None, "x", "y")[number % 3]
        run = _run(f"r{number:02}", pipeline=pipeline, owner=owner, created=float(number))
        await _create(store, run, worker="w")
        if number % 4:
            await store.append(run.id, 1, _segment(run.id, 2), _state(number))
        every.append(await store.run(run.id))
    every.reverse()
    for pipeline in (None, *PIPELINES, "none"):
        for state in (None, "queued", "running", "completed", "cancelled"):
            for owner in (None, "x", "none"):
                wanted = {"pipeline": pipeline, "state": state, "owner": owner}
                found = await store.runs(pipeline=pipeline, state=state, owner=owner)
                given = {name: value for name, value in wanted.items() if value is not None}
                _equal(list(found), [run for run in every if _fits(run, given)], f"{given}")


async def pages_through_a_list(store: Store) -> None:
    """`before` continues where a page ended, though many were created at the same moment."""
    for number in range(23):
        await _create(store, _run(f"r{number:02}", created=float(number // 5), owner="me"))
    whole = _ids(await store.runs())
    seen: list[str] = []
    while page := await store.runs(owner="me", before=seen[-1] if seen else None, limit=4):
        seen += _ids(page)
        await _create(store, _run(f"new-{len(seen)}", created=99.0, owner="me"))
    _equal(seen, whole, "every run once, and none that came later")
    _equal(_ids(await store.runs(before="nobody")), [], "runs before one that is not there")


# --- claim ----------------------------------------------------------------------------------------


async def claims_the_oldest_first(store: Store) -> None:
    """By created, then id, whatever the order in which they came in and their pipelines."""
    ages = [("c", 3.0), ("a", 1.0), ("e", 5.0), ("b2", 2.0), ("d", 4.0), ("b1", 2.0)]
    for number, (name, created) in enumerate(ages):
        await _create(store, _run(name, created=created, pipeline=PIPELINES[number % 2]))
    claimed = [lease.run.id for lease in await _claim_all(store)]
    _equal(claimed, ["a", "b1", "b2", "c", "d", "e"], "order of claims")


async def claims_only_what_it_may(store: Store) -> None:
    """Of these pipelines, not ended, not leased: with and without a run named."""
    await _create(store, _run("other", pipeline="resize"))
    await _create(store, _run("held", created=1.0), worker="w1")
    await _create(store, _run("over", created=2.0), worker="w1")
    await store.append("over", 1, _segment("over", 2), Mark("completed", 1.0))
    await _create(store, _run("free", created=3.0))
    for name in ("other", "held", "over", "nobody"):
        lease = await _claim(store, "w2", pipelines=("crawl",), run=name)
        _equal(lease, None, f"claim of the run {name!r}")
    _equal(await _claim(store, pipelines=()), None, "claim of no pipelines")
    _equal(await _claim(store, pipelines=("nothing",)), None, "claim of an empty pipeline")
    _equal(_claimed(await _claim(store, "w2", pipelines=("crawl",))), "free", "the free one")
    _equal(await _claim(store, "w2", pipelines=("crawl",)), None, "claim when all are taken")


async def claims_a_named_run_before_its_turn(store: Store) -> None:
    """And then nobody gets it a second time."""
    for name in ("a", "b", "c"):
        await _create(store, _run(name))
    _equal(_claimed(await _claim(store, run="b")), "b", "the named run")
    _equal(await _claim(store, "w2", run="b"), None, "the named run again")
    rest = [lease.run.id for lease in await _claim_all(store)]
    _equal(rest, ["a", "c"], "the others, in order")


async def a_lease_ends_at_its_time(store: Store) -> None:
    """Held until now + ttl by the given clock alone; then the next epoch begins."""
    await _create(store, _run("r"))
    _equal(_epoch(await _claim(store, now=100.0)), 1, "the first epoch")
    _equal(await _claim(store, "w2", now=100.0 + TTL - 0.001), None, "claim before the end")
    second = await _claim(store, "w2", now=100.0 + TTL)
    _equal(second, Lease(replace(_run("r"), seq=1, epoch=2), 2, "w2"), "the second lease")
    end = 100.0 + TTL * 2
    _equal(await _claim(store, "w3", now=end - 0.001, run="r"), None, "claim by name before it")
    _equal(_epoch(await _claim(store, "w3", now=end, run="r")), 3, "the third epoch, by name")


async def an_expired_run_waits_with_the_free_ones(store: Store) -> None:
    """Its age counts, not how it became free."""
    for name, created in (("old", 1.0), ("mid", 2.0), ("new", 3.0)):
        await _create(store, _run(name, created=created))
    await _claim(store, now=0.0, run="mid")
    claimed = [lease.run.id for lease in await _claim_all(store, now=1000.0)]
    _equal(claimed, ["old", "mid", "new"], "order of claims")


async def a_run_is_claimed_once(store: Store) -> None:
    """However many workers ask at the same time."""
    for number in range(20):
        await _create(store, _run(f"r{number:02}"))
    leases = await asyncio.gather(*(_claim(store, f"w{n}") for n in range(50)))
    claimed = sorted(lease.run.id for lease in leases if lease)
    _equal(claimed, [f"r{n:02}" for n in range(20)], "runs claimed by 50 workers")


async def a_lease_shows_the_run_as_it_stands(store: Store) -> None:
    """With its log's end, its state and a wish to cancel it."""
    await _create(store, _run("r"), worker="w1")
    await store.append("r", 1, _segment("r", 2, 3), Mark("running", 7.0))
    await store.cancel("r", Cancellation("me", "enough"))
    lease = await _claim(store, "w2", now=1000.0)
    _equal(lease and lease.run, await store.run("r"), "the run in the lease")
    _equal(lease and (lease.run.seq, lease.run.epoch, lease.run.started), (4, 2, 7.0), "its fields")


# --- renew and release ----------------------------------------------------------------------------


async def renewing_prolongs(store: Store) -> None:
    """To now + ttl; also a lease that has expired, where nobody has taken the run since."""
    await _create(store, _run("r"), worker="w1")
    for now in (TTL - 1, TTL * 3):
        _equal(await _held(store, [("r", 1)], now=now), [True], f"held at {now}")
        _equal(await _claim(store, "w2", now=now + TTL - 0.001), None, "claim before its new end")
    _equal(_epoch(await _claim(store, "w2", now=TTL * 4)), 2, "the epoch after its new end")


async def renewing_says_what_is_lost(store: Store) -> None:
    """One answer for each lease, in order: re-claimed, ended, released, unknown, never given."""
    for name in ("taken", "kept", "over", "back"):
        await _create(store, _run(name), worker="w1", now=0.0)
    await _claim(store, "w2", now=1000.0, run="taken")
    await store.append("over", 1, _segment("over", 2), Mark("failed", 1.0))
    await store.release("back", 1)
    asked = [("taken", 1), ("kept", 1), ("over", 1), ("back", 1), ("nobody", 1), ("kept", 2)]
    answers = await store.renew("w1", asked, now=1000.0, ttl=TTL)
    _equal([one.run for one in answers], [run for run, _ in asked], "the runs of the answers")
    held = [False, True, False, False, False, False]
    _equal([one.held for one in answers], held, f"held of {asked}")
    _equal(await _held(store, [], now=1000.0), [], "the answers to no question")
    _equal(await _held(store, [("taken", 2)], now=1000.0), [True], "the lease of the second worker")


async def renewing_tells_of_a_wish_to_cancel(store: Store) -> None:
    """To whoever holds the lease, each time."""
    wish = Cancellation("me", "enough")
    for name in ("a", "b"):
        await _create(store, _run(name), worker="w1")
    await store.cancel("a", wish)
    for _ in range(2):
        answers = await store.renew("w1", [("a", 1), ("b", 1)], now=1.0, ttl=TTL)
        _equal([one.cancel for one in answers], [wish, None], "the wishes")


async def a_released_run_is_claimable_at_once(store: Store) -> None:
    """And its last holder writes nothing more."""
    await _create(store, _run("r"), worker="w1", now=0.0)
    await store.release("r", 1)
    await _stale(store, "r", 1, _segment("r", 2))
    _equal(_epoch(await _claim(store, "w2", now=0.0)), 2, "the epoch after the release")
    await store.append("r", 2, _segment("r", 2))
    await _stale(store, "r", 1, _segment("r", 3))


async def a_stale_release_does_nothing(store: Store) -> None:
    """And is no error: the run stays with whoever holds it."""
    await _create(store, _run("r"), worker="w1", now=0.0)
    await _claim(store, "w2", now=1000.0)
    for run, epoch in (("r", 1), ("r", 3), ("nobody", 1)):
        await store.release(run, epoch)
    _equal(await _claim(store, "w3", now=1000.0), None, "claim of the run of the second worker")
    await store.append("r", 2, _segment("r", 2), Mark("completed", 1.0))
    await store.release("r", 2)
    _equal(await _claim(store, "w3", now=9000.0), None, "claim of an ended and released run")


# --- append: laws 1, 2 and 3 ----------------------------------------------------------------------


async def what_was_appended_is_there(store: Store) -> None:
    """When append returns, every read and every look at the run shows it (law 2)."""
    await _create(store, _run("r"), worker="w1")
    position = 1
    for size in (1, 2, 1, 50, 1, 7):
        await store.append("r", 1, _segment("r", position + 1, size))
        position += size
        run = await store.run("r")
        _equal(run and run.seq, position, "the run's last position")
        _equal((await store.read("r", position - 1)).last, position, "the page's last position")
        _equal(await _log(store, "r"), _events("r", 1, position), "the log")


async def positions_have_no_gaps(store: Store) -> None:
    """What does not continue the log is refused, and leaves no trace (law 1)."""
    await _create(store, _run("r"), 3, worker="w1")
    for first in (0, 1, 3, 5, 1000):
        try:
            await store.append("r", 1, _segment("r", first), Mark("completed", 1.0))
        except ValueError:
            continue
        raise AssertionError(f"position {first} after 3 was not refused with ValueError")
    try:
        await store.append("r", 1, Segment(4, ()), Mark("completed", 1.0))
    except ValueError:
        pass
    else:
        raise AssertionError("a segment without an event was not refused with ValueError")
    _equal(await store.run("r"), replace(_run("r"), seq=3, epoch=1), "the run")
    await store.append("r", 1, _segment("r", 4))
    _equal(await _log(store, "r"), _events("r", 1, 4), "the log")


async def a_stale_epoch_writes_nothing(store: Store) -> None:
    """Neither after another claim, nor before its own, nor to a run that is not there (law 3)."""
    await _create(store, _run("r"), worker="w1", now=0.0)
    lease = await _claim(store, "w2", now=1000.0)
    for epoch in (-1, 0, 1, 3):
        await _stale(store, "r", epoch, _segment("r", 2), Mark("failed", 1.0))
    await _stale(store, "nobody", 1, _segment("nobody", 1))
    _equal(await store.run("r"), lease and lease.run, "the run after refused appends")
    _equal(await _log(store, "r"), _events("r", 1, 1), "the log after refused appends")


async def a_paused_worker_comes_too_late(store: Store) -> None:
    """It wakes with a segment of its own, after another has written that position (law 3)."""
    await _create(store, _run("r"), worker="w1", now=0.0)
    late = Segment(2, (b'{"from":"the paused worker"}',))
    await _claim(store, "w2", now=1000.0)
    await store.append("r", 2, _segment("r", 2))
    await _stale(store, "r", 1, late)
    await store.append("r", 2, _segment("r", 3), Mark("completed", 1.0))
    await _stale(store, "r", 1, late)
    _equal(await _log(store, "r"), _events("r", 1, 3), "the log")


async def an_expired_lease_may_write_until_another_claims(store: Store) -> None:
    """Time alone makes no epoch stale: the store knows no clock."""
    await _create(store, _run("r"), worker="w1", now=0.0)
    _equal(await _claim(store, "w2", now=1.0), None, "claim of a leased run")
    await store.append("r", 1, _segment("r", 2))
    await _claim(store, "w2", now=1000.0)
    await _stale(store, "r", 1, _segment("r", 3))


async def nothing_follows_the_end(store: Store) -> None:
    """An ended run takes no event, whoever asks, and stays as it ended (laws 1 and 3)."""
    for state in ("completed", "failed", "cancelled"):
        await _create(store, _run(state), worker="w1")
        await store.append(state, 1, _segment(state, 2), Mark(state, 9.0))
        ended = await store.run(state)
        await _stale(store, state, 1, _segment(state, 3))
        await _stale(store, state, 1, _segment(state, 3), Mark("running", 10.0))
        await _stale(store, state, 2, _segment(state, 3))
        _equal(ended, replace(_run(state), seq=2, epoch=1, state=state, ended=9.0), "the run")
        _equal(await store.run(state), ended, "the ended run after refused appends")
        _equal(await _log(store, state), _events(state, 1, 2), "its log")


async def a_mark_changes_the_run(store: Store) -> None:
    """Running sets `started` once; an ended state sets `ended`. Other fields stay."""
    await _create(store, _run("r"), worker="w1")
    expected = replace(_run("r"), epoch=1)
    for position, mark, change in (
        (2, None, {}),
        (3, Mark("running", 5.0), {"state": "running", "started": 5.0}),
        (4, Mark("queued", 6.0), {"state": "queued"}),
        (5, Mark("running", 7.0), {"state": "running"}),
        (6, Mark("completed", 8.0), {"state": "completed", "ended": 8.0}),
    ):
        await store.append("r", 1, _segment("r", position), mark)
        expected = replace(expected, seq=position, **change)
        _equal(await store.run("r"), expected, f"the run after {mark}")


async def a_mark_is_in_the_same_commit(store: Store) -> None:
    """Nobody sees the last event without the end, nor the end without the last event."""
    names = [f"r{number}" for number in range(8)]
    await asyncio.gather(*(_create(store, _run(name), worker="w") for name in names))

    async def work(name: str) -> None:
        for position in range(2, 12):
            mark = Mark("completed", 1.0) if position == 11 else None
            await store.append(name, 1, _segment(name, position), mark)

    async def watch(name: str) -> None:
        ended = False
        while not ended:
            page, run = await store.read(name, 0), await store.run(name)
            ended = page.ended
            _equal(page.ended, page.last == 11, f"end of a page with last {page.last}")
            assert run is not None
            _equal(run.state == "completed", run.seq == 11, f"end of a run with seq {run.seq}")

    await asyncio.gather(*(do(name) for name in names for do in (work, watch)))


async def many_write_at_once(store: Store) -> None:
    """Each log is its own: whole, in order, without gaps."""
    names = [f"r{number}" for number in range(50)]
    await asyncio.gather(*(_create(store, _run(name), worker="w") for name in names))

    async def work(number: int, name: str) -> None:
        position = 2
        while position < 60:
            count = (number + position) % 5 + 1
            await store.append(name, 1, _segment(name, position, count))
            position += count

    await asyncio.gather(*(work(*one) for one in enumerate(names)))
    for name in names:
        log = await _log(store, name)
        _equal(log, _events(name, 1, len(log)), f"the log of {name}")
        _equal(len(log) >= 59, True, f"{name} has all of its events")


async def one_position_is_written_once(store: Store) -> None:
    """Of many appends at the same position at the same time, one is kept whole."""
    await _create(store, _run("r"), worker="w1")
    texts = [f'{{"text":"{number}"}}'.encode() for number in range(20)]
    asked = [store.append("r", 1, Segment(2, (text, text))) for text in texts]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    kept = [text for text, outcome in zip(texts, outcomes, strict=True) if outcome is None]
    refused = [outcome for outcome in outcomes if isinstance(outcome, ValueError)]
    _equal((len(kept), len(refused)), (1, 19), "appends kept and refused")
    _equal((await _log(store, "r"))[1:], [kept[0], kept[0]], "the log behind the first event")


async def an_answer_is_told_as_it_is_awaited(store: Store) -> None:
    """Where an append answers by a `Promise`, a plain call tells what awaiting would, once, in the
    loop, and no sooner than the segment is kept."""
    await _create(store, _run("r"), worker="w")
    asked = [
        store.append("r", 1, _segment("r", 2, 2)),
        store.append("r", 2, _segment("r", 4)),
        store.append("r", 1, _segment("r", 9)),
        store.append("r", 1, _segment("r", 4)),
    ]
    outcomes = await asyncio.gather(*map(_told, asked))
    kinds = [type(outcome) for outcome in outcomes]
    _equal(kinds, [type(None), StaleEpoch, ValueError, type(None)], "outcomes")
    _equal(await _log(store, "r"), _events("r", 1, 4), "the log when all were told")


async def _told(answer: Awaitable[None]) -> Exception | None:
    told: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def tell(error: Exception | None) -> None:
        assert asyncio.get_running_loop() is told.get_loop()
        told.set_result(error)  # raises where it is told twice

    if isinstance(answer, Promise):
        answer.then(tell)
    else:
        task = asyncio.ensure_future(answer)
        await asyncio.wait([task])
        tell(task.exception())  # type: ignore[arg-type]
    return await told


async def a_refused_append_harms_no_neighbour(store: Store) -> None:
    """Appends that come in together are kept or refused each on its own."""
    names = [f"r{number}" for number in range(12)]
    await asyncio.gather(*(_create(store, _run(name), worker="w") for name in names))
    asked = []
    for name in names:
        asked += [
            store.append(name, 1, _segment(name, 2, 2)),
            store.append(name, 1, _segment(name, 9), Mark("failed", 1.0)),
            store.append(name, 2, _segment(name, 4), Mark("failed", 1.0)),
            store.append("nobody", 1, _segment("nobody", 1)),
            store.append(name, 1, _segment(name, 4)),
        ]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    kinds = [type(outcome) for outcome in outcomes]
    refused = [ValueError, StaleEpoch, StaleEpoch]
    _equal(kinds, [type(None), *refused, type(None)] * len(names), "outcomes")
    for name in names:
        _equal(await _log(store, name), _events(name, 1, 4), f"the log of {name}")
        _equal(await store.run(name), replace(_run(name), seq=4, epoch=1), f"the run {name}")


# --- read: law 4 ----------------------------------------------------------------------------------


async def reads_from_every_cursor(store: Store) -> None:
    """Exactly the events behind it, as many as fit, however the log was cut into segments."""
    events = await _written(store, "r", random.Random(1), segments=12, longest=40)
    total = sum(len(event) + 1 for event in events)
    sizes = (-1, 0, 1, 39, 40, 41, 100, 333, total - 1, total, total + 1, 1_000_000)
    for after in range(len(events) + 3):
        for max_bytes in sizes:
            page = await store.read("r", after, max_bytes=max_bytes)
            _expect_page(page, events, after, max_bytes)


async def reads_along_a_random_walk(store: Store) -> None:
    """Events from 1 byte to 200 kB, cursors and sizes at random: always the same log."""
    rng = random.Random(7)
    events = await _written(store, "r", rng, segments=60, longest=200_000)
    for _ in range(300):
        after = rng.randrange(-1, len(events) + 2)
        max_bytes = int(2 ** rng.uniform(0, 21))
        page = await store.read("r", after, max_bytes=max_bytes)
        _expect_page(page, events, max(after, 0), max_bytes)
    _equal(await _log(store, "r"), events, "the log, read page by page")


async def a_page_has_a_size_by_default(store: Store) -> None:
    """64 KiB, whatever the size of the log and of its segments."""
    await _create(store, _run("r"), worker="w")
    events = [b'"' + b"x" * 997 + b'"'] * 400
    await store.append("r", 1, Segment(2, tuple(events)))
    page = await store.read("r", 1)
    _equal(sum(segment.size for segment in page.segments), 65_000, "bytes of 1,000 byte events")


async def reads_while_it_is_written(store: Store) -> None:
    """Readers at their own cursors get each event once, in order, up to the end."""
    await _create(store, _run("r"), worker="w1")
    last = 300

    async def work() -> None:
        position = 2
        while position <= last:
            count = min(position % 7 + 1, last + 1 - position)
            mark = Mark("completed", 1.0) if position + count > last else None
            await store.append("r", 1, _segment("r", position, count), mark)
            position += count

    async def follow(max_bytes: int) -> list[bytes]:
        seen: list[bytes] = []
        ended = False
        while not (ended and len(seen) == last):
            page = await store.read("r", len(seen), max_bytes=max_bytes)
            seen += flatten(page.segments)
            ended = page.ended
            _equal(page.last >= len(seen), True, "a page's last position covers its events")
        return seen

    _, *logs = await asyncio.gather(work(), *(follow(size) for size in (1, 500, 65_536)))
    for log in logs:
        _equal(log, _events("r", 1, last), "what a reader saw")


# --- cancel, prune, close -------------------------------------------------------------------------


async def an_input_is_amended_until_the_run_ends(store: Store) -> None:
    """Nothing else of the run changes, and whoever claims it next gets the new one."""
    await _create(store, _run("r"))
    await _create(store, _run("other"))
    _equal(await store.amend("r", b'{"new": 1}'), True, "amending")
    run = await store.run("r")
    _equal(run and (run.input, run.seq, run.state), (b'{"new": 1}', 1, "queued"), "the run")
    other = await store.run("other")
    _equal(other and other.input, _run("other").input, "its neighbour's input")
    lease = await _claim(store, run="r")
    _equal(lease and lease.run.input, b'{"new": 1}', "what its worker gets")
    assert lease is not None
    await store.append("r", lease.epoch, _segment("r", 2), Mark("completed", 3.0))
    _equal(await store.amend("r", b"{}"), False, "amending an ended run")
    _equal(await store.amend("nobody", b"{}"), False, "amending an unknown run")


async def a_wish_to_cancel_is_noted_once(store: Store) -> None:
    """The first one stays; it changes nothing else; an ended or unknown run takes none."""
    await _create(store, _run("r"), worker="w1")
    first = Cancellation("me", "enough")
    _equal(await store.cancel("r", first), True, "the first wish")
    _equal(await store.cancel("r", Cancellation("you", "no")), True, "the second wish")
    _equal(await store.run("r"), replace(_run("r"), seq=1, epoch=1, cancel=first), "the run")
    await store.append("r", 1, _segment("r", 2), Mark("cancelled", 3.0))
    _equal(await store.cancel("r", first), False, "a wish about an ended run")
    _equal(await store.cancel("nobody", first), False, "a wish about an unknown run")
    ended = await store.run("r")
    _equal(ended and (ended.state, ended.cancel), ("cancelled", first), "the ended run")


async def many_wishes_are_one(store: Store) -> None:
    """Of wishes at the same time, all are told yes, and one stays."""
    await _create(store, _run("r"))
    wishes = [Cancellation(f"client {number}", "") for number in range(20)]
    answers = await asyncio.gather(*(store.cancel("r", wish) for wish in wishes))
    _equal(answers, [True] * 20, "the answers")
    run = await store.run("r")
    _equal(run and run.cancel in wishes, True, "the wish that stays is one of them")


async def prunes_what_ended_before(store: Store) -> None:
    """Oldest first, at most so many; with logs and keys; nothing that lives or ended later."""
    for number in range(10):
        run = _run(
            f"r{number}", key=f"k{number}", created=float(number), input=b'{"n":%d}' % number
        )
        await _create(store, run, worker="w")
        if number < 8:
            mark = Mark("completed", 100.0 - number)
            await store.append(run.id, 1, _segment(run.id, 2, 3), mark)
    before = {run.id: run for run in await store.runs()}
    _equal(list(await store.prune(ended_before=93.0)), [], "runs that ended before the first end")
    first = await store.prune(ended_before=98.0, limit=3)
    _equal(list(first), [before[name] for name in ("r7", "r6", "r5")], "the three oldest")
    rest = await store.prune(ended_before=98.0)
    _equal(_ids(rest), ["r4", "r3"], "the others; not the one that ended at that moment")
    left = ["r9", "r8", "r2", "r1", "r0"]
    _equal(_ids(await store.runs()), left, "runs that stay")
    for name in ("r3", "r7"):
        _equal(await store.run(name), None, f"the forgotten {name}")
        _equal(await store.read(name, 0), Page((), 1, 0, False), f"the log of {name}")
        _equal(await _claim(store, run=name, now=9e9), None, f"claim of {name}")
    _equal(await _log(store, "r0"), _events("r0", 1, 4), "the log of one that stays")


async def a_forgotten_key_is_free(store: Store) -> None:
    """And so is the id."""
    await _create(store, _run("r", key="k"), worker="w")
    await store.append("r", 1, _segment("r", 2), Mark("failed", 1.0))
    _equal((await _create(store, _run("new", key="k"))).existing, True, "existing before prune")
    await store.prune(ended_before=2.0)
    again = await _create(store, _run("r", key="k"))
    _equal((again.existing, again.run.seq, again.run.epoch), (False, 1, 0), "the new run")
    _equal(await _log(store, "r"), _events("r", 1, 1), "its log")


async def close_finishes_what_was_accepted(store: Store) -> None:
    """Appends that were under way are answered; a second close is no error."""
    await _create(store, _run("r"), worker="w")
    appends = [
        asyncio.ensure_future(store.append("r", 1, _segment("r", position)))
        for position in range(2, 30)
    ]
    await asyncio.sleep(0)  # each has begun
    await asyncio.gather(store.close(), store.close())
    await store.close()
    outcomes = await asyncio.gather(*appends, return_exceptions=True)
    _equal(outcomes, [None] * len(appends), "outcomes of appends before close")


_CASES: Final[Sequence[Case]] = (
    keeps_every_field_of_a_run,
    an_unknown_run_is_none,
    create_with_a_worker_leases,
    create_without_a_worker_is_claimable,
    a_known_key_creates_nothing,
    one_key_makes_one_run,
    runs_without_a_key_stay_apart,
    refuses_what_cannot_begin_a_log,
    lists_newest_first,
    lists_what_is_asked_for,
    pages_through_a_list,
    claims_the_oldest_first,
    claims_only_what_it_may,
    claims_a_named_run_before_its_turn,
    a_lease_ends_at_its_time,
    an_expired_run_waits_with_the_free_ones,
    a_run_is_claimed_once,
    a_lease_shows_the_run_as_it_stands,
    renewing_prolongs,
    renewing_says_what_is_lost,
    renewing_tells_of_a_wish_to_cancel,
    a_released_run_is_claimable_at_once,
    a_stale_release_does_nothing,
    what_was_appended_is_there,
    positions_have_no_gaps,
    a_stale_epoch_writes_nothing,
    a_paused_worker_comes_too_late,
    an_expired_lease_may_write_until_another_claims,
    nothing_follows_the_end,
    a_mark_changes_the_run,
    a_mark_is_in_the_same_commit,
    many_write_at_once,
    one_position_is_written_once,
    an_answer_is_told_as_it_is_awaited,
    a_refused_append_harms_no_neighbour,
    reads_from_every_cursor,
    reads_along_a_random_walk,
    a_page_has_a_size_by_default,
    reads_while_it_is_written,
    a_wish_to_cancel_is_noted_once,
    an_input_is_amended_until_the_run_ends,
    many_wishes_are_one,
    prunes_what_ended_before,
    a_forgotten_key_is_free,
    close_finishes_what_was_accepted,
)

CASES: Final[dict[str, Case]] = {
    case.__name__: case for case in (*_CASES, *keeping_conformance.CASES)
}
"""Every check by its name."""


# --- how the checks speak -------------------------------------------------------------------------


def _equal(found: Any, expected: Any, what: str) -> None:
    if found != expected:
        raise AssertionError(f"{what}: expected {_short(expected)}, found {_short(found)}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 600 else f"{text[:290]} … {text[-290:]}"


def _run(name: str, **fields: Any) -> Run:
    return Run(**{"id": name, "pipeline": "crawl", "created": 1.0, **fields})


def _event(run: str, seq: Position) -> bytes:
    return encode(Event(run=run, seq=seq, type="step.partial", step="page", data={"text": "é" * 5}))


def _events(run: str, first: Position, last: Position) -> list[bytes]:
    return [_event(run, seq) for seq in range(first, last + 1)]


def _segment(run: str, first: Position, count: int = 1) -> Segment:
    return Segment(first, tuple(_events(run, first, first + count - 1)))


async def _create(
    store: Store, run: Run, count: int = 1, *, worker: str | None = None, now: float = 0.0
) -> Created:
    return await store.create(run, _segment(run.id, 1, count), worker=worker, now=now, ttl=TTL)


async def _claim(
    store: Store,
    worker: str = "w1",
    *,
    pipelines: Sequence[str] = PIPELINES,
    now: float = 0.0,
    run: str | None = None,
) -> Lease | None:
    return await store.claim(worker, pipelines=pipelines, now=now, ttl=TTL, run=run)


async def _claim_all(store: Store, now: float = 0.0) -> list[Lease]:
    leases: list[Lease] = []
    while lease := await _claim(store, now=now):
        leases.append(lease)
    return leases


async def _stale(
    store: Store, run: str, epoch: int, segment: Segment, mark: Mark | None = None
) -> None:
    try:
        await store.append(run, epoch, segment, mark)
    except StaleEpoch as error:
        _equal((error.run, error.epoch), (run, epoch), "what StaleEpoch names")
        return
    raise AssertionError(f"append to {run!r} with epoch {epoch} was not refused with StaleEpoch")


async def _held(store: Store, leases: Sequence[tuple[str, int]], now: float) -> list[bool]:
    return [answer.held for answer in await store.renew("w1", leases, now=now, ttl=TTL)]


async def _log(store: Store, run: str) -> list[bytes]:
    """A whole log, page by page, as a reader gets it."""
    events: list[bytes] = []
    while (page := await store.read(run, len(events))).segments:
        for segment in page.segments:
            _equal(segment.first, len(events) + 1, "the first position of a segment that was read")
            events += segment.events
    return events


async def _written(
    store: Store, run: str, rng: random.Random, *, segments: int, longest: int
) -> list[bytes]:
    """A log of segments of random length, of events of random size; returns the events."""
    await _create(store, _run(run), worker="w")
    events = [_event(run, 1)]
    for _ in range(segments):
        widths = [int(longest ** rng.random()) for _ in range(rng.choice((1, 1, 2, 5, 9)))]
        more = [b'"' + rng.randbytes(width).hex()[:width].encode() + b'"' for width in widths]
        await store.append(run, 1, Segment(len(events) + 1, tuple(more)))
        events += more
    return events


def _expect_page(page: Page, events: Sequence[bytes], after: Position, max_bytes: int) -> None:
    asked = f"read after {after} of {len(events)} with max_bytes {max_bytes}"
    left, expected = max_bytes, []
    for event in events[after:]:
        left -= len(event) + 1
        if expected and left < 0:
            break
        expected.append(event)
    _equal(flatten(page.segments), expected, asked)
    for segment, first in zip(page.segments, _starts(page.segments, after + 1), strict=True):
        _equal((segment.first, bool(segment.events)), (first, True), f"a segment of: {asked}")
    _equal((page.first, page.last, page.ended), (1, len(events), False), f"the page of: {asked}")


def _starts(segments: Iterable[Segment], first: Position) -> list[Position]:
    starts = []
    for segment in segments:
        starts.append(first)
        first += len(segment.events)
    return starts


def _state(number: int) -> Mark:
    return (Mark("running", 1.0), Mark("completed", 2.0), Mark("cancelled", 3.0))[number % 3]


def _fits(run: Run | None, wanted: dict[str, str]) -> bool:
    return all(getattr(run, name) == value for name, value in wanted.items())


def _ids(runs: Iterable[Run]) -> list[str]:
    return [run.id for run in runs]


def _claimed(lease: Lease | None) -> str | None:
    return lease and lease.run.id


def _epoch(lease: Lease | None) -> int | None:
    return lease and lease.epoch

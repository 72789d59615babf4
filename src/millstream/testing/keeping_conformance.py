"""Public test kit: what every store must do with what it keeps for a while: logs that are trimmed,
and remembered results. Part of `store_conformance`, which runs these checks with its own.

Knows of a store only what `store.py` says; time is an argument, so nothing here waits.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from millstream.errors import StaleEpoch
from millstream.events import Event, Position, Segment, encode, flatten
from millstream.store import Mark, Run, Store

Case = Callable[[Store], Awaitable[None]]

TTL: Final = 30.0
ROOM: Final = {"entries": 1000, "size": 1_000_000}


# --- trim -----------------------------------------------------------------------------------------


async def trims_whole_records(store: Store) -> None:
    """From the oldest on, those of which every event stands before the position."""
    await _created(store, "r")
    for first, count in ((2, 3), (5, 1), (6, 4)):
        await store.append("r", 1, _segment("r", first, count))
    for before, first in ((-1, 1), (0, 1), (1, 1), (2, 2), (4, 2), (5, 5), (3, 5), (6, 6)):
        _equal(await store.trim("r", 1, before), first, f"the first position kept before {before}")
        page = await store.read("r", 0)
        _equal((page.first, page.last), (first, 9), f"first and last after trim before {before}")
        _equal(flatten(page.segments), _events("r", first, 9), "the events that are kept")


async def the_newest_record_stays(store: Store) -> None:
    """However much may go: the log's end is known by it, and the next append continues it."""
    await _created(store, "r")
    _equal(await store.trim("r", 1, 1000), 1, "the first position of a log of one record")
    await store.append("r", 1, _segment("r", 2, 3))
    _equal(await store.trim("r", 1, 1000), 2, "the first position of the last record")
    run = await store.run("r")
    _equal(run and run.seq, 4, "the run's last position")
    await store.append("r", 1, _segment("r", 5))
    page = await store.read("r", 0)
    _equal((page.first, page.last, page.ended), (2, 5, False), "the page")
    _equal(flatten(page.segments), _events("r", 2, 5), "the log that goes on")


async def reads_what_a_trim_left(store: Store) -> None:
    """Behind each cursor the events that are kept; `first` tells a reader what it missed."""
    await _created(store, "r")
    for first in range(2, 42, 2):
        await store.append("r", 1, _segment("r", first, 2))
    await store.trim("r", 1, 20)
    for after in range(45):
        page = await store.read("r", after)
        _equal((page.first, page.last), (20, 41), f"first and last of a page behind {after}")
        expected = _events("r", max(after + 1, 20), 41)
        _equal(flatten(page.segments), expected, f"the events behind {after}")
        if page.segments:
            _equal(page.segments[0].first, max(after + 1, 20), "where the page begins")
    small = await store.read("r", 3, max_bytes=1)
    _equal(flatten(small.segments), _events("r", 20, 20), "a page with room for one event")


async def only_the_holder_trims(store: Store) -> None:
    """A stale epoch lets go of nothing, nor does anybody of an ended or unknown run (law 3)."""
    await _created(store, "r")
    await store.append("r", 1, _segment("r", 2, 3))
    await store.claim("w2", pipelines=["crawl"], now=1000.0, ttl=TTL)
    for run, epoch in (("r", 0), ("r", 1), ("r", 3), ("nobody", 1)):
        await _stale(store, run, epoch)
    _equal((await store.read("r", 0)).first, 1, "the first position after refused trims")
    _equal(await store.trim("r", 2, 2), 2, "the first position after the holder's trim")
    await store.append("r", 2, _segment("r", 5), Mark("completed", 1.0))
    await _stale(store, "r", 2)
    page = await store.read("r", 0)
    _equal((page.first, page.last, page.ended), (2, 5, True), "the ended log")


async def trims_while_it_is_written_and_read(store: Store) -> None:
    """A reader gets each event once, in order, but for those that were gone before it came."""
    await _created(store, "r")
    rng = random.Random(5)
    last = 400

    async def work() -> None:
        position = 2
        while position <= last:
            count = min(rng.randint(1, 6), last + 1 - position)
            await store.append("r", 1, _segment("r", position, count))
            position += count
            if rng.random() < 0.3:
                first = await store.trim("r", 1, position - 50)
                _equal(first <= max(1, position - 50), True, "no event that was to stay is gone")
        await store.append("r", 1, _segment("r", last + 1), Mark("completed", 1.0))

    async def follow() -> None:
        cursor, ended = 0, False
        while not (ended and cursor == last + 1):
            page = await store.read("r", cursor, max_bytes=rng.choice((1, 700)))
            begin = max(cursor + 1, page.first)
            found = flatten(page.segments)
            _equal(found, _events("r", begin, begin + len(found) - 1), f"events behind {cursor}")
            if found:
                cursor = begin + len(found) - 1
            ended = page.ended

    await asyncio.gather(work(), follow(), follow())


# --- results --------------------------------------------------------------------------------------


async def remembers_until_its_time(store: Store) -> None:
    """Bytes come back as they went in, by space and key, before `until`."""
    value = bytes(range(256))
    await store.remember("p/s", "k", value, now=10.0, until=20.0, **ROOM)
    for space, key, now, found in (
        ("p/s", "k", 10.0, value),
        ("p/s", "k", 19.999, value),
        ("p/s", "k", 20.0, None),
        ("p/s", "K", 10.0, None),
        ("p/t", "k", 10.0, None),
    ):
        _equal(await store.recall(space, key, now=now), found, f"{space} {key} at {now}")
    await store.remember("p/s", "k", b"", now=30.0, until=31.0, **ROOM)
    _equal(await store.recall("p/s", "k", now=30.0), b"", "the value in its place")


async def forgets_the_oldest_used(store: Store) -> None:
    """Beyond so many results; remembering and touching are uses."""
    for number in range(5):
        await _remember(store, f"k{number}", now=float(number), entries=5)
    await store.touch("p/s", ["k0", "k2", "nobody"], now=10.0)
    await store.touch("p/s", ["k4"], now=1.0)  # an older use than is known
    await store.touch("nowhere", ["k1"], now=10.0)
    await _remember(store, "k1", now=11.0, entries=5)
    await _remember(store, "new", now=12.0, entries=5)
    _equal(await _known(store), ["k0", "k1", "k2", "k4", "new"], "what is left of 6")
    await _remember(store, "last", now=13.0, entries=2)
    _equal(await _known(store), ["last", "new"], "what is left under a smaller bound")


async def forgets_beyond_so_many_bytes(store: Store) -> None:
    """Of values; a space knows nothing of another one's."""
    await store.remember("other", "k", b"x" * 500, now=0.0, until=99.0, **ROOM)
    for number, size in enumerate((40, 30, 20)):
        await _remember(store, f"k{number}", b"x" * size, now=float(number), size=100)
    _equal(await _known(store), ["k0", "k1", "k2"], "90 of 100 bytes")
    await _remember(store, "k1", b"x" * 40, now=3.0, size=100)
    _equal(await _known(store), ["k0", "k1", "k2"], "100 of 100 bytes, one in another's place")
    await _remember(store, "k3", b"x", now=4.0, size=100)
    _equal(await _known(store), ["k1", "k2", "k3"], "101 of 100 bytes")
    _equal(await store.recall("other", "k", now=5.0), b"x" * 500, "the other space's")


async def evicts_what_is_over(store: Store) -> None:
    """Of all spaces, and says how many."""
    for number in range(6):
        space = f"space {number % 2}"
        await store.remember(space, f"k{number}", b"1", now=0.0, until=float(number), **ROOM)
    _equal(await store.evict(now=3.0), 4, "results whose time is over at 3")
    _equal(await store.evict(now=3.0), 0, "the same again")
    _equal(await store.recall("space 0", "k4", now=3.0), b"1", "one whose time is not over")
    await store.remember("space 0", "new", b"1", now=9.0, until=99.0, entries=2, size=99)
    _equal(await store.recall("space 0", "k4", now=3.5), b"1", "the second of two after evict")


async def remembers_along_a_random_walk(store: Store) -> None:
    """Against a plain model of use and bounds."""
    rng = random.Random(11)
    model: dict[str, tuple[float, bytes, float]] = {}  # used, value, until
    for step in range(400):
        now, key = float(step), f"k{rng.randrange(12)}"
        if rng.random() < 0.5:
            value, until = b"x" * rng.randrange(60), now + rng.randrange(80)
            entries, size = rng.randrange(1, 9), rng.randrange(60, 200)
            await store.remember(
                "p/s", key, value, now=now, until=until, entries=entries, size=size
            )
            model[key] = now, value, until
            while len(model) > entries or sum(len(v) for _, v, _ in model.values()) > size:
                del model[min(model, key=lambda name: (model[name][0], name))]
        elif rng.random() < 0.7:
            await store.touch("p/s", [key], now=now)
            if key in model:
                model[key] = now, *model[key][1:]
        elif rng.random() < 0.2:
            over = [name for name, (_, _, until) in model.items() if until <= now]
            _equal(await store.evict(now=now), len(over), f"results that are over at {now}")
            for name in over:
                del model[name]
        live = {name: value for name, (_, value, until) in model.items() if now < until}
        for name in (f"k{number}" for number in range(12)):
            found = await store.recall("p/s", name, now=now)
            _equal(found, live.get(name), f"{name} at step {step}")


CASES: Final[Sequence[Case]] = (
    trims_whole_records,
    the_newest_record_stays,
    reads_what_a_trim_left,
    only_the_holder_trims,
    trims_while_it_is_written_and_read,
    remembers_until_its_time,
    forgets_the_oldest_used,
    forgets_beyond_so_many_bytes,
    evicts_what_is_over,
    remembers_along_a_random_walk,
)


# --- how the checks speak -------------------------------------------------------------------------


def _equal(found: Any, expected: Any, what: str) -> None:
    if found != expected:
        raise AssertionError(f"{what}: expected {expected!r:.600}, found {found!r:.600}")


def _events(run: str, first: Position, last: Position) -> list[bytes]:
    return [encode(Event(run=run, seq=seq, type="x.own")) for seq in range(first, last + 1)]


def _segment(run: str, first: Position, count: int = 1) -> Segment:
    return Segment(first, tuple(_events(run, first, first + count - 1)))


async def _created(store: Store, run: str) -> None:
    await store.create(
        Run(id=run, pipeline="crawl", created=1.0),
        _segment(run, 1),
        worker="w",
        now=0.0,
        ttl=TTL,
    )


async def _stale(store: Store, run: str, epoch: int) -> None:
    try:
        await store.trim(run, epoch, 3)
    except StaleEpoch:
        return
    raise AssertionError(f"trim of {run!r} with epoch {epoch} was not refused with StaleEpoch")


async def _remember(
    store: Store,
    key: str,
    value: bytes = b"1",
    *,
    now: float,
    entries: int = 1000,
    size: int = 1_000_000,
) -> None:
    await store.remember("p/s", key, value, now=now, until=99.0, entries=entries, size=size)


async def _known(store: Store) -> list[str]:
    keys = ("k0", "k1", "k2", "k3", "k4", "new", "last")
    found = [(key, await store.recall("p/s", key, now=50.0)) for key in keys]
    return sorted(key for key, value in found if value is not None)

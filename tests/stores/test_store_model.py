"""SQLite against memory as the model: whatever is asked, in whatever order, the same answers."""

import asyncio
import random
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from millstream.errors import StaleEpoch
from millstream.events import Segment, flatten
from millstream.store import Cancellation, Mark, Run
from millstream.stores.memory import MemoryStore
from millstream.stores.sqlite import SqliteStore

NAMES = [f"r{number}" for number in range(5)]
names = st.sampled_from([*NAMES, "nobody"])
pipelines = st.sampled_from(["p", "q"])
epochs = st.integers(0, 4)
times = st.integers(0, 60).map(float)
texts = st.lists(st.integers(1, 40_000).map(lambda n: b'"' + b"x" * n + b'"'), max_size=4)
marks = st.one_of(
    st.none(),
    st.builds(Mark, st.sampled_from(["queued", "running", "completed", "failed"]), times),
)


class SameAnswers(RuleBasedStateMachine):
    """Every rule asks both stores the same; an answer may be a value or a refusal."""

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.model, self.store = MemoryStore(), self.sqlite()
        self.loop.run_until_complete(self.store.open())
        self.held = {}
        self.begun = {}  # where segments begin

    def sqlite(self):
        return SqliteStore(Path(self.folder.name) / "runs.db", durability="process")

    def teardown(self):
        self.loop.run_until_complete(self.store.close())
        self.loop.close()
        self.folder.cleanup()

    def same(self, ask) -> Any:
        answers = [self.loop.run_until_complete(answer(ask, s)) for s in (self.model, self.store)]
        assert answers[0] == answers[1]
        return answers[0]

    @rule(
        name=names,
        pipeline=pipelines,
        created=times,
        key=st.sampled_from([None, "k", "l"]),
        worker=st.sampled_from([None, "w"]),
        size=st.integers(0, 3),
        now=times,
    )
    def create(self, name, pipeline, created, key, worker, size, now):
        run = Run(name, pipeline, created, key=key, owner=key)
        first = Segment(1, (b"{}",) * size)
        created = self.same(lambda s: s.create(run, first, worker=worker, now=now, ttl=10))
        if worker and not isinstance(created, str) and not created.existing:
            self.held[name] = (1, size)

    @rule(pipelines=st.lists(pipelines, max_size=2), now=times, run=st.none() | names)
    def claim(self, pipelines, now, run):
        lease = self.same(lambda s: s.claim("w", pipelines=pipelines, now=now, ttl=10, run=run))
        if lease:
            self.held[lease.run.id] = (lease.epoch, lease.run.seq)

    @rule(name=names, epoch=epochs, first=st.integers(0, 9), texts=texts, mark=marks)
    def append_anything(self, name, epoch, first, texts, mark):
        segment = Segment(first, tuple(texts))
        if self.same(lambda s: s.append(name, epoch, segment, mark)) is None:
            self.held[name] = (epoch, segment.last)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), texts=texts, mark=marks)
    def append_next(self, data, texts, mark):
        name = data.draw(st.sampled_from(sorted(self.held)))
        epoch, seq = self.held[name]
        segment = Segment(seq + 1, tuple(texts))
        if self.same(lambda s: s.append(name, epoch, segment, mark)) is None:
            self.held[name] = (epoch, segment.last)
            self.begun.setdefault(name, []).append(seq + 1)

    @precondition(lambda self: self.begun)
    @rule(data=st.data(), epoch=st.none() | epochs)
    def trim(self, data, epoch):
        """Where a segment begins; elsewhere it may matter how long records are."""
        name = data.draw(st.sampled_from(sorted(self.begun)))
        before = data.draw(st.sampled_from(self.begun[name]))
        epoch = self.held[name][0] if epoch is None else epoch
        self.same(lambda s: s.trim(name, epoch, before))

    @rule(
        key=st.sampled_from("abc"),
        space=st.sampled_from("st"),
        size=st.integers(0, 9),
        now=times,
        ttl=times,
        entries=st.integers(1, 3),
    )
    def remember(self, key, space, size, now, ttl, entries):
        value = b"x" * size
        self.same(
            lambda s: s.remember(
                space, key, value, now=now, until=now + ttl, entries=entries, size=20
            )
        )

    @rule(keys=st.lists(st.sampled_from("abc")), space=st.sampled_from("st"), now=times)
    def touch(self, keys, space, now):
        self.same(lambda s: s.touch(space, keys, now=now))

    @rule(key=st.sampled_from("abc"), space=st.sampled_from("st"), now=times)
    def recall(self, key, space, now):
        self.same(lambda s: s.recall(space, key, now=now))

    @rule(now=times)
    def evict(self, now):
        self.same(lambda s: s.evict(now=now))

    @rule(leases=st.lists(st.tuples(names, epochs), max_size=4), now=times)
    def renew(self, leases, now):
        self.same(lambda s: s.renew("w", leases, now=now, ttl=10))

    @rule(name=names, epoch=epochs)
    def release(self, name, epoch):
        self.same(lambda s: s.release(name, epoch))

    @rule(name=names, by=st.sampled_from(["a", "b"]))
    def cancel(self, name, by):
        self.same(lambda s: s.cancel(name, Cancellation(by, "why")))

    @rule(name=names, input=st.sampled_from([b"{}", b'{"a": 1}']))
    def amend(self, name, input):
        self.same(lambda s: s.amend(name, input))

    @rule(before=times, limit=st.integers(0, 3))
    def prune(self, before, limit):
        for run in self.same(lambda s: s.prune(ended_before=before, limit=limit)):
            self.held.pop(run.id, None)
            self.begun.pop(run.id, None)

    @rule(
        pipeline=st.none() | pipelines,
        state=st.sampled_from([None, "queued", "running", "failed"]),
        owner=st.sampled_from([None, "k"]),
        before=st.none() | names,
        limit=st.integers(0, 6),
    )
    def runs(self, pipeline, state, owner, before, limit):
        wanted = {"pipeline": pipeline, "state": state, "owner": owner, "before": before}
        self.same(lambda s: s.runs(**wanted, limit=limit))

    @rule(name=names, after=st.integers(0, 12), max_bytes=st.integers(0, 150_000))
    def read(self, name, after, max_bytes):
        self.same(lambda s: page(s, name, after, max_bytes))

    @rule()
    def reopen(self):
        self.loop.run_until_complete(self.store.close())
        self.store = self.sqlite()
        self.loop.run_until_complete(self.store.open())
        self.loop.run_until_complete(self.model.open())

    @invariant()
    def the_same_runs_are_kept(self):
        self.same(lambda s: s.runs())


async def page(store, run, after, max_bytes):
    """A page without how its events were cut into segments, which is the store's own affair."""
    page = await store.read(run, after, max_bytes=max_bytes)
    return page.first, page.last, page.ended, flatten(page.segments)


async def answer(ask, store) -> Any:
    """What a store says; a refusal is an answer too. Lists are compared as lists."""
    try:
        answer = await ask(store)
    except (StaleEpoch, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return list(answer) if isinstance(answer, list | tuple) else answer


TestSameAnswers = SameAnswers.TestCase
TestSameAnswers.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


def any_write(rng, known):
    """A random operation; mostly one that may succeed. `known` has each run's (seq, epoch)."""
    name, now = rng.choice([*NAMES, "nobody"]), rng.random() * 60
    seq, epoch = known.get(name, (0, 0))
    epoch += rng.choice((0, 0, 0, 0, 0, 1, -1))
    first = seq + rng.choice((1, 1, 1, 2, 3))
    segment = Segment(first, (b'"%d"' % rng.randrange(10**6),) * rng.choice((0, 1, 1, 2, 3)))
    mark = rng.choice((*[None] * 9, Mark("running", now), Mark("completed", now)))
    run = Run(name, "p", created=float(rng.randrange(5)), key=rng.choice((None, None, "k")))
    worker = rng.choice((None, "w"))
    append = ("append", (name, epoch, segment, mark), {})
    method, values, options = rng.choice(
        [append] * 8
        + [
            ("create", (run, Segment(1, (b"{}",))), {"worker": worker, "now": now, "ttl": 10}),
            ("claim", ("w",), {"pipelines": ["p"], "now": now, "ttl": 10}),
            ("claim", ("w",), {"pipelines": ["p"], "now": now, "ttl": 10, "run": name}),
            ("renew", ("w", [(name, epoch), ("r0", 1)]), {"now": now, "ttl": 10}),
            ("release", (name, epoch), {}),
            ("cancel", (name, Cancellation(str(now), "why")), {}),
            ("amend", (name, b'{"now": %d}' % now), {}),
            ("prune", (), {"ended_before": now, "limit": 2}),
        ]
    )
    return lambda store: getattr(store, method)(*values, **options)


@pytest.mark.parametrize("seed", range(6))
async def test_what_comes_in_together_has_the_same_outcomes(seed, tmp_path):
    """Batches of operations that meet in one transaction of SQLite, refused ones among them."""
    rng = random.Random(seed)
    model, store = MemoryStore(), SqliteStore(tmp_path / "runs.db", durability="process")
    await store.open()
    outcomes: list[Any] = []
    for _ in range(120):
        known = {run.id: (run.seq, run.epoch) for run in await model.runs()}
        batch = [any_write(rng, known) for _ in range(rng.randrange(1, 15))]
        expected = await asyncio.gather(*(answer(ask, model) for ask in batch))
        assert await asyncio.gather(*(answer(ask, store) for ask in batch)) == expected
        for ask in [
            lambda s: s.runs(),
            *(partial(page, run=n, after=0, max_bytes=9**9) for n in NAMES),
        ]:
            assert await answer(ask, store) == await answer(ask, model)
        outcomes += expected
    assert store.statistics().largest_batch >= 14
    kinds = {text.split(":")[0] for text in outcomes if isinstance(text, str)}
    assert kinds == {"StaleEpoch", "ValueError"}  # the walk meets refusals of both kinds
    assert outcomes.count(None) > 120
    await store.close()

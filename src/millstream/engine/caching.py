"""Caching: results of steps used again, over the store's `recall` and `remember`.

Where many ask for the same result at once, in this process, the first one makes it and the others
wait for it. If it fails, each of them makes it by itself, by its own policies: nobody fails of
somebody else's bad luck. A store that fails costs the saving, never the result.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from msgspec import Struct

from millstream import cached, values
from millstream.core.graph import Step
from millstream.core.recovery import elements
from millstream.errors import MillstreamError
from millstream.policy import Cache
from millstream.store import Store

log = structlog.get_logger("millstream.caching")

TOUCHES = 256
"""So many uses are noted together: which results are used least need not be known at once."""


class Statistics(Struct, frozen=True):
    """Since the start: results that were used again, those of them that were waited for, results
    that were made."""

    hits: int
    shared: int
    misses: int


class Lead:
    """The promise to make a result, and to say how it went: `keep` it, or `give_up`. Who asks
    meanwhile, and until the store has it, gets it from here."""

    def __init__(self, caching: "Caching", space: str, key: str, policy: Cache) -> None:
        self._caching, self._space, self._key, self._policy = caching, space, key, policy
        self.made: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

    def keep(self, raw: bytes) -> None:
        """The result as JSON: for whoever waits, and for later."""
        self.made.set_result(raw)
        if len(raw) <= self._policy.bytes:
            kept = self._caching.remember(self._space, self._key, raw, self._policy)
            kept.add_done_callback(lambda _: self._over())
        else:
            self._over()

    def give_up(self) -> None:
        """There is none. Does nothing after `keep`."""
        if not self.made.done():
            self.made.set_result(None)
            self._over()

    def _over(self) -> None:
        self._caching.forget(self._space, self._key, self)


class Caching:
    """The results of all cached steps of this process. `aclose` waits for what is being kept."""

    def __init__(self, store: Store, *, now: Callable[[], float]) -> None:
        self._store, self._now = store, now
        self._versions: dict[tuple[str, str], str] = {}
        self._leads: dict[tuple[str, str], Lead] = {}
        self._used: dict[str, dict[str, None]] = {}
        self._writing: set[asyncio.Task[None]] = set()
        self._hits = self._shared = self._misses = 0

    def statistics(self) -> Statistics:
        """How often it helped."""
        return Statistics(self._hits, self._shared, self._misses)

    async def ask(
        self, pipeline: str, step: Step, arguments: Mapping[str, Any]
    ) -> tuple[Any, Lead | None]:
        """The value of a call that was made before, or a Lead: make it, then tell the Lead.

        Of a step that yields the value is the list of what it yielded.
        Raises TypeError where an argument has no JSON form.
        """
        policy = step.cache
        assert policy is not None, "only cached steps ask"
        space = cached.space_of(pipeline, step)
        key = cached.key_of(step, self._version(pipeline, step), arguments)
        raw = await self._awaited(space, key)
        if raw is not None:
            try:
                value = _decoded(step, raw)
            except ValueError:  # another return type than when it was kept: make it anew
                log.info("cached_result_does_not_fit", pipeline=pipeline, step=step.name)
            else:
                self._hits += 1
                return value, None
        self._misses += 1
        lead = Lead(self, space, key, policy)
        self._leads.setdefault((space, key), lead)
        return None, lead

    def _version(self, pipeline: str, step: Step) -> str:
        known = self._versions.get((pipeline, step.name))
        if known is None:
            known = self._versions[pipeline, step.name] = cached.version_of(step)
        return known

    async def _awaited(self, space: str, key: str) -> bytes | None:
        """From whoever makes it just now, or from the store."""
        lead = self._leads.get((space, key))
        if lead is None:
            raw = await self._recalled(space, key)
            lead = self._leads.get((space, key)) if raw is None else None
            if lead is None:
                return raw
        await asyncio.wait([lead.made])  # which a cancelled waiter leaves as it is
        raw = lead.made.result()
        if raw is not None:
            self._shared += 1
        return raw

    async def _recalled(self, space: str, key: str) -> bytes | None:
        try:
            raw = await self._store.recall(space, key, now=self._now())
        except MillstreamError as error:
            log.warning("recall_failed", error=error.message)
            return None
        if raw is not None:
            self._note_use(space, key)
        return raw

    def forget(self, space: str, key: str, lead: Lead) -> None:
        """A Lead has come to its end: whoever asks from now on asks the store."""
        if self._leads.get((space, key)) is lead:
            del self._leads[space, key]

    # --- writing, which nobody waits for ------------------------------------------------------

    def remember(self, space: str, key: str, raw: bytes, policy: Cache) -> "asyncio.Task[None]":
        """Keep a result, soon."""
        self._flush_uses(space)  # first, so that the right ones make room
        moment = self._now()
        return self._write(
            self._store.remember(
                space,
                key,
                raw,
                now=moment,
                until=moment + policy.ttl,
                entries=policy.size,
                size=policy.bytes,
            )
        )

    def _note_use(self, space: str, key: str) -> None:
        used = self._used.setdefault(space, {})
        used.pop(key, None)
        used[key] = None
        if len(used) >= TOUCHES:
            self._flush_uses(space)

    def _flush_uses(self, space: str) -> None:
        used = self._used.pop(space, None)
        if used:
            self._write(self._store.touch(space, list(used), now=self._now()))

    def _write(self, writing: Awaitable[None]) -> "asyncio.Task[None]":
        task = asyncio.ensure_future(_written(writing))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        return task

    async def evict(self) -> int:
        """Forget what is over, and note what was used; how many that were."""
        for space in list(self._used):
            self._flush_uses(space)
        return await self._store.evict(now=self._now())

    async def aclose(self) -> None:
        """Until everything that was to be kept is kept."""
        for space in list(self._used):
            self._flush_uses(space)
        await asyncio.gather(*self._writing)

    def __repr__(self) -> str:
        return f"<Caching {self.statistics()}, {len(self._leads)} being made>"


async def _written(writing: Awaitable[None]) -> None:
    try:
        await writing
    except MillstreamError as error:
        log.warning("remember_failed", error=error.message)
    except Exception:  # an adapter's defect: it costs nobody their result
        log.exception("remember_failed")


def _decoded(step: Step, raw: bytes) -> Any:
    """A kept result as the step's own type. Raises ValueError where it does not fit."""
    decode = values.decoder(step.returns)
    return [decode(each) for each in elements(raw)] if step.yields else decode(raw)

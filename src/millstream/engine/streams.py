"""Streams: for each call that reads a `Stream`, its feed, and whether what it made of it stands.

A call may stop reading early, be answered from the log, or be superseded together with a value
that it had read. Here is only the state of that; the step's loop acts on it.
"""

from collections.abc import Callable

from millstream.core.graph import Path
from millstream.core.join import Ready
from millstream.engine.feed import Feed
from millstream.engine.work import Work, load


class _Call:
    """One call. `begun` is how it was called, while it may be called again the same way."""

    __slots__ = ("begun", "feed", "from_log", "unconfirmed")

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.begun: Ready | None = None
        self.from_log = self.unconfirmed = False


class Streams:
    """The calls of one step that reads `source` as a Stream. `logged` says whether the log has an
    outcome for a call that nothing has changed."""

    def __init__(
        self, work: Work, step: str, source: str, *, logged: Callable[[Path], bool]
    ) -> None:
        self._work, self._source, self._logged = work, source, logged
        declared = work.graph.steps[step]
        self._size = declared.buffer.size
        self._unsettled = step in work.graph.unsettled
        self._again = declared.attempts > 1 or declared.fallback is not None or self._unsettled
        self._calls: dict[Path, _Call] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def feed(self, path: Path) -> Feed:
        """The values of this call's Stream."""
        return self._call(path).feed

    def _call(self, path: Path) -> _Call:
        found = self._calls.get(path)
        if found is None:
            keep = self._again or self._logged(path)
            found = self._calls[path] = _Call(Feed(self._size, keep=keep, load=load))
        return found

    # --- a call's life ----------------------------------------------------------------------

    def begin(self, ready: Ready) -> None:
        """It is being called. One that the log answers need not read, unless values changed."""
        call = self._call(ready.path)
        call.begun = ready
        call.from_log = call.unconfirmed = not ready.fresh and self._logged(ready.path)
        if call.from_log:
            call.feed.abandon()

    def hold(self, path: Path) -> None:
        """It is cancelled: the join says when it may be called again."""
        self._call(path).begun = None

    def over(self, path: Path) -> None:
        """It has ended, or will never be made: it reads no more."""
        self.feed(path).abandon()
        self._let_go(path)

    def finish(self, path: Path) -> None:
        """Its values have ended."""
        self.feed(path).finish()
        self._let_go(path)

    def forget(self, path: Path) -> None:
        """All its values are superseded: its Stream begins anew, if at all."""
        self._calls.pop(path, None)

    def _let_go(self, path: Path) -> None:
        call = self._call(path)
        done = call.feed.ended and call.feed.abandoned and not call.unconfirmed
        if done and not self._unsettled:
            del self._calls[path]

    # --- values that are not what they were ---------------------------------------------------

    def drop(self, path: Path, number: int) -> bool:
        """That value is superseded. Whether the call had (or may have) read it."""
        call = self._call(path)
        return call.feed.drop(number) or call.from_log

    def unconfirmed(self, path: Path) -> bool:
        """Whether the log's answer for this call is still open to doubt."""
        return self._call(path).unconfirmed

    def again(self, path: Path) -> Ready | None:
        """How to call it once more, now that what it had read no longer counts."""
        call = self._call(path)
        call.from_log = call.unconfirmed = False
        begun = call.begun
        return Ready(begun.path, begun.arguments, fresh=True) if begun is not None else None

    async def confirmed(self, path: Path) -> bool:
        """The log says what a call made of its Stream; but a reader may stop early, and the
        stream's values be others this time, or fewer. Wait until that is clear; say whether what
        the log has still holds."""
        call = self._call(path)
        logged = self._values_logged(path)
        await call.feed.reached(logged)
        call.unconfirmed = False
        if logged is not None and call.feed.total < logged:
            return False
        if not self._unsettled:
            call.feed.release()
        return True

    def _values_logged(self, path: Path) -> int | None:
        """How many values of this call's Stream the log holds; None: not known, all of them."""
        recovered = self._work.recovered
        if recovered is None or not self._work.graph.steps[self._source].yields:
            return None
        return len(recovered.trace(self._source, path[-1] if path else None).digests)

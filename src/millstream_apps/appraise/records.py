"""Records: analyses in the database, what people said of them, and their display pages.

Every method blocks: call them in threads. An analysis is written once a run, however often the
step that writes it is tried: the run's id is unique in the table. Knows no HTTP.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from msgspec import Struct
from sqlalchemy import Row, Select, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from millstream import NotFound
from millstream_apps.appraise.recognition.models import View
from millstream_apps.appraise.tables import analyses, engine_of, feedback, pages

Agreement = Literal["agree", "disagree"]
State = Literal["provisional", "confirmed", "disputed"]
STATES: Mapping[Agreement, State] = {"agree": "confirmed", "disagree": "disputed"}


class Record(Struct, frozen=True, rename="camel"):
    """One analysis as listed. `authentic` and `authenticity_rating` are None without a verdict."""

    id: int
    pin_id: str
    session_id: str | None
    request_id: str
    timestamp: str
    reference: str | None
    name: str | None
    characters: str | None
    verdict: str
    authentic: bool | None
    authenticity_rating: float | None
    confidence: float
    note: str | None
    state: State
    parts: dict[str, Any]


class Said(Struct, frozen=True, rename="camel"):
    """One person's word on an analysis."""

    id: int
    analysis_id: int
    pin_id: str
    timestamp: str
    source: str
    user_agreement: Agreement
    feedback_comment: str


class Entry(Struct, frozen=True):
    """What is written of a run. `parts`: what each part found, as JSON, and which failed."""

    run: str
    session_id: str | None
    reference: str | None
    name: str | None
    characters: str | None
    verdict: str
    authentic: bool | None
    rating: float | None
    confidence: float
    note: str | None
    parts: dict[str, Any]


def pin_of(analysis: int) -> str:
    """The name under which clients know an analysed pin."""
    return f"pin-{analysis}"


class Records:
    """The analyses in the database at `url`. Owner None: of everybody (nobody logs in)."""

    def __init__(self, url: str) -> None:
        self._engine = engine_of(url)

    # --- an analysis --------------------------------------------------------------------------

    def write(self, entry: Entry, *, owner: str | None = None) -> int:
        """The analysis's number: a new one, or the one that this run has already."""
        known = self._number(entry.run)
        if known is not None:
            return known
        row = {
            "run": entry.run,
            "owner": owner,
            "session_id": entry.session_id,
            "created": _now(),
            "reference": entry.reference,
            "name": entry.name,
            "characters": entry.characters,
            "verdict": entry.verdict,
            "authentic": entry.authentic,
            "rating": entry.rating,
            "confidence": entry.confidence,
            "note": entry.note,
            "parts": entry.parts,
            "state": "provisional",
        }
        try:
            with self._engine.begin() as connection:
                made = connection.execute(insert(analyses).values(row)).inserted_primary_key
        except IntegrityError:  # a worker that was presumed dead has written it meanwhile
            known = self._number(entry.run)
            if known is None:
                raise
            return known
        assert made is not None
        return made[0]

    def _number(self, run: str) -> int | None:
        with self._engine.connect() as connection:
            return connection.scalar(select(analyses.c.id).where(analyses.c.run == run))

    def get(self, analysis: int, *, owner: str | None = None) -> Record:
        """One analysis. Raises NotFound."""
        query = _owned(select(analyses).where(analyses.c.id == analysis), owner)
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFound(f"there is no analysis {analysis}")
        return _record(row)

    def list(
        self,
        *,
        owner: str | None = None,
        state: State | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[Record]:
        """Analyses, the latest first, from below number `before` on."""
        query = _owned(select(analyses), owner).order_by(analyses.c.id.desc()).limit(limit)
        if state is not None:
            query = query.where(analyses.c.state == state)
        if before is not None:
            query = query.where(analyses.c.id < before)
        with self._engine.connect() as connection:
            return [_record(row) for row in connection.execute(query)]

    def count(self, *, owner: str | None = None, state: State | None = None) -> int:
        """How many there are."""
        query = _owned(select(func.count()).select_from(analyses), owner)
        if state is not None:
            query = query.where(analyses.c.state == state)
        with self._engine.connect() as connection:
            return connection.scalar(query) or 0

    # --- what people say ----------------------------------------------------------------------

    def confirm(
        self, analysis: int, agreement: Agreement, comment: str, *, owner: str | None = None
    ) -> Record:
        """Its owner's word: confirmed or disputed from now on. Said again, the later word counts.
        Raises NotFound."""
        self.get(analysis, owner=owner)
        mine = (feedback.c.analysis == analysis) & (feedback.c.source == "confirm")
        change = update(analyses).where(analyses.c.id == analysis)
        with self._engine.begin() as connection:
            connection.execute(delete(feedback).where(mine))
            connection.execute(_saying(analysis, "confirm", agreement, comment))
            connection.execute(change.values(state=STATES[agreement]))
        return self.get(analysis, owner=owner)

    def say(
        self, analysis: int, agreement: Agreement, comment: str, *, owner: str | None = None
    ) -> int:
        """Feedback, kept beside what was said before; its number. Raises NotFound."""
        self.get(analysis, owner=owner)
        with self._engine.begin() as connection:
            saying = _saying(analysis, "feedback", agreement, comment)
            made = connection.execute(saying).inserted_primary_key
        assert made is not None
        return made[0]

    def said(
        self,
        analysis: int | None = None,
        *,
        owner: str | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> Sequence[Said]:
        """Feedback on one analysis or on all, the latest first. Raises NotFound."""
        if analysis is not None:
            self.get(analysis, owner=owner)
        query = select(feedback).join(analyses, analyses.c.id == feedback.c.analysis)
        query = _owned(query, owner).order_by(feedback.c.id.desc()).limit(limit)
        if analysis is not None:
            query = query.where(feedback.c.analysis == analysis)
        if before is not None:
            query = query.where(feedback.c.id < before)
        with self._engine.connect() as connection:
            return [_said(row) for row in connection.execute(query)]

    # --- pages --------------------------------------------------------------------------------

    def put_pages(self, run: str, found: Mapping[View, str]) -> None:
        """Keep a run's display pages, in the place of what a first attempt wrote."""
        rows = [{"run": run, "view": view, "html": html} for view, html in found.items()]
        with self._engine.begin() as connection:
            connection.execute(delete(pages).where(pages.c.run == run))
            connection.execute(insert(pages), rows)

    def page(self, run: str, view: str) -> str | None:
        """One display page; None where there is none."""
        query = select(pages.c.html).where((pages.c.run == run) & (pages.c.view == view))
        with self._engine.connect() as connection:
            return connection.scalar(query)


def _owned(query: Select[Any], owner: str | None) -> Select[Any]:
    return query if owner is None else query.where(analyses.c.owner == owner)


def _saying(analysis: int, source: str, agreement: Agreement, comment: str) -> Any:
    return insert(feedback).values(
        analysis=analysis, created=_now(), source=source, agreement=agreement, comment=comment
    )


def _record(row: Row[Any]) -> Record:
    return Record(
        id=row.id,
        pin_id=pin_of(row.id),
        session_id=row.session_id,
        request_id=row.run,
        timestamp=row.created,
        reference=row.reference,
        name=row.name,
        characters=row.characters,
        verdict=row.verdict,
        authentic=row.authentic,
        authenticity_rating=row.rating,
        confidence=row.confidence,
        note=row.note,
        state=row.state,
        parts=row.parts,
    )


def _said(row: Row[Any]) -> Said:
    return Said(
        id=row.id,
        analysis_id=row.analysis,
        pin_id=pin_of(row.analysis),
        timestamp=row.created,
        source=row.source,
        user_agreement=row.agreement,
        feedback_comment=row.comment,
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

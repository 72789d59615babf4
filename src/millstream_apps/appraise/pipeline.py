"""The pipeline: photos are identified, then every part of the appraisal is made at once.

Authenticity is the one part that must be there; each other part may fail, and is then told as
failed. The record is written when all parts are through, once a run.
"""

from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct, to_builtins

from millstream import Context, Pipeline, Processes, Retry
from millstream_apps.appraise import engine, fragments
from millstream_apps.appraise.models import (
    Analysis,
    Characters,
    Details,
    Display,
    Identified,
    PhotoRequest,
    Pictures,
    Pricing,
    Recorded,
    Verdict,
)
from millstream_apps.appraise.page import page
from millstream_apps.appraise.prices import comparable, summarise
from millstream_apps.appraise.recognition.models import View
from millstream_apps.appraise.records import Entry, Records
from millstream_apps.appraise.settings import settings

NAME = "appraise"
HTML = {"characters": "identification", "pricing": "pricing", "details": "analysis"}
MOST_SALES = 200
"""Sales that are published with a price, the latest."""


class Eyes(Struct, frozen=True):
    """What looks at photos, and how long it may: functions of the parameters of `engine`'s."""

    identify: Callable[..., Any] = engine.identify
    authenticate: Callable[..., Any] = engine.authenticate
    authenticate_quickly: Callable[..., Any] = engine.authenticate_quickly
    picture: Callable[..., Any] = engine.picture
    executor: Literal["inline", "thread", "process"] | Processes = Processes(
        workers=settings().workers, warm=engine.warm_up
    )
    identify_seconds: float = 30.0
    authenticate_seconds: float = 20.0


def build(eyes: Eyes, name: str = NAME) -> Pipeline:
    """The pipeline over these eyes."""
    pipeline = Pipeline(name, doc="Photos of a pin: which it is, whether it is genuine, its price.")
    _look(pipeline, eyes)
    _tell(pipeline)
    _conclude(pipeline)
    return pipeline


def _look(pipeline: Pipeline, eyes: Eyes) -> None:
    """The steps that look at photos, in processes that hold the index."""
    pipeline.step(
        name="identification",
        executor=eyes.executor,
        timeout=eyes.identify_seconds,
        retry=Retry(attempts=2, base=0),
        internal=True,
    )(eyes.identify)
    pipeline.step(
        name="authenticity",
        executor=eyes.executor,
        timeout=eyes.authenticate_seconds,
        fallback=eyes.authenticate_quickly,
    )(eyes.authenticate)
    pipeline.step(
        name="pictures",
        executor=eyes.executor,
        timeout=eyes.authenticate_seconds,
        internal=True,
        optional=True,
    )(eyes.picture)


def _tell(pipeline: Pipeline) -> None:
    """The parts that say in words and numbers what the catalogue knows."""

    @pipeline.step(optional=True, timeout=20)
    def characters(identification: Identified) -> Characters:
        """Who is on the pin."""
        return Characters(
            characters=fragments.characters(identification),
            identification=fragments.identification(identification),
        )

    @pipeline.step(optional=True, timeout=20, retry=Retry(attempts=2))
    def pricing(identification: Identified) -> Pricing:
        """What it was sold for."""
        return priced(identification)

    @pipeline.step(optional=True, timeout=20)
    def details(identification: Identified) -> Details:
        """The reference as the catalogue has it."""
        return Details(fragments.details(identification), identification.card)

    @pipeline.step(optional=True, timeout=20, retry=Retry(attempts=2))
    def display(
        identification: Identified,
        authenticity: Verdict,
        pictures: list[Pictures] | None,
        pricing: Pricing | None,
        photos: PhotoRequest,
        context: Context,
    ) -> Display:
        """A page for each view; kept in the database, where its route finds it."""
        shown = {each.view: each for each in pictures or ()}
        pages: dict[View, str] = {
            view: page(view, identification, authenticity, shown.get(view), pricing)
            for view in photos.views
        }
        Records(settings().database()).put_pages(context.run, pages)
        sizes: dict[View, int] = {view: len(html.encode()) for view, html in pages.items()}
        return Display(sizes)


def _conclude(pipeline: Pipeline) -> None:
    """The record, and the whole."""

    @pipeline.step(optional=True, timeout=20, retry=Retry(attempts=3))
    def record(
        photos: PhotoRequest,
        authenticity: Verdict,
        characters: Characters | None,
        pricing: Pricing | None,
        details: Details | None,
        display: Display | None,
        context: Context,
    ) -> Recorded:
        """Write the analysis down. `display` is read so that all parts are through."""
        parts = {
            "authenticity": authenticity,
            "characters": characters,
            "pricing": pricing,
            "details": details,
            "display": display,
        }
        session = photos.session(context.created)
        entry = entry_of(context.run, session, parts)
        records = Records(settings().database())
        return Recorded(records.write(entry, owner=context.owner))

    @pipeline.step(executor="inline")
    def analysis(
        photos: PhotoRequest,
        authenticity: Verdict,
        characters: Characters | None,
        pricing: Pricing | None,
        details: Details | None,
        display: Display | None,
        record: Recorded | None,
        context: Context,
    ) -> Analysis:
        """The whole, for who waits for one answer."""
        return Analysis(
            id=record.id if record else None,
            session_id=photos.session(context.created),
            authenticity=authenticity,
            characters=characters,
            pricing=pricing,
            details=details,
            display=display,
        )


def priced(identified: Identified) -> Pricing:
    """The comparable sales of the identified reference. Reads the catalogue."""
    if identified.card is None:
        abstention = identified.abstention
        return Pricing(fragments.no_pricing(abstention.message if abstention else "no reference"))
    catalogue = engine.open_catalogue(settings().database())
    sales = comparable(catalogue.get(identified.card.id).sales)
    summary = summarise(sales)
    return Pricing(fragments.pricing(summary, sales), summary, sales[-MOST_SALES:])


def entry_of(run: str, session_id: str | None, parts: dict[str, Any]) -> Entry:
    """A run's row in the database. Its HTML is not repeated there; failed parts are named."""
    verdict: Verdict = parts["authenticity"]
    details: Details | None = parts["details"]
    characters: Characters | None = parts["characters"]
    card = details.reference if details else None
    plain = to_builtins({name: part for name, part in parts.items() if part is not None})
    for name, html in HTML.items():
        plain.get(name, {}).pop(html, None)
    plain["failed"] = sorted(name for name, part in parts.items() if part is None)
    return Entry(
        run=run,
        session_id=session_id,
        reference=card.id if card else None,
        name=card.name if card else None,
        characters=characters.characters if characters else None,
        verdict=verdict.verdict,
        authentic=verdict.authentic,
        rating=verdict.authenticity_rating,
        confidence=verdict.confidence,
        note=verdict.note,
        parts=plain,
    )


pipeline = build(Eyes())

"""What runs in the processes: the one place that calls recognition and holds an index.

Each process loads the catalogue's index when it is warmed up, and takes in what changed before
each call. Knows no run, no route and no HTML.
"""

from functools import lru_cache
from io import BytesIO
from typing import Literal

from msgspec import Struct
from PIL import Image, ImageOps
from pillow_heif import register_heif_opener

from millstream import StepError
from millstream_apps.appraise import recognition
from millstream_apps.appraise.catalogue import Catalogue, CatalogueError, UnknownReference
from millstream_apps.appraise.models import Card, Identified, PhotoRequest, Pictures, Verdict
from millstream_apps.appraise.recognition import Index, PhotoError, PhotoSet
from millstream_apps.appraise.recognition.models import (
    VIEWS,
    Authenticity,
    Evidence,
    Geometry,
    Identification,
    Match,
)
from millstream_apps.appraise.settings import settings

BAD_PHOTO = "bad_photo"
"""The code of a photo that cannot be read: the client's to mend."""

FIELDS = {"front": "frontImageData", "back": "backImageData", "angled": "angledImageData"}
PHOTO_SIDE = 480
"""Pixels of a photo's longer side on the display page."""


@lru_cache(maxsize=4)
def open_catalogue(url: str) -> Catalogue:
    """This process's one catalogue at `url`. Raises CatalogueError."""
    try:
        return Catalogue(url)
    except CatalogueError:  # two processes made its tables at once: by now they are there
        return Catalogue(url)


class _Bench(Struct):
    """What a process works with."""

    catalogue: Catalogue
    index: Index


@lru_cache(maxsize=1)
def _bench(url: str) -> _Bench:
    catalogue = open_catalogue(url)
    return _Bench(catalogue, catalogue.load_index())


def _fresh_bench() -> _Bench:
    """The bench, with whatever was added to the catalogue or removed since."""
    bench = _bench(settings().database())
    bench.catalogue.refresh(bench.index)
    return bench


def warm_up() -> None:
    """Load everything once for this process."""
    recognition.warm_up()
    _bench(settings().database())


# --- steps ---------------------------------------------------------------------------------------


def identify(photos: PhotoRequest) -> Identified:
    """Which reference the photos show, or why that cannot be said."""
    bench = _fresh_bench()
    given = _read(photos)
    try:
        found = recognition.identify(given.front, given.back, given.angled, index=bench.index)
    except PhotoError as error:
        raise _bad_photo(error) from error
    card = _card(bench.catalogue, found.reference) if isinstance(found, Match) else None
    return Identified(found, card, _names(bench.catalogue, found))


def authenticate(photos: PhotoRequest, identification: Identified) -> Verdict:
    """Every measured difference to the reference, and what they come to."""
    found = identification.found
    if not isinstance(found, Match):
        return undetermined(identification)
    bench = _fresh_bench()
    try:
        return verdict(recognition.authenticity(_read(photos), found, index=bench.index))
    except PhotoError as error:
        raise _bad_photo(error) from error


def authenticate_quickly(photos: PhotoRequest, identification: Identified) -> Verdict:
    """The cheaper way, for when the full one failed or took too long; it says so."""
    found = identification.found
    if not isinstance(found, Match):
        return undetermined(identification)
    bench = _fresh_bench()
    try:
        return verdict(recognition.quick_authenticity(_read(photos), found, index=bench.index))
    except PhotoError as error:
        raise _bad_photo(error) from error


def picture(photos: PhotoRequest, identification: Identified) -> list[Pictures]:
    """The pictures of each view that was sent, small enough for a page."""
    register_heif_opener()
    found = identification.found
    geometry = {each.view: each for each in found.geometry} if isinstance(found, Match) else {}
    shown = []
    for view in VIEWS:
        upload = photos.view(view)
        if upload is None:
            continue
        sent, lies = upload.read(), geometry.get(view)
        photo, width, height = _small(sent)
        shown.append(
            Pictures(
                view=view,
                photo=photo,
                width=width,
                height=height,
                outline=lies.outline if lies else (),
                rectified=_rectified(sent, lies) if lies else None,
                reference=_thumbnail(found, view),
            )
        )
    return shown


# --- values --------------------------------------------------------------------------------------


def verdict(found: Authenticity) -> Verdict:
    """What recognition measured, as it is published. Without evidence there is no verdict."""
    if not found.evidence:
        return no_verdict(
            "no_evidence", "no difference to the reference could be measured", found.method
        )
    if found.authentic is None:
        return no_verdict("unclear", found.note, found.method, found.evidence)
    note = found.note or None
    if found.method == "quick" and note is None:
        note = "Quick check: picture hash and colour only"
    return Verdict(
        verdict="authentic" if found.authentic else "not_authentic",
        authentic=found.authentic,
        authenticity_rating=round(found.rating, 1),
        confidence=round(found.confidence, 4),
        method=found.method,
        note=note,
        evidence=found.evidence,
    )


def undetermined(identification: Identified) -> Verdict:
    """No verdict, and why: there is no reference to compare with."""
    abstention = identification.abstention
    assert abstention is not None
    return no_verdict(abstention.reason, abstention.message, "none")


def no_verdict(
    reason: str,
    why: str,
    method: Literal["full", "quick", "none"],
    evidence: tuple[Evidence, ...] = (),
) -> Verdict:
    """Nothing in the place of numbers, and why; with what was measured all the same."""
    return Verdict(
        verdict="undetermined",
        authentic=None,
        authenticity_rating=None,
        confidence=0.0,
        method=method,
        note=f"No verdict: {why}",
        reason=reason,
        evidence=evidence,
    )


def _read(photos: PhotoRequest) -> PhotoSet:
    sent = {view: photos.view(view) for view in VIEWS}
    return PhotoSet(**{view: upload.read() for view, upload in sent.items() if upload})


def _bad_photo(error: PhotoError) -> StepError:
    return StepError(f"{FIELDS[error.field]}: {error}", code=BAD_PHOTO, retryable=False)


def _card(catalogue: Catalogue, id: str) -> Card:
    reference = catalogue.get(id)
    return Card(
        id=reference.id,
        name=reference.name,
        characters=tuple(reference.characters),
        series=reference.series,
        edition=reference.edition,
        notes=reference.notes,
    )


def _names(catalogue: Catalogue, found: Identification) -> dict[str, str]:
    names = {}
    for candidate in found.candidates:
        try:
            names[candidate.reference] = catalogue.get(candidate.reference).name
        except UnknownReference:  # removed since; its number is shown
            continue
    return names


def _small(photo: bytes) -> tuple[bytes, int, int]:
    """A JPEG of at most PHOTO_SIDE pixels a side, upright, without what the file said besides."""
    with Image.open(BytesIO(photo)) as opened:
        opened.draft("RGB", (2 * PHOTO_SIDE, 2 * PHOTO_SIDE))
        image = ImageOps.exif_transpose(opened).convert("RGB")
    image.thumbnail((PHOTO_SIDE, PHOTO_SIDE))
    out = BytesIO()
    image.save(out, "JPEG", quality=80)
    return out.getvalue(), image.width, image.height


def _rectified(photo: bytes, geometry: Geometry) -> bytes:
    return recognition.rectified(photo, geometry)


def _thumbnail(found: Identification, view: str) -> bytes | None:
    """The reference's own picture of this view, or of its front."""
    if not isinstance(found, Match):
        return None
    catalogue = _bench(settings().database()).catalogue
    for wanted in (view, "front"):
        try:
            return catalogue.thumbnail(found.reference, wanted)  # type: ignore[arg-type]
        except UnknownReference:
            continue
    return None

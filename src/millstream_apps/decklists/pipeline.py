"""The pipeline: each file is checked, read in a process, and matched against the card table.

Three steps per file; a file that fails leaves its neighbours alone.
"""

from functools import lru_cache

from msgspec import Struct

from millstream import Each, Pipeline, Processes, Retry, StepError, Upload
from millstream_apps.decklists import reading
from millstream_apps.decklists import scan as scanning
from millstream_apps.decklists.assemble import assemble
from millstream_apps.decklists.cards import CardTable, CardTableError
from millstream_apps.decklists.matching import Matcher
from millstream_apps.decklists.models import DecklistResponse
from millstream_apps.decklists.scan import BadPicture, Scan
from millstream_apps.decklists.settings import settings

VALIDATION, PROCESSING = "validation", "processing"
"""The codes of failures, and the contract's `error_type`s."""

pipeline = Pipeline("decklists", doc="Screenshots of Riftbound decks become decklists.")
readers = Processes(workers=settings().max_workers, warm=reading.warm_up)


class Checked(Struct, frozen=True):
    """A file that may be read: its name and its size in bytes."""

    filename: str
    size: int


@pipeline.step(executor="thread")
def checked(files: Each[Upload]) -> Checked:
    """Refuse what is no picture by its name, type, size or first bytes."""
    with files.open() as file:
        head = file.read(16)
    problem = scanning.validate(
        files.filename, files.content_type, files.size, head, max_bytes=settings().max_file_bytes
    )
    if problem is not None:
        raise StepError(problem, code=VALIDATION, retryable=False)
    return Checked(files.filename, files.size)


@pipeline.step(executor=readers, timeout=60, retry=Retry(attempts=2, base=0))
def scan(files: Each[Upload], checked: Checked) -> Scan:
    """Read what is written on the picture. A process that dies of one is replaced."""
    try:
        return scanning.scan(files.read())
    except BadPicture as error:
        raise StepError(str(error), code=PROCESSING, retryable=False) from error


@pipeline.step(executor=readers, timeout=60, retry=Retry(attempts=2, base=0))
def decklist(scan: Scan) -> DecklistResponse:
    """Find the cards that are meant."""
    return assemble(scan, matcher())


@lru_cache(maxsize=1)
def matcher() -> Matcher:
    """This process's matcher over the card table. Raises CardTableError."""
    return Matcher(CardTable.load(settings().card_mapping_path))


@lru_cache(maxsize=1)
def table() -> CardTable | None:
    """The card table; None where it cannot be loaded (then nothing is served)."""
    try:
        return CardTable.load(settings().card_mapping_path)
    except (CardTableError, OSError):
        return None

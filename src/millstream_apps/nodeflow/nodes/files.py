"""Sources that read files of the folder that the operator names: a tail, NDJSON, CSV."""

import asyncio
import csv
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from millstream import Out, StepError
from millstream_apps.nodeflow.nodes.base import Config, Seconds, Text, Tools
from millstream_apps.nodeflow.nodes.pacing import paced
from millstream_apps.nodeflow.nodes.tailing import Tailer

T = TypeVar("T")
CHUNK = 256
"""Rows read in a thread at a time."""
Rate = Annotated[float, Meta(ge=0, le=1_000_000)]


class TailConfig(Config, frozen=True):
    """`path` in the folder for files; a look every `poll` seconds. `from_start` reads what is
    there already. `parse` makes JSON of each line; what is none goes to the port `bad`, as
    `{line, error}`."""

    path: Text
    poll: Seconds = 0.25
    from_start: bool = False
    parse: Literal["text", "json"] = "text"


class RecordsConfig(Config, frozen=True):
    """`path` in the folder for files; `rate` rows a second, as fast as they are read for 0.
    `bad` says what a row that cannot be read does: end the flow with an error, or be skipped and
    sent to the port `bad` as `{line, error}`."""

    path: Text
    rate: Rate = 0.0
    bad: Literal["fail", "port"] = "fail"


class CsvConfig(RecordsConfig, frozen=True):
    """`numbers` makes numbers of cells that look like them. The first row names the fields, unless
    `fields` does."""

    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] = ","
    fields: tuple[str, ...] = ()
    numbers: bool = True


class BadRow(Exception):
    """A row that cannot be read, by its line (from 1)."""

    def __init__(self, line: int, error: str) -> None:
        super().__init__(f"line {line}: {error}")
        self.line, self.error = line, error


def file_tail(config: TailConfig, tools: Tools) -> Callable[[], AsyncIterator[Any]]:
    """Each new line of a file that grows, is rotated or truncated."""
    path = tools.file(config.path)

    async def source() -> AsyncIterator[Any]:
        tailer = Tailer(path, from_start=config.from_start)
        try:
            while True:
                lines = await asyncio.to_thread(tailer.read)
                for line in lines:
                    yield _parsed(line) if config.parse == "json" else Out("out", line)
                if not lines:
                    await asyncio.sleep(config.poll)
        finally:
            tailer.close()

    return source


def _parsed(line: str) -> Out[Any]:
    try:
        return Out("out", msgspec.json.decode(line))
    except msgspec.DecodeError as error:
        return Out("bad", {"line": line, "error": str(error)})


def ndjson(config: RecordsConfig, tools: Tools) -> Callable[[], AsyncIterator[Any]]:
    """Each line of a file as JSON; empty lines are skipped."""
    return _records(config, partial(ndjson_rows, tools.file(config.path)))


def csv_rows_of(config: CsvConfig, tools: Tools) -> Callable[[], AsyncIterator[Any]]:
    """Each row of a file as an object."""
    return _records(config, partial(csv_rows, tools.file(config.path), config))


def ndjson_rows(path: Path) -> Iterator[Any]:
    """The values of a file's lines, or a BadRow in the place of one that cannot be read."""
    with path.open("rb") as file:
        for at, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                yield msgspec.json.decode(line)
            except msgspec.DecodeError as error:
                yield BadRow(at, str(error))


def csv_rows(path: Path, config: CsvConfig) -> Iterator[Any]:
    """The rows as objects, or a BadRow in the place of one with too few or too many cells."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.reader(file, delimiter=config.delimiter)
        names = list(config.fields) or next(reader, [])
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(names):
                told = f"{len(cells)} cells, but {len(names)} fields"
                yield BadRow(reader.line_num, told)
            else:
                values = map(_cell, cells) if config.numbers else cells
                yield dict(zip(names, values, strict=True))


def _cell(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _records(
    config: RecordsConfig, rows: Callable[[], Iterator[Any]]
) -> Callable[[], AsyncIterator[Any]]:
    """Rows are read in a thread, some at a time, and given at the pace that is asked for."""

    async def source() -> AsyncIterator[Any]:
        pace = paced(1 / config.rate) if config.rate else None
        async for row in _threaded(rows()):
            if pace is not None:
                await anext(pace)
            if not isinstance(row, BadRow):
                yield Out("out", row)
            elif config.bad == "port":
                yield Out("bad", {"line": row.line, "error": row.error})
            else:
                raise StepError(str(row), code="bad_row", retryable=False)

    return source


async def _threaded(rows: Iterator[T]) -> AsyncIterator[T]:
    try:
        while chunk := await asyncio.to_thread(lambda: list(islice(rows, CHUNK))):
            for row in chunk:
                yield row
    except OSError as error:
        said = f"the file cannot be read: {error.strerror or error}"
        raise StepError(said, code="file_unreadable", retryable=True) from error

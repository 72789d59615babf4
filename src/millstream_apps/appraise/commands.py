"""`millstream appraise …`: the reference catalogue on the command line.

Imports the catalogue when a command is called, so that `millstream --help` does not wait for it.
"""

from contextlib import contextmanager
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from millstream import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from millstream_apps.appraise.catalogue import Catalogue, Sale

commands = typer.Typer(help="Appraise pins: the reference catalogue.", no_args_is_help=True)
catalogue = typer.Typer(help="The reference pins.", no_args_is_help=True)
commands.add_typer(catalogue, name="catalogue")

Database = Annotated[
    str | None, typer.Option(help="SQLAlchemy URL; where not given, the server's own.")
]
Photo = Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="A photo file.")]


@catalogue.command()
def add(
    name: Annotated[str, typer.Argument(help="The pin's name.")],
    front: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="The front's photo.")],
    back: Photo = None,
    angled: Photo = None,
    id: Annotated[str, typer.Option(help="Its number; made from the name where not given.")] = "",
    character: Annotated[list[str] | None, typer.Option(help="Who is on it; repeat it.")] = None,
    series: str = "",
    edition: str = "",
    notes: str = "",
    sale: Annotated[
        list[str] | None, typer.Option(help="PRICE,CURRENCY,YYYY-MM-DD[,SOURCE]; repeat it.")
    ] = None,
    replace: Annotated[
        bool, typer.Option(help="In the place of one with the same number.")
    ] = False,
    database: Database = None,
) -> None:
    """Add a reference pin.

    Example:

        millstream appraise catalogue add "Star of the North" --front star.jpg --character Ada
    """
    from millstream_apps.appraise.catalogue import Reference

    views: list[tuple[Any, Path | None]] = [("front", front), ("back", back), ("angled", angled)]
    photos = [(view, path.read_bytes()) for view, path in views if path is not None]
    reference = Reference(
        id=id,
        name=name,
        characters=tuple(character or ()),
        series=series,
        edition=edition,
        notes=notes,
        sales=tuple(parse_sale(each) for each in sale or ()),
    )
    with _opened(database) as opened:
        typer.echo(opened.add(reference, photos, replace=replace).id)


@catalogue.command("import")
def import_(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV or JSON.")],
    photos: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder of the photos.")
    ] = None,
    replace: Annotated[bool, typer.Option(help="In the place of those that are there.")] = False,
    database: Database = None,
) -> None:
    """Add all pins of a list. What is wrong with single lines is told, and the rest goes in."""
    with _opened(database) as opened:
        done = opened.import_file(file, photos, replace=replace)
    for problem in done.problems:
        typer.echo(problem, err=True)
    typer.echo(f"{done.added} added, {done.replaced} replaced, {done.skipped} skipped")
    if done.problems:
        raise typer.Exit(1)


@catalogue.command("list")
def list_(
    query: Annotated[str, typer.Argument(help="Part of a name, character or series.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 1000,
    database: Database = None,
) -> None:
    """List reference pins: number, name, characters, series, edition, photos and sales."""
    with _opened(database) as opened:
        for found in opened.list(query, limit=limit):
            counts = f"{len(found.photos)} photos", f"{len(found.sales)} sales"
            about = ", ".join(found.characters), found.series, found.edition
            typer.echo("\t".join((found.id, found.name, *about, *counts)))


@catalogue.command()
def remove(
    ids: Annotated[list[str], typer.Argument(help="Numbers of reference pins.")],
    database: Database = None,
) -> None:
    """Remove reference pins."""
    with _opened(database) as opened:
        for id in ids:
            opened.remove(id)
            typer.echo(f"removed {id}")


def parse_sale(said: str) -> "Sale":
    """`12.50,USD,2026-03-01,auction` as a sale. Raises RequestError."""
    from millstream_apps.appraise.catalogue import Sale

    price, currency, day, source = (*(part.strip() for part in said.split(",", 3)), "", "", "")[:4]
    try:
        return Sale(Decimal(price), currency.upper(), date.fromisoformat(day), source)
    except (InvalidOperation, ValueError) as error:
        raise RequestError(
            f"--sale {said!r}: write PRICE,CURRENCY,YYYY-MM-DD[,SOURCE], as 12.50,USD,2026-03-01"
        ) from error


@contextmanager
def _opened(database: str | None) -> "Iterator[Catalogue]":
    """The catalogue; what it refuses is one line of the command line."""
    from millstream_apps.appraise.catalogue import Catalogue, CatalogueError, UnknownReference
    from millstream_apps.appraise.recognition import PhotoError
    from millstream_apps.appraise.settings import settings

    try:
        with Catalogue(database or settings().database()) as opened:
            yield opened
    except PhotoError as error:
        raise RequestError(f"{error.field} photo: {error}") from error
    except (CatalogueError, UnknownReference) as error:
        raise RequestError(str(error)) from error

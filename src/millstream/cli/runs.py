"""`millstream runs` and `millstream cancel`: what a server has, and stopping one of it.

In the command line's room, over the client.
"""

import asyncio
import json
from typing import Annotated, Any

import typer

from millstream.cli.places import DEFAULT_URL, Url

COLUMNS = ("id", "state", "pipeline", "created", "seq")


def runs(
    pipeline: Annotated[str | None, typer.Option(help="Of this pipeline only.")] = None,
    state: Annotated[
        str | None, typer.Option(help="queued, running, completed, failed or cancelled.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many at most.")] = 20,
    url: Url = DEFAULT_URL,
    as_json: Annotated[bool, typer.Option("--json", help="One object a line.")] = False,
) -> None:
    """List runs, newest first."""
    found = asyncio.run(_runs(url, pipeline=pipeline, state=state, limit=limit))
    if as_json:
        for each in found:
            print(json.dumps(each, ensure_ascii=False))
    elif found:
        print(table(found))


async def _runs(url: str, **asked: Any) -> list[dict[str, Any]]:
    from millstream.cli.places import reached

    async with reached(url) as client:
        return await client.runs(**asked)


def table(found: list[dict[str, Any]]) -> str:
    """Columns, as wide as they must be."""
    rows = [COLUMNS, *(tuple(str(each[name]) for name in COLUMNS) for each in found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def cancel(
    run: Annotated[str, typer.Argument(help="The run's id.", metavar="RUN")],
    reason: Annotated[str, typer.Option(help="Told in the log's last event.")] = "asked to",
    url: Url = DEFAULT_URL,
) -> None:
    """Stop a run, and wait until it has stopped.

    Exit status: 0, also where the run had ended before; 2 where there is no such run.
    """
    state = asyncio.run(_cancel(run, reason, url))
    print(f"run {run} {'is' if state == 'cancelled' else 'had'} {state}")


async def _cancel(run: str, reason: str, url: str) -> str:
    from millstream.cli.places import reached

    async with reached(url) as client:
        await client.cancel(run, reason)
        return (await client.outcome(run))["state"]

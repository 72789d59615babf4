"""`millstream tail`: a run that exists already, from a position to its end.

In the command line's room, over the client.
"""

import asyncio
import sys
from typing import Annotated

import typer

from millstream.cli.places import DEFAULT_URL, Url
from millstream.cli.run import AsJson


def tail(
    run: Annotated[str, typer.Argument(help="The run's id.", metavar="RUN")],
    after: Annotated[
        int, typer.Option(min=0, help="The position of the last event that you have.")
    ] = 0,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Follow a run to its end: from its first event, or behind a position.

    Progress goes to stderr and the result, as JSON, to stdout; with --json only the envelopes do.

    Exit status: 0 completed, 1 failed, 2 no such run, 3 cancelled. Ctrl-C leaves the run alone.
    """
    raise typer.Exit(asyncio.run(_tail(run, after, url, as_json)))


async def _tail(run: str, after: int, url: str, as_json: bool) -> int:
    from millstream.cli import show
    from millstream.cli.follow import Watch, come_back
    from millstream.cli.places import reached

    view = show.choose(as_json, sys.stdout)
    async with reached(url, view) as client:
        back = come_back(url)
        watch = Watch(client, view, sys.stdout, as_json=as_json, cancels=False, back=back)
        return await watch.run(client.follow(run, after=after))

"""`millstream run`: one run, from the command line's words to its result and an exit status.

In the command line's room, over the client. What is heavy is imported when the command is called.
"""

import asyncio
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Annotated, Any, TextIO

import typer

from millstream.cli.places import DEFAULT_URL, Url

AsJson = Annotated[
    bool,
    typer.Option(
        "--json", help="On stdout one envelope a line, and nothing else; no progress on stderr."
    ),
]


@dataclass(frozen=True)
class Asked:
    """What the command line said."""

    name: str
    files: list[str]
    fields: list[str]
    input: str | None
    timeout: float | None
    as_json: bool


def run(
    name: Annotated[str, typer.Argument(help="The pipeline.", metavar="NAME")],
    file: Annotated[
        list[str] | None,
        typer.Option(help="A file to send; FIELD=PATH names its field. Repeats.", metavar="PATH"),
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option(
            help="A field of the input; @PATH is the text of a file, @- stdin. Repeats.",
            metavar="NAME=VALUE",
        ),
    ] = None,
    input: Annotated[
        str | None, typer.Option(help="The input as JSON, or @PATH.", metavar="JSON")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds in which the run must have ended.")
    ] = None,
    url: Url = DEFAULT_URL,
    app: Annotated[
        str | None,
        typer.Option(
            help="Serve this application here, for this run: no server is needed.",
            metavar="MODULE:APP",
        ),
    ] = None,
    store: Annotated[
        str | None, typer.Option(help="With --app: where runs are kept (else in memory).")
    ] = None,
    cancel_on_exit: Annotated[
        bool, typer.Option("--cancel-on-exit", help="Ctrl-C cancels the run.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start a run and watch it: progress while it works, every partial as it comes, the result.

    Progress and partials go to stderr, live on a terminal; the result goes to stdout, as JSON. A
    terminal gets the beginning of a long one, a file or a pipe all of it. With --json the
    envelopes go to stdout instead.

    Exit status: 0 completed, 1 failed, 2 wrongly asked, 3 cancelled. Ctrl-C leaves the run alone
    and says how to come back to it.

    Examples:

        millstream run hello --field text="a stream of words" --app examples.hello:app

        millstream run decklists --file deck-1.jpg --file deck-2.jpg > decks.json
    """
    from millstream.cli.places import here, stdout_apart
    from millstream.errors import InputError

    if store is not None and app is None:
        raise InputError("--store: is for --app; a server has its own")
    asked = Asked(name, file or [], field or [], input, timeout, as_json)
    out = sys.stdout
    with ExitStack() as stack:
        if app is not None:
            out = stack.enter_context(stdout_apart())
            url = stack.enter_context(here(app, store))
        # What is kept in memory here ends with this process: leaving is cancelling then.
        cancels = cancel_on_exit or (app is not None and store is None)
        status = asyncio.run(_run(asked, url, out, cancels, _back(url, app, store)))
    raise typer.Exit(status)


def _back(url: str, app: str | None, store: str | None) -> Any:
    from millstream.cli.follow import come_back

    if app is None:
        return come_back(url)
    if store is None:
        return lambda run, cursor: "it ends with this process"
    return lambda run, cursor: (
        f"its server was this process; go on with: millstream serve {app} --store {store} "
        f"(then: millstream tail {run} --after {cursor})"
    )


async def _run(asked: Asked, url: str, out: TextIO, cancels: bool, back: Any) -> int:
    from millstream.cli import inputs, show
    from millstream.cli.follow import Watch
    from millstream.cli.places import reached

    view = show.choose(asked.as_json, out)
    document, fields = inputs.read_input(asked.input), inputs.read_fields(asked.fields)
    async with reached(url, view) as client:
        pipeline = await client.pipeline(asked.name)
        stream = client.stream(
            asked.name,
            input=document,
            files=inputs.read_files(asked.files, pipeline),
            fields=fields,
            timeout=asked.timeout,
        )
        watch = Watch(client, view, out, as_json=asked.as_json, cancels=cancels, back=back)
        return await watch.run(stream)

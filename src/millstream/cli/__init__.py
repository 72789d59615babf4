"""The command `millstream`. Each command is a file here; this one only brings them together.

The files import what they need when they are called: `--help` must not wait for a web framework.
"""

import codecs
import json
import os
import sys
from typing import Annotated

import typer

from millstream.cli import graph, keys, run, runs, serve, systems, tail
from millstream.errors import MillstreamError
from millstream.version import __version__

cli = typer.Typer(
    name="millstream",
    cls=systems.WithSystems,
    help="Pipelines whose every partial result reaches its client, and none is lost.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
cli.command("serve")(serve.serve)
cli.command("run")(run.run)
cli.command("tail")(tail.tail)
cli.command("runs")(runs.runs)
cli.command("cancel")(runs.cancel)
cli.command("graph")(graph.graph)
cli.add_typer(keys.commands, name="keys")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"millstream {__version__}")
        raise typer.Exit


@cli.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="And exit.")
    ] = False,
) -> None:
    """Options of the command itself."""


def main() -> None:
    """Run the command line. Errors of ours are one line on stderr and exit status 1 (2 where the
    command line itself asked for something impossible). A reader that leaves (`| head`) is no
    error: click ends without a word."""
    _prepare_streams()
    try:
        cli()
    except MillstreamError as error:
        print(f"millstream: {error.message}", file=sys.stderr)
        raise SystemExit(2 if 400 <= error.status < 500 else 1) from None


def _prepare_streams() -> None:
    """One that is closed (`2>&-`) is there and says nothing. A character that an encoding lacks is
    a number: on stdout as JSON writes it, for a program reads that.
    """
    codecs.register_error("millstream.json", _as_json)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - to the process's end
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream, errors in (sys.stdout, "millstream.json"), (sys.stderr, "backslashreplace"):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=errors)  # type: ignore[union-attr]


def _as_json(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end

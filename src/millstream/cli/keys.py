"""`millstream keys`: who may use a server. Writes the file that `keys_file` names, nothing else.

A key is printed once, when it is made; what is kept is its hash.
"""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

commands = typer.Typer(
    help="API keys: with any, a server asks everybody for one.", no_args_is_help=True
)

File = Annotated[
    Path | None, typer.Option("--file", help="Where they are kept; the setting keys_file.")
]


def _path(file: Path | None) -> Path:
    from millstream.settings import Settings  # not above: `--help` must not wait for it

    return file or Settings.load().keys_file


@commands.command()
def add(
    name: Annotated[str, typer.Argument(help="What to list and remove it by.")],
    owner: Annotated[
        str | None, typer.Option(help="Whose runs it sees; its own alone where not given.")
    ] = None,
    file: File = None,
) -> None:
    """Make a key, and print it: this once."""
    from millstream.server import keys

    path = _path(file)
    made = keys.add(path, name, owner=owner, now=time.time())
    typer.echo(made)
    typer.echo(
        f"kept as a hash in {path}, for owner {owner or name}; the key itself stands nowhere else",
        err=True,
    )


@commands.command("list")
def list_keys(file: File = None) -> None:
    """Names, owners, when they were made, and the beginnings of their hashes."""
    from millstream.server import keys

    for key in keys.read(_path(file)):
        made = datetime.fromtimestamp(key.created, UTC).strftime("%Y-%m-%d %H:%M")
        typer.echo(f"{key.name}\t{key.owner}\t{made}\t{key.sha256[:12]}")


@commands.command()
def remove(name: Annotated[str, typer.Argument(help="The key's name.")], file: File = None) -> None:
    """Forget a key. A server that runs refuses it within a second."""
    from millstream.server import keys

    gone = keys.remove(_path(file), name)
    typer.echo(f"the key {gone.name} of {gone.owner} opens nothing any more", err=True)

"""Commands that systems bring, beside the command line's own. In the command line's room.

A system names a `typer.Typer` under the entry-point group `millstream.commands`:

    [project.entry-points."millstream.commands"]
    appraise = "millstream_apps.appraise.commands:commands"

and `millstream appraise …` is there. Nothing of a system is imported before its command, or the
help, is asked for. One that cannot be imported says so when it is called; the others go on.
"""

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command as command_of

from millstream.errors import MillstreamError, SettingsError

GROUP = "millstream.commands"


def found() -> Iterable[EntryPoint]:
    """The commands of what is installed here."""
    return entry_points(group=GROUP)


class WithSystems(TyperGroup):
    """The command line's own commands, then those of systems by name. Its own win."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Every command, in the order of the help."""
        own = super().list_commands(ctx)
        return [*own, *sorted({entry.name for entry in found()} - set(own))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """One command; None where there is none of this name."""
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        entry = next((each for each in found() if each.name == cmd_name), None)
        return None if entry is None else _loaded(entry)


def _loaded(entry: EntryPoint) -> Any:
    try:
        commands = entry.load()
        if not isinstance(commands, typer.Typer):
            raise TypeError(f"it is a {type(commands).__name__}, not a typer.Typer")
    except MillstreamError as error:
        return _unusable(entry, error.message)
    except Exception as error:
        return _unusable(entry, f"{type(error).__name__}: {error}")
    command = command_of(commands)
    command.name = entry.name
    return command


def _unusable(entry: EntryPoint, why: str) -> Any:
    """A command that says why it is none."""
    said = f"the command {entry.name!r} ({entry.value}) cannot be loaded: {why}"
    lone = typer.Typer()

    @lone.command(
        entry.name,
        help=f"Cannot be loaded: {why}",
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )
    def say() -> None:
        raise SettingsError(said)

    return command_of(lone)

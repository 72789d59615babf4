"""Commands that systems bring: there by their entry point, loaded when asked for, and apart."""

import sys
from importlib.metadata import EntryPoint, entry_points

import pytest
import typer
from typer.testing import CliRunner

from millstream.cli import systems
from millstream.errors import SettingsError

HERE = "tests.cli.test_cli_systems"
commands = typer.Typer(help="Greetings.")
not_commands = 3


@commands.command()
def hello(name: str) -> None:
    """Say hello."""
    typer.echo(f"hello {name}")


@commands.command()
def bye() -> None:
    """Say goodbye."""
    typer.echo("bye")


@pytest.fixture
def call(monkeypatch):
    """Calls a command line with one command of its own and these entry points."""
    own = typer.Typer(cls=systems.WithSystems)
    own.callback()(lambda: None)

    @own.command()
    def serve() -> None:
        """Serve."""
        typer.echo("its own")

    def called(*words, **entries):
        found = [EntryPoint(name, value, systems.GROUP) for name, value in entries.items()]
        monkeypatch.setattr(systems, "found", lambda: found)
        return CliRunner().invoke(own, list(words))

    return called


def test_a_systems_commands_are_listed_and_run(call):
    listed = call("--help", greet=f"{HERE}:commands")
    assert "serve" in listed.output
    assert "Greetings." in listed.output
    assert call("greet", "hello", "you", greet=f"{HERE}:commands").output == "hello you\n"
    assert call("greet", "bye", greet=f"{HERE}:commands").output == "bye\n"


def test_what_is_its_own_stays_its_own(call):
    assert call("serve", serve=f"{HERE}:commands").output == "its own\n"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("no_such_module_here:commands", "No module named"),
        (f"{HERE}:nothing", "has no attribute 'nothing'"),
        (f"{HERE}:not_commands", "it is a int, not a typer.Typer"),
    ],
)
def test_a_broken_one_says_why_and_breaks_nothing_else(call, value, why):
    entries = {"broken": value, "greet": f"{HERE}:commands"}
    broken = call("broken", "anything", "--at", "all", **entries)
    assert isinstance(broken.exception, SettingsError)
    assert why in broken.exception.message
    assert "'broken'" in broken.exception.message
    assert call("serve", **entries).output == "its own\n"
    assert call("greet", "bye", **entries).output == "bye\n"
    assert "broken" in call("--help", **entries).output


def test_nothing_of_a_system_is_imported_for_other_commands(call, tmp_path, monkeypatch):
    tmp_path.joinpath("heavy_system.py").write_text("import typer\ncommands = typer.Typer()\n")
    monkeypatch.syspath_prepend(tmp_path)
    call("serve", heavy="heavy_system:commands")
    assert "heavy_system" not in sys.modules


def test_an_unknown_command_is_unknown(call):
    assert call("nonsense", greet=f"{HERE}:commands").exit_code == 2


def test_the_installed_systems_load():
    for entry in entry_points(group=systems.GROUP):
        assert isinstance(entry.load(), typer.Typer), entry

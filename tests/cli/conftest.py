"""The command line, called in this process (`cli`) or as a process of its own (`spawn`)."""

import sys

import pytest

from millstream.cli import main
from millstream.cli.places import here
from tests.cli.processes import HERE, MILLSTREAM, Said, Spawned


@pytest.fixture(scope="session", autouse=True)
def _importable():
    sys.path.insert(0, str(HERE))


@pytest.fixture(scope="session")
def url(_importable):
    with here("cli_apps:app", None) as url:
        yield url


@pytest.fixture
def cli(monkeypatch, capsys):
    def call(*words) -> Said:
        monkeypatch.setattr(sys, "argv", ["millstream", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        status = ended.value.code
        return Said(status if isinstance(status, int) else 0, *capsys.readouterr())

    return call


@pytest.fixture
def spawn():
    started = []

    def start(*words, command=MILLSTREAM, **more) -> Spawned:
        started.append(Spawned([*command, *map(str, words)], **more))
        return started[-1]

    yield start
    for each in started:
        each.kill()

"""Where a command finds its server, in the command line's room: at an address, or, with `--app`,
in this process for as long as the command lasts.

Imports the client, and the server where one is started here.
"""

import os
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from millstream.errors import MillstreamError

if TYPE_CHECKING:
    from millstream.cli.show import View
    from millstream.client import Client, Pause

DEFAULT_URL = "http://127.0.0.1:8000"
KEY = "MILLSTREAM_KEY"
"""The environment variable with the key to show to servers that ask for one. (As an argument it
would stand in the shell's history, and in the list of processes.)"""

Url = Annotated[str, typer.Option(help="The server's address.", metavar="URL")]


class NoServer(MillstreamError):
    """Nobody answers. Says how somebody would."""

    code = "no_server"
    status = 503


@asynccontextmanager
async def reached(url: str, view: "View | None" = None) -> AsyncIterator["Client"]:
    """A client of the server at `url`, which has answered once. Raises NoServer."""
    from millstream.client import Client, ConnectionLost

    key = os.environ.get(KEY)
    headers = {"X-API-Key": key} if key else {}
    async with Client(url, headers=headers, give_up_after=0) as probe:
        try:
            await probe.runs(limit=1)
        except ConnectionLost as error:
            raise NoServer(
                f"no server answers at {url} ({error.reason}); start one with `millstream serve`, "
                "or name it with --url (`millstream run --app module:app` needs none)"
            ) from error

    def told(pause: "Pause") -> None:
        if view is not None and pause.failures > 1:
            view.say(f"{pause.reason}; trying again")

    async with Client(url, headers=headers, on_retry=told) as client:
        yield client


@contextmanager
def stdout_apart() -> Iterator[TextIO]:
    """stdout, for what was asked for alone: what the steps of an application that is served here
    print, also in processes of theirs, goes to stderr meanwhile."""
    sys.stdout.flush()
    encoding, errors = sys.stdout.encoding, sys.stdout.errors
    with open(os.dup(1), "w", encoding=encoding, errors=errors) as out:
        os.dup2(2, 1)
        try:
            with redirect_stdout(sys.stderr):
                yield out
        finally:
            os.dup2(out.fileno(), 1)


@contextmanager
def here(target: str, store: str | None) -> Iterator[str]:
    """Serve an application in this process, on a free port of the loopback; its address.

    Runs are kept in memory, and uploads in a folder that goes with them, where no store is named.
    """
    from millstream.cli.loading import load_app
    from millstream.observe import logs
    from millstream.server.protocol import listen, make_server

    logs.configure(level="warning")  # to stderr: stdout belongs to the run
    with tempfile.TemporaryDirectory(prefix="millstream-") as folder:
        settings: dict[str, Any] = {"store": store or "memory://"}
        settings |= {"api_keys": (), "keys_file": Path(folder) / "none"}  # nobody else finds it
        if store is None:
            settings |= {"blobs": Path(folder), "drain": 0.0}
        app = load_app(target, settings)
        listener = listen("127.0.0.1", 0)
        ready = threading.Event()
        server = make_server(app, app.drain, started=ready.set)
        # A loop of its own: a step that blocks it does not stop the display.
        thread = threading.Thread(target=_serve, args=(server, listener, ready), daemon=True)
        thread.start()
        ready.wait()
        try:
            if not server.started:
                raise NoServer(f"{target} did not start; the reason stands above")
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def _serve(server: Any, listener: Any, ready: threading.Event) -> None:
    try:
        server.run(sockets=[listener])
    except SystemExit:  # uvicorn's way to say that the application did not start
        pass
    finally:
        ready.set()

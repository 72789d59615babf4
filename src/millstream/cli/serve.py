"""`millstream serve`: an application on a socket, until it is told to stop."""

import gc
import ipaddress
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from millstream.cli.loading import DEFAULT, load_app
from millstream.errors import SettingsError

if TYPE_CHECKING:
    from millstream.settings import Settings

SWITCH_SECONDS = 0.001
"""How soon a busy event loop lets the store's threads have the interpreter. At Python's default of
5 ms, an append's 99th percentile under load was eight times as long (249 ms against 29 ms)."""

COLLECT = 20_000, 20, 20
"""When the garbage collector looks: by default after 700 new objects, which a stream of events has
made in 10 ms, and hardly any of them is ever part of a cycle. At 20,000 events a second, each
alone, it took a seventh of the time."""


def serve(
    target: Annotated[str, typer.Argument(metavar="[MODULE:APP]")] = DEFAULT,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 picks a free one.")] = None,
    store: Annotated[
        str | None, typer.Option(help="memory:// or sqlite:///PATH for runs and logs.")
    ] = None,
    blobs: Annotated[Path | None, typer.Option(help="Folder for uploads.")] = None,
    durability: Annotated[str | None, typer.Option(help="full or process.")] = None,
    open_to_network: Annotated[
        bool, typer.Option(help="Listen beyond loopback although no keys are configured.")
    ] = False,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Serve an application: all systems of `millstream_apps` where none is named.

    Every other setting comes from the environment (MILLSTREAM_HEARTBEAT=5) or millstream.toml.
    """
    # Not above: `millstream --help` must not wait for a web framework.
    from millstream.observe import logs
    from millstream.server.protocol import listen, make_server

    logs.configure(level=log_level)
    sys.setswitchinterval(SWITCH_SECONDS)
    arguments = {
        "host": host,
        "port": port,
        "store": store,
        "blobs": blobs,
        "durability": durability,
        "open_to_network": open_to_network or None,
    }
    if store:  # systems keep data of their own beside it, also in their processes
        os.environ["MILLSTREAM_STORE"] = store
    app = load_app(target, arguments)
    check_address(app.settings, asks=app.asks)
    try:
        listener = listen(app.settings.host, app.settings.port)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {app.settings.host}:{app.settings.port}: {error.strerror}; "
            "choose another --port"
        ) from error
    address = f"http://{_shown(listener)}"

    def started() -> None:
        gc.freeze()  # what is there now stays
        gc.set_threshold(*COLLECT)
        names = ", ".join(app.graphs)
        typer.echo(f"millstream serves {names} at {address} (Ctrl-C stops)", err=True)

    make_server(app, app.drain, started=started).run(sockets=[listener])


def check_address(settings: "Settings", *, asks: bool = False) -> None:
    """Unless it `asks` for keys, or is told to, refuse to listen where others could come in."""
    host = settings.host
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local and not asks and not settings.open_to_network:
        raise SettingsError(
            f"host {host!r} can be reached by others, and no authentication is configured; make a "
            "key (`millstream keys add NAME`), use 127.0.0.1 behind a proxy that authenticates, "
            "or say --open-to-network"
        )


def _shown(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

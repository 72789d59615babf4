"""uvicorn, made ready for streams: a listening socket, and protocols of our own that let a full
connection be felt early and cut at once."""

import asyncio
import math
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from millstream.server.app import Millstream
from millstream.server.connection import EXTENSION

NOTSENT_BYTES = 16_384
"""TCP_NOTSENT_LOWAT: how much unsent data the kernel takes per connection. A slow client is felt
at about 100 kB in all, not at the 4 MB to which the kernel would let its buffer grow."""

BUFFER_BYTES = 16_384
"""From how much in a connection's own buffer on its writer has to wait."""


def _shown(
    transport: asyncio.Transport,
    full: Callable[[], bool],
    room: Callable[[], Awaitable[object]],
) -> dict[str, Callable[[], Any]]:
    return {
        "abort": transport.abort,
        "full": full,
        "waiting": transport.get_write_buffer_size,
        "room": room,
    }


class StreamProtocol(HttpToolsProtocol):
    """HTTP/1.1 with a small buffer, and the ASGI extension `EXTENSION`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        transport.set_write_buffer_limits(high=BUFFER_BYTES)
        super().connection_made(transport)

    def on_message_begin(self) -> None:
        """A request begins: its scope gets the extension."""
        super().on_message_begin()
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        flow = self.flow
        shown = _shown(self.transport, lambda: flow.write_paused, flow.drain)
        scope.setdefault("extensions", {})[EXTENSION] = shown


class SocketProtocol(WebSocketsSansIOProtocol):
    """WebSocket with the same extension. (Its buffer is the one that `StreamProtocol` has set.)"""

    def handle_connect(self, event: Request) -> None:
        """The handshake: its scope gets the extension, before the application sees it."""
        super().handle_connect(event)
        scope: dict[str, Any] | None = getattr(self, "scope", None)
        if scope is not None:
            writable = self.writable
            scope["extensions"][EXTENSION] = _shown(
                self.transport, lambda: not writable.is_set(), writable.wait
            )


def listen(host: str, port: int) -> socket.socket:
    """A bound and listening TCP socket. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # accepted sockets inherit it
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOTSENT_BYTES)
        listener.bind((host, port))
        listener.listen(2048)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


class Server(uvicorn.Server):
    """Tells the application first when it shall shut down, so that open streams end; uvicorn by
    itself would wait for them."""

    def __init__(
        self,
        config: uvicorn.Config,
        open: Callable[[], Awaitable[None]],
        drain: Callable[[], Awaitable[None]],
        started: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(config)
        self._open, self._drain, self._on_started = open, drain, started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve. What the application cannot open is raised as it is; within the lifespan
        uvicorn would make a traceback of it."""
        await self._open()
        await super().startup(sockets)
        if self.started and self._on_started is not None:
            self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, then stop as ever."""
        await asyncio.gather(self._drain(), super().shutdown(sockets))


def make_server(
    app: Millstream,
    drain: Callable[[], Awaitable[None]],
    *,
    started: Callable[[], None] | None = None,
) -> Server:
    """A uvicorn server for an application on sockets from `listen`. `drain` may take as long as
    the application's settings say, before connections are closed that are still open."""
    config = uvicorn.Config(
        app,
        http=StreamProtocol,
        ws=SocketProtocol,
        ws_per_message_deflate=False,
        ws_max_size=app.settings.json_bytes,
        loop="auto",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(app.settings.drain) + 5,
    )
    return Server(config, app.open, drain, started)

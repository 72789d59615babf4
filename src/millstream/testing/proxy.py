"""A TCP proxy that behaves badly on purpose: cuts connections after so many bytes, freezes,
throttles, delays. Between any client and any server on this machine; knows nothing of what passes.

>>> async with Proxy(port=8000, cuts=[700, 4000]) as proxy:
...     ...  # clients connect to proxy.port; the first two connections are cut, the third lives
>>> async with Proxy(port=8000, network=MOBILE_3G.faster(50)) as proxy:
...     ...  # a phone out in the country, fifty times as fast so that a test need not wait
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Self

from msgspec import Struct

_CHUNK = 16_384
_TICK = 0.05
_AHEAD = 64


class Network(Struct, frozen=True):
    """How a line behaves. `down` and `up` in bytes a second and connection (None: as fast as it
    goes), `latency` and `jitter` in seconds: each piece comes `latency` later than it was sent, and
    up to `jitter` besides, by chance; TCP keeps the order, so one late piece holds up those behind.
    """

    down: float | None = None
    up: float | None = None
    latency: float = 0.0
    jitter: float = 0.0

    def faster(self, factor: float) -> "Network":
        """The same line where time runs `factor` times as fast: what took a minute takes a second
        at 60, and everything comes in the same order."""
        return Network(
            down=None if self.down is None else self.down * factor,
            up=None if self.up is None else self.up * factor,
            latency=self.latency / factor,
            jitter=self.jitter / factor,
        )


MOBILE_3G = Network(down=200_000, up=96_000, latency=0.15, jitter=2.0)
"""1.6 Mbit/s down and 768 kbit/s up at 150 ms each way, as page speed tests take 3G to be; and a
jitter of 0 to 2 s, as at the edge of a cell."""


class ProxyStatistics(Struct, frozen=True):
    """A proxy at one moment. `cut` counts connections that it has cut off itself; `refused` those
    for which there was no server; `down` is bytes passed on from the server to clients."""

    open: int
    accepted: int
    cut: int
    refused: int
    down: int


class Proxy:
    """Listens on a port of its own on loopback.

    `cuts` has, for each connection on which a server answers, in turn, after how many bytes from
    the server it is cut (with a reset; None: never); when it is used up, connections live. `rate`
    is in bytes from the server a second and connection (None: as fast as it goes). Both may be set
    while connections are open. `network` says all of a line: its `down` is the rate. `chance` draws
    the jitter, from 0 to 1.
    """

    def __init__(
        self,
        *,
        port: int,
        host: str = "127.0.0.1",
        cuts: Iterable[int | None] = (),
        rate: float | None = None,
        network: Network | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.network, self._chance = network or Network(), chance
        self.target_host, self.target_port = host, port
        self.rate = self.network.down if rate is None else rate
        self.cuts = cuts
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._server: asyncio.Server | None = None
        self._links: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._accepted = self._cut = self._refused = self._down = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_CHUNK)
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._server is not None:
            self._server.close()
        self._thawed.set()
        tasks = list(self._links)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def port(self) -> int:
        """Where clients connect."""
        if self._server is None:
            raise RuntimeError("the proxy is not open: use `async with`")
        return self._server.sockets[0].getsockname()[1]

    @property
    def cuts(self) -> Iterator[int | None]:
        """What is left of the plan."""
        return self._cuts

    @cuts.setter
    def cuts(self, plan: Iterable[int | None]) -> None:
        self._cuts: Iterator[int | None] = iter(plan)

    def cut(self) -> None:
        """Reset every open connection, now."""
        for task in list(self._links):
            self._cut += 1
            task.cancel()

    def freeze(self) -> None:
        """Pass nothing on any more, in either direction; connections stay open."""
        self._thawed.clear()

    def thaw(self) -> None:
        """Go on."""
        self._thawed.set()

    def statistics(self) -> ProxyStatistics:
        """The proxy now."""
        return ProxyStatistics(
            open=len(self._links),
            accepted=self._accepted,
            cut=self._cut,
            refused=self._refused,
            down=self._down,
        )

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._link(reader, writer))
        self._links[task] = writer
        self._accepted += 1
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._links.pop(task).transport.abort()

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it or its time has come."""
        target = self.target_host, self.target_port
        opening = asyncio.ensure_future(asyncio.open_connection(*target, limit=_CHUNK))
        try:
            theirs, ours = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_let_go)
            raise
        except OSError:
            self._refused += 1
            return
        said, answered = self._late(reader), self._late(theirs)
        up = asyncio.create_task(self._pump(said, ours))
        down = asyncio.create_task(self._deliver(answered, writer))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            if down.done() and not up.done():  # the server has ended; let the client have it all
                with suppress(OSError):
                    writer.close()
                    await writer.wait_closed()
        finally:
            ours.transport.abort()
            up.cancel()
            down.cancel()
            for late in (said, answered):
                if isinstance(late, _LateReader):
                    late.close()
            await asyncio.gather(up, down, return_exceptions=True)

    def _late(self, reader: asyncio.StreamReader) -> "asyncio.StreamReader | _LateReader":
        network = self.network
        if not network.latency and not network.jitter:
            return reader
        return _LateReader(reader, lambda: network.latency + network.jitter * self._chance())

    async def _pump(
        self, reader: "asyncio.StreamReader | _LateReader", writer: asyncio.StreamWriter
    ) -> None:
        up = self.network.up
        with suppress(OSError):
            while data := await reader.read(_CHUNK if up is None else max(1, round(up * _TICK))):
                await self._thawed.wait()
                writer.write(data)
                await writer.drain()
                if up is not None:
                    await asyncio.sleep(len(data) / up)

    async def _deliver(
        self, reader: "asyncio.StreamReader | _LateReader", writer: asyncio.StreamWriter
    ) -> None:
        """What the server says, up to the byte at which this connection is cut."""
        with suppress(OSError):
            data = await reader.read(1)
            budget = next(self._cuts, None) if data else None
            while data:
                if not await self._pass_on(data, writer, budget):
                    return
                budget = None if budget is None else budget - len(data)
                size = _CHUNK if self.rate is None else max(1, round(self.rate * _TICK))
                data = await reader.read(size if budget is None else min(size, budget))

    async def _pass_on(self, data: bytes, writer: asyncio.StreamWriter, budget: int | None) -> bool:
        """False where the connection was cut after that."""
        await self._thawed.wait()
        writer.write(data)
        await writer.drain()
        self._down += len(data)
        if budget is not None and len(data) >= budget:
            self._cut += 1
            writer.transport.abort()
            return False
        if self.rate is not None:
            await asyncio.sleep(len(data) / self.rate)
        return True

    def __repr__(self) -> str:
        state = "passing on" if self._thawed.is_set() else "frozen"
        return f"<Proxy to {self.target_host}:{self.target_port}, {state}, {self.statistics()}>"


class _LateReader:
    """A reader whose bytes come later than they did, in order: each piece by `delay()` seconds.

    Reads ahead a bounded number of pieces, as the buffers along a real line would hold them.
    """

    def __init__(self, reader: asyncio.StreamReader, delay: Callable[[], float]) -> None:
        self._pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_AHEAD)
        self._rest, self._ended = b"", False
        self._clock = asyncio.get_running_loop().time
        self._taking = asyncio.create_task(self._take(reader, delay))

    async def _take(self, reader: asyncio.StreamReader, delay: Callable[[], float]) -> None:
        data, due = b"first", 0.0
        while data:
            try:
                data = await reader.read(_CHUNK)
            except OSError:  # a reset: nothing more will come
                data = b""
            due = max(due, self._clock() + delay())
            await self._pieces.put((due, data))

    async def read(self, size: int) -> bytes:
        """At least one byte, and at most `size`; none at the end."""
        if not self._rest and not self._ended:
            due, piece = await self._pieces.get()
            await asyncio.sleep(max(0.0, due - self._clock()))
            self._rest, self._ended = piece, not piece
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def close(self) -> None:
        """Read nothing more."""
        self._taking.cancel()


def _let_go(opening: "asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]") -> None:
    """A connection to the server that was made too late."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result()[1].transport.abort()

"""The proxy of the test kit does to connections just what it says."""

import asyncio
import time

import pytest

from millstream.testing.proxy import Proxy

DATA = bytes(range(256)) * 40


@pytest.fixture
async def upstream():
    """A server that sends DATA on every connection, then whatever it hears, and its port."""

    async def serve(reader, writer):
        writer.write(DATA)
        while heard := await reader.read(100):
            writer.write(heard)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def everything(port, say=b""):
    """What comes until the end, and whether that was a reset."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    got = b""
    try:
        writer.write(say)
        while len(got) < len(DATA) + len(say):
            chunk = await reader.read(1000)
            if not chunk:
                return got, False
            got += chunk
    except ConnectionResetError:
        return got, True
    finally:
        writer.transport.abort()
    return got, False


async def test_connections_are_cut_after_so_many_bytes_each(upstream):
    async with Proxy(port=upstream, cuts=[1, 5000, None]) as proxy:
        for size in (1, 5000):
            got, _ = await everything(proxy.port)
            assert got == DATA[: len(got)]
            assert len(got) <= size
        for _ in range(2):
            assert await everything(proxy.port, b"more") == (DATA + b"more", False)
        told = proxy.statistics()
        assert (told.accepted, told.cut, told.refused) == (4, 2, 0)
        assert not list(proxy.cuts)


async def test_frozen_connections_stay_open_and_go_on(upstream):
    async with Proxy(port=upstream) as proxy:
        proxy.freeze()
        reading = asyncio.create_task(everything(proxy.port))
        done, _ = await asyncio.wait([reading], timeout=0.1)
        assert not done
        assert proxy.statistics().open == 1
        assert "frozen" in repr(proxy)
        proxy.thaw()
        assert await reading == (DATA, False)


async def test_a_rate_is_kept(upstream):
    async with Proxy(port=upstream, rate=len(DATA) * 4) as proxy:
        began = time.monotonic()
        assert await everything(proxy.port) == (DATA, False)
        assert time.monotonic() - began > 0.15


async def test_without_a_server_there_is_an_end(upstream):
    async with Proxy(port=1) as proxy:
        got, _ = await everything(proxy.port)
        assert got == b""
        assert proxy.statistics().refused == 1


async def test_all_at_once(upstream):
    async with Proxy(port=upstream) as proxy:
        proxy.freeze()
        reading = [asyncio.create_task(everything(proxy.port)) for _ in range(5)]
        async with asyncio.timeout(10):
            while proxy.statistics().open < 5:  # noqa: ASYNC110 - the proxy tells nobody
                await asyncio.sleep(0.005)
        proxy.cut()
        assert all(got == b"" for got, _ in await asyncio.gather(*reading))
        assert proxy.statistics().cut == 5

"""The proxy's lines: what was sent arrives whole and in order, later, and no faster than it may."""

import asyncio
import random
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.testing.clock import run_virtual
from millstream.testing.proxy import MOBILE_3G, Network, Proxy, _LateReader

SAID = bytes(range(256)) * 60
FAST = MOBILE_3G.faster(400)


@pytest.fixture
async def echo():
    """A server that answers with what it hears; its port."""

    async def serve(reader, writer):
        with suppress(OSError):
            while heard := await reader.read(5000):
                writer.write(heard)
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def said_and_heard(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(SAID)
        return await reader.readexactly(len(SAID))
    finally:
        writer.transport.abort()


async def test_a_bad_line_brings_everything_in_order(echo):
    async with Proxy(port=echo, network=FAST, chance=random.Random(3).random) as proxy:
        together = [said_and_heard(proxy.port) for _ in range(3)]
        assert await asyncio.gather(*together) == [SAID] * 3
        assert proxy.statistics().down == 3 * len(SAID)


async def test_a_bad_line_can_be_cut_too(echo):
    cuts = [4000]
    async with Proxy(port=echo, network=FAST, cuts=cuts) as proxy:
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await said_and_heard(proxy.port)
        assert proxy.statistics().cut == 1
        assert await said_and_heard(proxy.port) == SAID


pieces = st.lists(
    st.tuples(st.floats(0, 3), st.binary(min_size=1, max_size=20), st.floats(0, 1)), max_size=20
)


@given(pieces, st.floats(0, 1), st.floats(0, 2), st.integers(1, 30))
@settings(deadline=None)
def test_each_piece_comes_within_its_bounds_and_in_order(sent, latency, jitter, size):
    """On the virtual clock: (pause before, bytes, chance) a piece."""

    async def main():
        clock = asyncio.get_running_loop().time
        source = asyncio.StreamReader()
        drawn = iter([chance for _, _, chance in sent])
        late = _LateReader(source, lambda: latency + jitter * next(drawn, 0.0))
        moments: list[tuple[float, int]] = []  # when so many bytes had been sent

        async def send():
            total = 0
            for pause, data, _ in sent:
                await asyncio.sleep(pause)
                source.feed_data(data)
                total += len(data)
                moments.append((clock(), total))
                await asyncio.sleep(0)
            source.feed_eof()

        sending = asyncio.create_task(send())
        heard = b""
        while data := await late.read(size):
            assert len(data) <= size
            heard += data
            at = next(moment for moment, total in moments if total >= len(heard))
            assert clock() >= at + latency - 1e-9
            assert clock() <= moments[-1][0] + latency + jitter + 1e-9
        await sending
        assert heard == b"".join(data for _, data, _ in sent)
        assert await late.read(size) == b""

    run_virtual(main())


def test_a_line_made_faster_is_the_same_line():
    slow = Network(down=100, up=50, latency=1, jitter=2)
    assert slow.faster(10) == Network(down=1000, up=500, latency=0.1, jitter=0.2)
    assert Network().faster(10) == Network()

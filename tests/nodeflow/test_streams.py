"""Streams by hand: the earlier surface, and what it got wrong done right. On the virtual clock."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream import Conflict, InputError, NotFound, PolicyError
from millstream.testing.clock import run_virtual, virtual_now
from millstream_apps.nodeflow.streaming import (
    AdaptiveBackpressureHandler,
    DefaultBackpressureHandler,
    StreamConfig,
    StreamMessage,
)
from tests.nodeflow.streams import ID, conserved, engine, filled, settled


def test_ids_defaults_and_what_a_message_is_filled_in_with():
    async def main():
        made = engine()
        assert list(made.get_metrics()) == [ID]
        assert made.create_connection("a", "b", "x", "y") == "a:x->b:y"
        config = made.get_connection(ID).config
        assert config == StreamConfig(1000, 16, 50, 0.8, 3, 100)
        with pytest.raises(Conflict, match="already"):
            made.create_connection("a", "b")
        with pytest.raises(NotFound):
            made.get_connection("nowhere")
        await made.get_connection(ID).write("bare")
        async for message in made.get_connection(ID).stream:
            assert message.data == "bare"
            assert (message.source_node_id, message.target_node_id) == ("a", "b")
            assert message.port == "input"
            assert message.id
            assert message.timestamp == pytest.approx(virtual_now() * 1000)
            break

    run_virtual(main())


def test_what_is_written_is_read_by_the_streams_reader():
    """Earlier nothing read `connection.stream`."""

    async def main():
        made = engine()
        connection, read = made.get_connection(ID), []

        async def reader():
            async for message in connection.stream:
                read.append(message.data)

        task = asyncio.create_task(reader())
        await filled(made, 2500)
        await made.close_connection(ID)
        await task
        assert read == list(range(2500))

    run_virtual(main())


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.floats(0, 0.05), min_size=1, max_size=120),
    st.integers(1, 20),
    st.integers(0, 30),
)
def test_every_message_is_in_a_batch_and_none_waits_longer_than_the_timeout(pauses, size, timeout):
    """Earlier there was one batch only, and what went beyond its size was lost."""

    async def main():
        config = StreamConfig(max_batch_size=size, batch_timeout=timeout)
        made = engine(config=config)
        batches, written = [], {}

        async def reader():
            async for batch in made.create_batched_stream(ID):
                batches.append((virtual_now(), batch))

        task = asyncio.create_task(reader())
        for n, pause in enumerate(pauses):
            await asyncio.sleep(pause)
            written[n] = virtual_now()
            await made.get_connection(ID).write(n)
        await made.close_connection(ID)
        await task
        assert [m.data for _, b in batches for m in b.messages] == list(range(len(pauses)))
        for moment, batch in batches:
            assert batch.total_size == len(batch.messages) <= size
            assert moment - written[batch.messages[0].data] <= timeout / 1000 + 1e-6

    run_virtual(main())


def test_without_a_handler_nothing_is_lost_and_writers_wait():
    async def main():
        made = engine(config=StreamConfig(buffer_size=10))
        writing = asyncio.create_task(filled(made, 25))
        await settled()
        assert not writing.done()
        found = conserved(made)
        assert (found.waiting, found.dropped) == (10, 0)
        assert made.get_metrics(ID)[ID].buffer_utilization == 1.0
        assert made.get_metrics(ID)[ID].backpressure_events > 0
        made.on_message(lambda message: None)
        await writing
        await settled()
        assert conserved(made).delivered == 25
        await made.destroy()

    run_virtual(main())


def test_the_default_handler_waits_then_turns_the_light_away_and_counts_it():
    """Earlier messages were dropped by chance, and `droppedMessages` was always 0."""

    async def main():
        pressed = []
        handler = DefaultBackpressureHandler()
        handler.on_backpressure = lambda connection_id, fill: pressed.append((connection_id, fill))
        assert (handler.drop_threshold, handler.priority_drop, handler.max_wait_time) == (
            0.9,
            True,
            100.0,
        )
        made = engine(handler, StreamConfig(buffer_size=100))
        began = virtual_now()
        assert all(await filled(made, 90))
        assert virtual_now() == began
        assert pressed[0] == (ID, 0.8)
        assert await filled(made, 1) == [False]
        assert virtual_now() - began == pytest.approx(0.1)
        assert await filled(made, 15, ["control"]) == [True] * 15, "control is never turned away"
        found = conserved(made)
        assert found.drops == {"refused": {"data-flow": 1}, "full": {"data-flow": 5}}
        assert made.get_metrics(ID)[ID].dropped_messages == 6
        await made.destroy()

    run_virtual(main())


def test_weights_decide_who_is_turned_away():
    handler = DefaultBackpressureHandler()
    light = StreamMessage(metadata={"type": "ui-update"})
    own = StreamMessage(metadata={"priority": 0.95})
    error = StreamMessage(metadata={"type": "error", "priority": 0})
    assert handler.should_drop_message(light, 0.9)
    assert not handler.should_drop_message(light, 0.89)
    assert not handler.should_drop_message(own, 0.9)
    assert not handler.should_drop_message(error, 1.0)
    handler.set_priority_weight("ui-update", 1)
    assert not handler.should_drop_message(light, 0.95)
    with pytest.raises(PolicyError, match="weight"):
        handler.set_priority_weight("nothing", 1)


def test_the_adaptive_handler_follows_the_load_within_its_bounds():
    async def main():
        handler = AdaptiveBackpressureHandler()
        assert (handler.threshold, handler.drop_rate) == (0.8, 0.1)
        made = engine(handler, StreamConfig(buffer_size=100))
        await filled(made, 5000)
        found = conserved(made)
        assert found.size == 2048, "it has grown to its bound"
        assert found.drops["early"]["data-flow"] > 0
        assert 0.5 <= handler.threshold < 0.6
        assert 0.7 < handler.drop_rate <= 0.8
        made.on_message(lambda message: None)
        await settled(100)
        for _ in range(2000):
            await made.get_connection(ID).write(0)
            await asyncio.sleep(0.001)
        assert conserved(made).size == 64, "and shrunk"
        assert handler.threshold > 0.8
        await made.destroy()

    run_virtual(main())


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=25),
    st.sampled_from([None, DefaultBackpressureHandler, AdaptiveBackpressureHandler]),
    st.integers(1, 60),
)
def test_whatever_is_written_and_read_messages_are_conserved(turns, kind, size):
    async def main():
        made = engine(kind() if kind else None, StreamConfig(buffer_size=size))
        pipe, read, sent = made.get_connection(ID).pipe, [], 0
        for write, take in turns:
            writing = asyncio.create_task(filled(made, write, ["ui-update", "error", "data-flow"]))
            sent += write
            while not writing.done():
                await asyncio.wait([writing], timeout=0.2)
                if not writing.done():  # it waits for room: read one
                    read += await pipe.take(1)
            if take and pipe.statistics().waiting:
                read += await pipe.take(take)
            found = conserved(made)
            assert found.waiting <= max(2048, size)
            assert (found.sent, found.delivered) == (sent, len(read))
        if kind is None:
            assert conserved(made).dropped == 0

    run_virtual(main())


def test_metrics_are_told_and_reset():
    async def main():
        made = engine()
        made.on_message(lambda message: None)
        told = made.metrics(every=1.0)
        first = asyncio.ensure_future(anext(told))
        for n in range(60):
            await made.get_connection(ID).write(n)
            await asyncio.sleep(0.02)
        metrics = (await first)[ID]
        assert metrics.messages_per_second == pytest.approx(50, rel=0.1)
        assert metrics.total_messages == pytest.approx(50, abs=2)
        assert made.get_metrics()[ID].delivered_messages == 60
        made.reset_metrics()
        assert made.get_metrics(ID)[ID].total_messages == 0
        await made.destroy()
        assert [each async for each in told] == []

    run_virtual(main())


def test_a_message_is_read_once_and_closing_ends_readers():
    async def main():
        made = engine()
        connection = made.get_connection(ID)
        stream = connection.stream
        with pytest.raises(Conflict, match="read already"):
            made.create_batched_stream(ID)
        await filled(made, 3)
        await made.close_connection(ID)
        assert [m.data async for m in stream] == [0, 1, 2]
        with pytest.raises(Conflict, match="closed"):
            await connection.write(1)
        await made.destroy()
        with pytest.raises(Conflict, match="destroyed"):
            made.create_connection("a", "b")

    run_virtual(main())


def test_a_config_out_of_range_is_named():
    with pytest.raises(InputError, match="maxBatchSize, backpressureThreshold"):
        StreamConfig(max_batch_size=0, backpressure_threshold=2)

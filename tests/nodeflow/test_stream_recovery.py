"""Streams by hand: handlers that fail, and looking at them. On the virtual clock."""

import asyncio
import itertools

import pytest

from millstream.testing.clock import run_virtual, virtual_now
from millstream_apps.nodeflow.streaming import (
    CircuitOpen,
    DefaultBackpressureHandler,
    DefaultErrorRecovery,
    GracefulErrorRecovery,
    StreamConfig,
    StreamDebugger,
)
from tests.nodeflow.streams import ID, engine, filled


def test_handlers_are_tried_again_with_growing_pauses_then_told_of():
    async def main():
        made, calls, told = engine(), [], []
        made.set_error_recovery(DefaultErrorRecovery(now=virtual_now))

        def broken(message):
            calls.append(virtual_now())
            raise ValueError("no")

        made.on_message(broken)
        made.on_error(lambda error, id: told.append((str(error), id)))
        began = virtual_now()
        await filled(made, 1)
        await asyncio.sleep(10)
        assert [c - began for c in calls] == pytest.approx([0, 0.1, 0.3, 0.7])
        assert told == [("no", ID)]
        assert made.get_metrics(ID)[ID].error_rate == 1.0
        await made.destroy()

    run_virtual(main())


def test_without_a_recovery_a_connections_own_config_says_how_often():
    async def main():
        made, calls = engine(config=StreamConfig(retry_attempts=1, retry_delay=50)), []

        async def broken(message):
            calls.append(virtual_now())
            raise ValueError("no")

        end = made.on_message(broken)
        began = virtual_now()
        await filled(made, 1)
        await asyncio.sleep(10)
        assert [c - began for c in calls] == pytest.approx([0, 0.05])
        end()
        await filled(made, 1)
        await asyncio.sleep(10)
        assert len(calls) == 2
        await made.destroy()

    run_virtual(main())


def test_the_breaker_opens_after_five_and_tries_again_after_thirty_seconds():
    async def main():
        recovery = DefaultErrorRecovery(max_retries=0, now=virtual_now)
        calls = 0

        async def call():
            nonlocal calls
            calls += 1
            if calls <= 5:
                raise ValueError("no")

        for _ in range(5):
            with pytest.raises(ValueError, match="no"):
                await recovery.run(ID, call)
        with pytest.raises(CircuitOpen, match=r"another 30\.0 s"):
            await recovery.run(ID, call)
        assert calls == 5
        assert recovery.circuit("other").state == "closed"
        await asyncio.sleep(30)
        await recovery.run(ID, call)
        assert recovery.circuit(ID).state == "closed"

    run_virtual(main())


def test_graceful_recovery_is_degraded_for_a_while_and_holds_nobody_up():
    async def main():
        recovery = GracefulErrorRecovery(now=virtual_now, chance=lambda: 0.0)
        calls = []

        async def call():
            calls.append(virtual_now())
            raise ValueError("no")

        async def once():
            calls.clear()
            with pytest.raises(ValueError, match="no"):
                await recovery.run(ID, call)
            return [b - a for a, b in itertools.pairwise(calls)]

        for _ in range(3):
            assert not recovery.is_degraded(ID)
            assert await once() == pytest.approx([0.2, 0.3, 0.45])
        assert recovery.is_degraded(ID)
        assert await once() == [], "one try, at once"
        await asyncio.sleep(30)
        assert not recovery.is_degraded(ID)

    run_virtual(main())


def test_the_debugger_records_events_alerts_and_a_file():
    async def main():
        made = engine(config=StreamConfig(buffer_size=20))
        debugger = StreamDebugger(made)
        debugger.start_recording()
        seen = debugger.alerts()
        first = asyncio.ensure_future(anext(seen))
        await asyncio.sleep(0)
        await filled(made, 19)
        await asyncio.sleep(2.5)
        alert = await first
        assert (alert["type"], alert["severity"]) == ("backpressure", "critical")
        assert alert["connectionId"] == ID
        assert len(debugger.get_events_for_connection(ID)) == 19
        assert debugger.get_events_for_connection("other") == []
        report = debugger.get_performance_report()
        assert report.recent_alerts
        assert report.top_connections[0].id == ID
        exported = debugger.export_debug_data()
        assert exported.metadata.event_count == 19
        assert len(exported.snapshots) == 2
        assert exported.alerts
        await debugger.stop_recording()
        await filled(made, 1)
        assert len(debugger.get_event_history()) == 19
        debugger.clear_history()
        assert debugger.get_event_history() == []
        await made.destroy()

    run_virtual(main())


def test_debug_events_as_a_stream_until_the_end():
    async def main():
        made = engine(DefaultBackpressureHandler(), StreamConfig(buffer_size=4))
        told = made.debug()
        first = asyncio.ensure_future(anext(told))
        await asyncio.sleep(0)
        await filled(made, 5, ["control"])
        kinds = [(await first).type] + [(await anext(told)).type for _ in range(4)]
        assert kinds == ["message"] * 4 + ["backpressure"]
        await made.destroy()
        assert [each.type async for each in told] == ["message"]

    run_virtual(main())

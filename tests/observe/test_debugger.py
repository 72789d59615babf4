"""A debugger of a live run, on the virtual clock: what it sees is what flows."""

import asyncio
import json

import msgspec
import pytest

from millstream import Each, Pipeline
from millstream.errors import InputError
from millstream.observe.debugger.alerts import Alert, AlertRules, Threshold
from millstream.observe.debugger.debugger import Debugger
from millstream.observe.debugger.debuggers import Debuggers
from millstream.observe.debugger.recording import DebugEvent, read_export
from millstream.observe.debugger.snapshots import Machine, Snapshot
from millstream.policy import Buffer
from millstream.testing.clock import run_virtual, virtual_now
from tests.engine.live.flows import counting, flowing, until

EDGE = "ticks:out->sink:ticks"


def flow(sink, *, count=None, pause=0.01, buffer=None):
    """A source every `pause` seconds, and a sink of one's own."""
    made = Pipeline("debugged", live=True)
    made.step(counting(count, pause=pause))
    made.step(sink, buffer=buffer, publish="never") if buffer else made.step(sink, publish="never")
    return made


async def sink(ticks: Each[int]) -> None:
    """Takes at once."""


async def slow(ticks: Each[int]) -> None:
    """Takes five a second."""
    await asyncio.sleep(0.2)


async def failing(ticks: Each[int]) -> None:
    """Fails at each fifth."""
    if ticks % 5 == 0:
        raise ValueError("not this one")


def named(function, name="sink"):
    function.__name__ = name
    return function


async def looked(pipeline, seconds, *, record=False, prepare=None, **more):
    """A debugger after so many looks, one a second; it and its snapshots."""
    async with flowing(pipeline) as running:
        live = await running.begun()
        debuggers = Debuggers(running.engine)
        debugger = debuggers.of(running.run)
        for name, value in more.items():
            setattr(debugger, name, value)
        if record:
            debugger.start_recording()
        if prepare is not None:
            await prepare(live, debugger)
        snapshots = []
        for _ in range(seconds):
            await asyncio.sleep(1.0)
            snapshots.append(await debugger.look())
        ended = virtual_now()
        debugger._now = lambda: ended  # it is looked at when the loop is no more
        return debugger, snapshots


def test_rates_and_counts_of_each_second():
    debugger, snapshots = run_virtual(looked(flow(named(sink)), 3))
    for each in snapshots[1:]:
        (connection,) = each.connections
        assert connection.id == EDGE
        assert connection.is_active
        assert connection.metrics.messages_per_second == pytest.approx(100, rel=0.02)
        assert connection.metrics.dropped_messages == 0
        assert each.system_metrics.total_connections == 1
    assert snapshots[2].timestamp - snapshots[1].timestamp == pytest.approx(1000)
    assert snapshots[2].system_metrics.total_messages == pytest.approx(300, abs=3)
    assert debugger.report().overview.messages_per_second == pytest.approx(100, rel=0.02)


def test_a_slow_reader_fills_the_buffer_and_the_alert_fires_and_clears():
    """Earlier the utilisation was never set, so that no such alert ever fired."""

    async def main():
        pipeline = flow(named(slow), buffer=Buffer(size=50))
        async with flowing(pipeline) as running:
            live = await running.begun()
            debugger = Debuggers(running.engine).of(running.run)
            await asyncio.sleep(1.0)
            first = await debugger.look()
            (connection,) = first.connections
            assert connection.metrics.buffer_utilization > 0.9
            assert connection.metrics.backpressure_events > 0
            assert [(a.type, a.severity) for a in debugger.alerts] == [("backpressure", "critical")]
            await live.pause("ticks")
            for _ in range(14):
                await asyncio.sleep(1.0)
                await debugger.look()
            assert debugger.open == {}
            kinds = {a.type for a in debugger.alerts}
            assert kinds == {"backpressure", "high_latency"}
            cleared = [a for a in debugger.alerts if isinstance(a.cleared, float)]
            assert {a.type for a in cleared} == kinds
            assert debugger.fired["backpressure", "critical"] == 1

    run_virtual(main())


def test_failures_are_a_rate_and_events():
    debugger, snapshots = run_virtual(looked(flow(named(failing)), 3, record=True))
    assert snapshots[-1].connections[0].metrics.error_rate == pytest.approx(0.2, abs=0.03)
    assert ("high_error_rate", "critical") in {(a.type, a.severity) for a in debugger.alerts}
    errors = [each for each in debugger.history() if each.type == "error"]
    assert errors
    assert errors[0].data["step"] == "sink"
    assert "not this one" in errors[0].data["message"]


def test_what_is_dropped_is_an_event_of_its_connection():
    buffer = Buffer(size=10, on_full="drop_oldest")
    debugger, snapshots = run_virtual(looked(flow(named(slow), buffer=buffer), 4, record=True))
    metrics = snapshots[-1].connections[0].metrics
    assert metrics.dropped_messages > 200
    assert metrics.total_messages == (
        metrics.delivered_messages + metrics.dropped_messages + metrics.waiting_messages
    )
    told = [e for e in debugger.history(EDGE) if e.type == "backpressure"]
    assert 0 < sum(e.data["count"] for e in told) <= metrics.dropped_messages


def test_messages_are_sampled_while_somebody_records_and_filtered():
    async def prepare(live, debugger):
        debugger.filter(lambda value: value % 3 == 0)

    debugger, _ = run_virtual(looked(flow(named(sink)), 4, record=True, prepare=prepare))
    messages = [each for each in debugger.history(EDGE) if each.type == "message"]
    assert 5 <= len(messages) <= 20, "ten a second are drawn; of these a third"
    assert all(each.data["value"] % 3 == 0 for each in messages)
    assert debugger.counters()[EDGE] == pytest.approx(400, abs=4)


def test_without_anybody_nothing_is_sampled_and_alerts_are_kept():
    debugger, _ = run_virtual(looked(flow(named(slow), buffer=Buffer(size=50)), 2))
    assert debugger.history() == []
    assert debugger._taps == {}
    assert debugger.report().recent_alerts


def test_one_step_is_paused_while_it_is_debugged():
    async def prepare(live, debugger):
        await live.pause("sink")

    _, snapshots = run_virtual(
        looked(flow(named(sink), buffer=Buffer(size=50)), 2, prepare=prepare)
    )
    metrics = snapshots[-1].connections[0].metrics
    assert metrics.waiting_messages == 50
    assert metrics.buffer_utilization == 1.0


def test_the_history_is_bounded():
    async def main():
        async with flowing(flow(named(sink))) as running:
            live = await running.begun()
            debugger = Debugger("r", live, now=virtual_now)
            debugger.start_recording()
            for n in range(10_500):
                debugger.note(DebugEvent("error", float(n)))
            assert len(debugger.history()) == 10_000
            assert debugger.history()[0].timestamp == 500
            debugger.clear_history()
            assert debugger.history() == []

    run_virtual(main())


def test_the_file_replays_the_same_in_order():
    """Earlier the alert history that was exported was always empty."""
    buffer = Buffer(size=10, on_full="drop_oldest")
    debugger, snapshots = run_virtual(looked(flow(named(slow), buffer=buffer), 4, record=True))
    data = debugger.export()
    shape = json.loads(data)
    assert set(shape) == {"snapshots", "events", "alerts", "metadata"}
    assert set(shape["snapshots"][0]) == {"timestamp", "connections", "systemMetrics"}
    assert set(shape["snapshots"][0]["connections"][0]) == {"id", "metrics", "isActive"}
    told = {"totalConnections", "totalMessages", "averageLatency", "systemLoad"}
    assert told <= set(shape["snapshots"][0]["systemMetrics"])
    found = read_export(data)
    assert list(found.snapshots) == snapshots
    assert list(found.alerts) == list(debugger.alerts) != []
    assert found.metadata.event_count == len(found.events)
    assert found.metadata.recording_duration == pytest.approx(4000)
    replayed = list(found.replay())
    assert [each for each in replayed if isinstance(each, Snapshot)] == snapshots
    assert [each for each in replayed if isinstance(each, Alert)] == list(debugger.alerts)
    moments = [each.timestamp for each in replayed if not isinstance(each, Alert)]
    assert moments == sorted(moments)


def test_replayed_by_the_same_rules_the_same_alerts_come_and_others_by_others():
    buffer = Buffer(size=10, on_full="drop_oldest")
    debugger, _ = run_virtual(looked(flow(named(slow), buffer=buffer), 4, record=True))
    found = read_export(debugger.export())
    again = [a for judged in found.judged(AlertRules()) for a in (*judged.fired, *judged.cleared)]
    assert again == list(debugger.alerts)
    blind = AlertRules(latency=Threshold(1e9, 1e9), backpressure=Threshold(2, 3))
    assert not [a for judged in found.judged(blind) for a in judged.fired]


@pytest.mark.parametrize("data", [b"", b"{}", b'{"snapshots": 1}', b"[1"])
def test_a_file_of_another_kind_is_refused(data):
    with pytest.raises(InputError, match="no file that a debugger has exported"):
        read_export(data)


async def taken(reader):
    batch = await reader.next()
    assert batch is not None
    return batch.events


def test_readers_get_all_in_order_and_a_slow_one_is_told_of_the_gap():
    async def main():
        async with flowing(flow(named(sink))) as running:
            debugger = Debugger("r", await running.begun(), now=virtual_now)
            fast, lagging = debugger.follow(), debugger.follow()
            seen = []
            for _ in range(5000):
                debugger.note(DebugEvent("error", 0.0))
                if fast.ready and len(seen) < debugger.feed.last:
                    seen += [msgspec.json.decode(e)["seq"] for e in await taken(fast)]
            assert seen == list(range(1, 5001))
            rest = list(await taken(lagging))
            gap, first = (msgspec.json.decode(line) for line in rest[:2])
            assert gap["type"] == "log.gap"
            assert gap["data"] == {"from": 1, "to": 5000 - 4096}
            assert gap["seq"] == gap["data"]["to"]
            assert first["seq"] == gap["data"]["to"] + 1
            fast.close()
            debugger.close()
            while (batch := await lagging.next()) is not None:
                rest += batch.events
            assert len(rest) == 1 + 4096
            assert debugger.feed.readers == 1

    run_virtual(main())


def test_who_comes_back_within_a_minute_has_missed_nothing_and_what_is_kept_is_bounded():
    async def main():
        async with flowing(flow(named(sink))) as running:
            debugger = Debugger("r", await running.begun(), now=virtual_now)
            first = debugger.follow()
            await debugger.look()
            await taken(first)
            first.close()
            for _ in range(3):
                await asyncio.sleep(1)
                await debugger.look()
            again = debugger.follow(first.cursor)
            seqs = [msgspec.json.decode(line)["seq"] for line in await taken(again)]
            assert seqs == [2, 3, 4]
            for _ in range(3000):
                debugger.note(DebugEvent("message", 0.0, EDGE, {"value": "x" * 1500}))
            assert sum(len(e.line) for e in debugger.feed._entries) <= 2 * 2**20
            again.close()
            await asyncio.sleep(60)
            last = debugger.feed.last
            await debugger.look()
            assert debugger.feed.last == last, "nobody is told any more"

    run_virtual(main())


def test_all_live_runs_are_looked_at_each_second_and_closed_with_their_end():
    async def main():
        async with flowing(flow(named(slow), count=60, buffer=Buffer(size=50))) as running:
            await running.begun()
            debuggers = Debuggers(running.engine)
            debuggers.start()
            await until(lambda: bool(debuggers.fired()), seconds=100)
            (debugger,) = debuggers.all()
            assert debugger.newest is not None
            await running.end()
            await until(lambda: not debuggers.all())
            fired = debuggers.fired()
            assert debugger.feed.ended
            assert fired.total() > 0, "it is not forgotten"
            await asyncio.sleep(2.0)
            assert debuggers.fired() == fired
            await debuggers.stop()

    run_virtual(main())


def test_the_machine_is_shown_where_it_is_known():
    async def prepare(live, debugger):
        debugger._machine = lambda: Machine(0.5, 0.97, 123)

    debugger, snapshots = run_virtual(looked(flow(named(sink)), 1, prepare=prepare))
    assert snapshots[0].system_metrics.system_load == 0.5
    assert [a.type for a in debugger.alerts] == ["memory_usage"]

"""The performance suite: its plans and loads, and tests that are really run through the engine.

No test asks how fast it was. What is asked is that what was counted is right.
"""

import asyncio
import itertools
import json
import os
import signal
import sys
import time
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from millstream import EdgeStatistics, InputError
from millstream_apps.nodeflow.commands import chosen, commands
from millstream_apps.nodeflow.performance.load import due_times, payload, values
from millstream_apps.nodeflow.performance.plans import (
    STANDARD_PERFORMANCE_TESTS,
    Burst,
    Limits,
    PerformanceTest,
    read_plan,
    standard,
)
from millstream_apps.nodeflow.performance.reporting import as_json, report
from millstream_apps.nodeflow.performance.results import (
    Milliseconds,
    PerformanceResult,
    connection_results,
    failures,
)
from millstream_apps.nodeflow.performance.suite import PerformanceTestSuite
from millstream_apps.nodeflow.performance.usage import MIB, Usage, UsageMeter

FREE = Limits(loss=None, memory=None, rate=None)
"""Conservation and order are asked of all the same."""

SMALL = PerformanceTest(
    "Small", duration=0.4, message_rate=1000, concurrent_connections=3, limits=FREE
)


def run(plan, **more):
    suite = PerformanceTestSuite()

    async def main():
        return await suite.run_test(plan, **more)

    return suite, asyncio.run(main())


# --- plans and loads -----------------------------------------------------------------------------


def test_the_five_standard_tests():
    assert [each.name for each in STANDARD_PERFORMANCE_TESTS] == [
        "Low Volume Baseline",
        "Medium Volume Test",
        "High Volume Stress Test",
        "Burst Traffic Test",
        "Extreme Load Test",
    ]
    high, extreme = standard("high"), standard("Extreme")
    assert (high.message_rate, high.concurrent_connections, high.duration) == (1000, 10, 120)
    assert (high.limits.loss, high.limits.p95, high.limits.cpu) == (0, 10, 15)
    assert extreme.message_rate == 50 * high.message_rate
    assert extreme.lossy
    with pytest.raises(InputError, match="no standard test 'x'"):
        standard("x")


def test_plans_in_the_clients_names_and_what_is_wrong_with_them():
    plan = read_plan(
        {
            "name": "mine",
            "duration": 2,
            "messageRate": 50,
            "messageSize": 10,
            "concurrentConnections": 2,
            "burstMode": {"enabled": True, "burstSize": 5, "burstInterval": 500},
            "dataPattern": "sine-wave",
        }
    )
    assert plan.burst == Burst(True, 5, 500)
    for wrong, said in (
        ({"name": "x", "duration": 0}, "duration"),
        ({"name": "x", "messageRate": "fast"}, "messageRate"),
        ({"name": "x", "dataPattern": "wild"}, "dataPattern"),
        ({"name": "x", "rate": 1}, "rate"),
    ):
        with pytest.raises(InputError, match=said):
            read_plan(wrong)


@given(
    st.floats(0.1, 5),
    st.floats(1, 2000),
    st.integers(1, 12),
    st.none() | st.tuples(st.integers(1, 200), st.floats(50, 3000)),
)
def test_loads_have_the_rate_that_was_planned(duration, rate, connections, burst):
    plan = PerformanceTest(
        "p",
        duration=duration,
        message_rate=rate,
        concurrent_connections=connections,
        burst_mode=Burst(True, *burst) if burst else None,
    )
    times = [list(due_times(plan, n)) for n in range(connections)]
    for each in times:
        assert each == sorted(each)
        assert not each or 0 <= each[0] <= each[-1] < duration
    bursts = 0
    if burst:
        moments = itertools.takewhile(
            lambda t: t < duration, (n * burst[1] / 1000 for n in itertools.count(1))
        )
        bursts = burst[0] * len(list(moments))
    assert abs(sum(map(len, times)) - bursts - duration * rate) <= connections + 1


@pytest.mark.parametrize("pattern", ["sequential", "random", "sine-wave", "step"])
def test_patterns_are_the_same_each_time_and_as_large_as_asked(pattern):
    plan = PerformanceTest("p", data_pattern=pattern, message_size=300)
    first, again = values(plan, 1), values(plan, 1)
    made = [first(n) for n in range(200)]
    assert made == [again(n) for n in range(200)]
    assert len(set(made)) >= {"step": 4}.get(pattern, 50)
    assert {len(payload(plan, n)) for n in (0, 17, 10**9)} == {300}
    one, other = payload(plan, 1), payload(plan, 2)
    assert one != other


# --- judging -------------------------------------------------------------------------------------


def result(plan=SMALL, sent=10, received=10, dropped=0, **more):
    edge = EdgeStatistics("c", "a", "out", "b", "x", sent=sent, delivered=received, dropped=dropped)
    given = {
        "test": plan,
        "duration": 2.0,
        "planned": sent,
        "sent": sent,
        "received": received,
        "dropped_messages": dropped,
        "messages_per_second": received / 2,
        "megabytes_per_second": 0.0,
        "loss": dropped / sent,
        "latency": Milliseconds(),
        "lateness": Milliseconds(),
        "out_of_order": 0,
        "stops": 0,
        "usage": Usage(),
        "connections": connection_results({0: sent}, {0: received}, {"c": edge}),
    } | more
    made = PerformanceResult(**given)
    return msgspec.structs.replace(made, failures=failures(made))


def strict(**limits):
    return msgspec.structs.replace(SMALL, limits=msgspec.structs.replace(FREE, **limits))


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (result(received=9), "is not received"),
        (result(out_of_order=1), "out of order"),
        (result(strict(loss=0.0), sent=10, received=9, dropped=1), "were dropped"),
        (result(strict(p95=10), latency=Milliseconds(p95=10.1)), "p95 latency is 10.10 ms"),
        (result(strict(cpu=15), usage=Usage(cpu=15.2)), "15.2 % of one core"),
        (result(strict(memory=1), usage=Usage(0, 0, 2 * MIB, 0)), "grew by 2.0 MiB"),
        (result(strict(rate=0.95), planned=11), "10 of 11 planned"),
    ],
)
def test_each_limit_can_be_broken_and_is_said(made, said):
    assert not made.passed
    assert len(made.failures) == 1
    assert said in made.failures[0]
    assert f"**Failed**: {made.failures[0]}" in report([made])
    assert json.loads(as_json([made]))["passed"] is False


def test_what_source_and_engine_count_must_agree():
    (connection,) = result().connections
    assert connection.conserved
    assert not msgspec.structs.replace(connection, engine_sent=11).conserved
    assert not msgspec.structs.replace(connection, engine_delivered=9).conserved


def test_the_report_has_its_title_and_every_figure():
    text = report([result()])
    assert text.startswith("# Performance Test Report\n")
    assert "- Conservation: 10 sent = 10 delivered + 0 dropped + 0 waiting" in text
    assert "1 of 1 tests passed" in text


# --- tests that are run --------------------------------------------------------------------------


def test_everything_that_is_sent_arrives_in_order_and_all_is_measured():
    """Earlier the duration was not set when rates were computed, and CPU was drawn by chance."""
    told = []
    suite, found = run(SMALL, progress=told.append)
    assert found.failures == ()
    assert found.sent == found.received == found.planned == 400
    assert found.duration >= 0.39
    assert found.messages_per_second == pytest.approx(found.received / found.duration)
    assert 0 < found.latency.p50 <= found.latency.p95 <= found.latency.p99 <= found.latency.max
    assert 0 < found.usage.cpu < 1000
    assert found.usage.memory_peak >= found.usage.memory_before > 1 << 20
    assert all(each.conserved and each.sent for each in found.connections)
    assert found.connections[0].id == "load-1:out->sink-1:load"
    assert told
    assert suite.get_results() == (found,)
    assert "Small: passed" in suite.generate_report()


async def test_processor_time_and_memory_are_those_of_the_process():
    """Earlier they were drawn by chance."""
    held = []
    async with UsageMeter(time.perf_counter) as meter:
        began, busy = time.perf_counter(), time.process_time()
        while time.process_time() - busy < 0.3:
            pass
        held.append(b"x" * (64 * MIB))
        spent, passed = time.process_time() - busy, time.perf_counter() - began
    found = meter.usage
    assert found.cpu / 100 * passed == pytest.approx(spent, abs=0.06)
    assert found.growth >= 60 * MIB
    assert found.memory_after - found.memory_before >= 60 * MIB


def test_what_slow_sinks_lose_is_counted_exactly():
    """Earlier droppedMessages was always 0."""
    plan = PerformanceTest(
        "Lossy",
        duration=0.5,
        message_rate=20_000,
        concurrent_connections=2,
        buffer_size=100,
        on_full="drop_oldest",
        sink_rate=1000,
        limits=FREE,
    )
    _, found = run(plan)
    assert found.failures == ()
    assert found.sent == found.planned == 10_000
    assert found.dropped_messages > 5000
    assert found.sent == found.received + found.dropped_messages
    assert sum(n for c in found.connections for n in c.drops["full"].values()) == (
        found.dropped_messages
    )


def test_a_full_buffer_that_blocks_holds_its_source_up_and_loses_nothing():
    plan = PerformanceTest(
        "Slow", duration=0.2, message_rate=5000, buffer_size=50, sink_rate=2000, limits=FREE
    )
    _, found = run(plan)
    assert found.failures == ()
    assert found.sent == found.received == 1000
    assert found.stops > 0
    assert found.lateness.max > 50, "what was due while it was held up was late, and that is told"


@settings(deadline=None, max_examples=5)
@given(
    st.sampled_from(["block", "drop_oldest", "drop_newest", "drop_lowest"]),
    st.integers(1, 4),
    st.integers(1, 200),
    st.sampled_from([None, 3000.0]),
    st.sampled_from([None, Burst(True, 200, 50)]),
)
def test_messages_are_conserved_whatever_the_plan(on_full, connections, buffer, sink_rate, burst):
    plan = PerformanceTest(
        "Any",
        duration=0.12,
        message_rate=3000,
        concurrent_connections=connections,
        buffer_size=buffer,
        on_full=on_full,
        sink_rate=sink_rate,
        burst_mode=burst,
        limits=FREE,
    )
    _, found = run(plan)
    assert found.failures == ()
    assert found.sent == found.planned
    assert found.sent == found.received + found.dropped_messages
    assert on_full != "block" or not found.dropped_messages


def test_it_is_aborted_at_any_time_with_what_there_is():
    async def main():
        suite = PerformanceTestSuite()

        def progress(now):
            if now.received:
                suite.abort()

        return suite, await suite.run_test_suite([SMALL.scaled(600), SMALL], progress)

    suite, found = asyncio.run(main())
    (only,) = found
    assert only.aborted
    assert not only.passed
    assert 0 < only.sent < only.planned
    assert only.sent == only.received
    assert "Small: aborted" in suite.generate_report()


# --- the command ---------------------------------------------------------------------------------


def bench(*arguments):
    return CliRunner().invoke(commands, ["flow", *arguments])


def test_the_command_writes_both_reports_and_its_status_tells_by_the_limits(tmp_path):
    markdown, results = tmp_path / "r.md", tmp_path / "r.json"
    asked = ["--rate", "500", "--duration", "0.2", "--connections", "2", "--burst", "50/100"]
    done = bench(*asked, "--markdown", str(markdown), "--json", str(results), "--max-memory", "999")
    assert done.exit_code == 0, done.output
    assert markdown.read_text().startswith("# Performance Test Report\n")
    told = json.loads(results.read_text())
    assert told["passed"] is True
    (only,) = told["results"]
    assert only["test"]["burstMode"]["burstSize"] == 50
    assert only["sent"] == only["received"] == 150
    broken = bench(*asked, "--max-p95", "0.0001")
    assert broken.exit_code == 1
    assert "p95 latency" in broken.output


def test_standard_tests_by_name_files_and_limits(tmp_path):
    file = tmp_path / "plans.json"
    file.write_text('[{"name": "one"}, {"name": "two", "messageRate": 7}]')
    tests = chosen(["Burst"], None, file, 3, {"p95": 5, "cpu": None})
    assert [each.name for each in tests] == ["Burst Traffic Test", "one", "two"]
    assert {each.duration for each in tests} == {3}
    assert {each.limits.p95 for each in tests} == {5}
    assert chosen([], None, None, None, {}) == list(STANDARD_PERFORMANCE_TESTS)
    file.write_text('[{"name": "one", "messageRate": -1}]')
    with pytest.raises(InputError, match="messageRate"):
        chosen([], None, file, None, {})


def test_it_is_a_command_of_millstream():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    declared = project["project"]["entry-points"]["millstream.commands"]["bench"]
    entry = EntryPoint("bench", declared, "millstream.commands")
    assert entry.load() is commands
    assert "flow" in CliRunner().invoke(commands, ["--help"]).output


async def test_ctrl_c_ends_it_and_what_there_is_is_written(tmp_path):
    results = tmp_path / "r.json"
    code = "from millstream_apps.nodeflow.commands import commands; commands()"
    arguments = ["flow", "--rate", "200", "--duration", "600", "--json", str(results)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, *arguments, stdout=-1, stderr=-1, env={**os.environ}
    )
    assert process.stderr is not None
    while b"sent" not in await process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    out, _ = await process.communicate()
    assert process.returncode == 130
    assert b"aborted" in out
    (only,) = json.loads(results.read_text())["results"]
    assert only["aborted"]
    assert only["sent"] == only["received"] > 0

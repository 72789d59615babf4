"""`millstream bench flow`: the performance suite on the command line.

Imports the suite when it is called, so that `millstream --help` does not wait for it.
"""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from millstream import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from millstream_apps.nodeflow.performance.plans import PerformanceTest
    from millstream_apps.nodeflow.performance.suite import PerformanceTestSuite, Progress

commands = typer.Typer(help="Measure this machine.", no_args_is_help=True)

ABORTED = 130


@commands.callback()
def bench() -> None:
    """Measure this machine."""


@commands.command()
def flow(
    test: Annotated[
        list[str] | None, typer.Argument(help="Standard tests by the beginning of their names.")
    ] = None,
    duration: Annotated[float | None, typer.Option(help="Seconds, for every test.")] = None,
    rate: Annotated[
        float | None, typer.Option(help="A test of your own: messages a second.")
    ] = None,
    size: Annotated[int, typer.Option(help="Bytes of each message.")] = 256,
    connections: Annotated[int, typer.Option(help="How many.")] = 1,
    pattern: Annotated[
        str, typer.Option(help="sequential, random, sine-wave or step.")
    ] = "sequential",
    burst: Annotated[str, typer.Option(help="MESSAGES/MILLISECONDS, beside the rate.")] = "",
    on_full: Annotated[
        str, typer.Option(help="block, drop_oldest, drop_newest or drop_lowest.")
    ] = "block",
    buffer: Annotated[int, typer.Option(help="Messages that may wait on a connection.")] = 1000,
    sink_rate: Annotated[float | None, typer.Option(help="What a sink takes a second.")] = None,
    max_p95: Annotated[float | None, typer.Option(help="Milliseconds it may be.")] = None,
    max_loss: Annotated[float | None, typer.Option(help="Part that may be lost, 0 to 1.")] = None,
    max_cpu: Annotated[float | None, typer.Option(help="Per cent of one core.")] = None,
    max_memory: Annotated[float | None, typer.Option(help="MiB that it may grow.")] = None,
    plan: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Tests as a JSON list.")
    ] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the report there.")] = None,
    report: Annotated[Path | None, typer.Option("--json", help="Write the results there.")] = None,
) -> None:
    """Drive live flows, and report. Without arguments: the five standard tests.

    Exit status 0 where every test kept to its limits, 1 where one did not, 130 where it was broken
    off by Ctrl-C; what there is by then is reported all the same.

    Examples:

        millstream bench flow "High Volume" --duration 10

        millstream bench flow --rate 5000 --connections 20 --burst 1000/500 --max-p95 20
    """
    own: dict[str, Any] | None = None
    if rate is not None:
        own = {
            "name": "Custom Test",
            "messageRate": rate,
            "messageSize": size,
            "concurrentConnections": connections,
            "dataPattern": pattern,
            "onFull": on_full,
            "bufferSize": buffer,
            "sinkRate": sink_rate,
        } | ({"burstMode": parse_burst(burst)} if burst else {})
    limits = {"p95": max_p95, "loss": max_loss, "cpu": max_cpu, "memory": max_memory}
    tests = chosen(test or (), own, plan, duration, limits)
    suite = _driven(tests)
    _write(suite, markdown, report)
    results = suite.get_results()
    if any(each.aborted for each in results) or len(results) < len(tests):
        raise typer.Exit(ABORTED)
    raise typer.Exit(0 if all(each.passed for each in results) else 1)


def parse_burst(said: str) -> dict[str, Any]:
    """`1000/500` as 1,000 messages every 500 ms. Raises RequestError."""
    size, _, interval = said.partition("/")
    try:
        return {"burstSize": int(size), "burstInterval": float(interval)}
    except ValueError:
        raise RequestError(f"--burst {said!r}: write MESSAGES/MILLISECONDS, as 1000/500") from None


def chosen(
    names: "Sequence[str]",
    own: dict[str, Any] | None,
    plan: Path | None,
    duration: float | None,
    limits: dict[str, float | None],
) -> "list[PerformanceTest]":
    """The tests that the command line asks for. Raises InputError, RequestError."""
    from msgspec.structs import replace

    from millstream_apps.nodeflow.performance import plans

    tests = [plans.standard(name) for name in names]
    tests += [plans.read_plan(each) for each in _planned(plan)]
    tests += [] if own is None else [plans.read_plan(own)]
    given = {name: value for name, value in limits.items() if value is not None}
    tests = tests or list(plans.STANDARD_PERFORMANCE_TESTS)
    tests = [replace(each, limits=replace(each.limits, **given)) for each in tests]
    return tests if duration is None else [each.scaled(duration) for each in tests]


def _planned(plan: Path | None) -> list[Any]:
    if plan is None:
        return []
    try:
        found = json.loads(plan.read_text())
    except ValueError as error:
        raise RequestError(f"{plan} is not JSON: {error}") from error
    return found if isinstance(found, list) else [found]


def _driven(tests: "Sequence[PerformanceTest]") -> "PerformanceTestSuite":
    """A suite that has run these, on the event loop that servers use."""
    import uvloop

    from millstream_apps.nodeflow.performance.suite import PerformanceTestSuite

    suite = PerformanceTestSuite()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(suite, tests))
    return suite


async def _run(suite: "PerformanceTestSuite", tests: "Sequence[PerformanceTest]") -> None:
    """Run them; Ctrl-C ends the one at hand, and with it all."""
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, suite.abort)
    try:
        await suite.run_test_suite(tests, _show)
    finally:
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(each)
        if sys.stderr.isatty():
            typer.echo(err=True)


def _show(now: "Progress") -> None:
    """Progress: one line that is written again and again; lines where nobody looks."""
    said = (
        f"{now.test.name}: {now.elapsed:.1f}/{now.test.duration:g} s, {now.sent:,} sent, "
        f"{now.dropped:,} dropped, {now.waiting:,} waiting, p95 {now.p95:.2f} ms, "
        f"{now.usage.cpu:.0f} % CPU"
    )
    alone = sys.stderr.isatty()
    typer.echo(f"\r\x1b[K{said}" if alone else said, nl=not alone, err=True)


def _write(suite: "PerformanceTestSuite", markdown: Path | None, report: Path | None) -> None:
    from millstream_apps.nodeflow.performance.reporting import as_json

    written = suite.generate_report()
    if markdown is None:
        typer.echo(written)
    else:
        markdown.write_text(written)
    if report is not None:
        report.write_bytes(as_json(suite.get_results()) + b"\n")

"""Results written down: Markdown for people, JSON for programs. Pure."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from millstream_apps.nodeflow.performance.results import PerformanceResult
from millstream_apps.nodeflow.performance.usage import MIB

TITLE = "# Performance Test Report"


def report(results: Sequence[PerformanceResult]) -> str:
    """Markdown: a table of all tests, then each with its figures."""
    passed = sum(each.passed for each in results)
    lines = [TITLE, "", f"{passed} of {len(results)} tests passed.", "", *_table(results)]
    for each in results:
        lines += ["", *_test(each)]
    return "\n".join(lines) + "\n"


def _table(results: Sequence[PerformanceResult]) -> Iterator[str]:
    yield "| test | | sent | dropped | msg/s | p50 ms | p95 ms | p99 ms | CPU % | MiB grown |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for each in results:
        latency, usage = each.latency, each.usage
        yield (
            f"| {each.test.name} | {verdict(each)} | {each.sent:,} | {each.dropped_messages:,} "
            f"| {each.messages_per_second:,.0f} | {latency.p50:.2f} | {latency.p95:.2f} "
            f"| {latency.p99:.2f} | {usage.cpu:.1f} | {usage.growth / MIB:.1f} |"
        )


def verdict(result: PerformanceResult) -> str:
    """In a word."""
    if result.error is not None:
        return "error"
    if result.aborted:
        return "aborted"
    return "passed" if result.passed else "failed"


def _test(each: PerformanceResult) -> Iterator[str]:
    test, usage, latency = each.test, each.usage, each.latency
    waiting = sum(connection.waiting for connection in each.connections)
    yield f"## {test.name}: {verdict(each)}"
    yield ""
    yield f"- Duration: {each.duration:.1f} seconds"
    yield f"- Message Rate: {test.message_rate:g}/s, {test.message_size} bytes, {test.data_pattern}"
    yield f"- Concurrent Connections: {test.concurrent_connections}"
    yield f"- Buffers: {test.buffer_size} messages, {test.on_full}"
    yield f"- Total Messages: {each.sent:,} of {each.planned:,} planned"
    yield (
        f"- Conservation: {each.sent:,} sent = {each.received:,} delivered "
        f"+ {each.dropped_messages:,} dropped + {waiting:,} waiting"
    )
    for cause, kind, count in _causes(each):
        yield f"  - dropped, {cause}, {kind}: {count:,}"
    yield (
        f"- Average Throughput: {each.messages_per_second:,.0f} msg/s, "
        f"{each.megabytes_per_second:.2f} MB/s"
    )
    yield f"- Average Latency: {latency.mean:.2f} ms"
    yield f"- P50, P95, P99 Latency: {latency.p50:.2f}, {latency.p95:.2f}, {latency.p99:.2f} ms"
    yield f"- Sent later than due: mean {each.lateness.mean:.2f}, P95 {each.lateness.p95:.2f} ms"
    yield f"- Error Rate: {each.loss:.2%} dropped"
    yield f"- CPU: {usage.cpu:.1f} % of one core"
    yield (
        f"- Memory: {usage.memory_before / MIB:.1f} MiB before, {usage.memory_peak / MIB:.1f} at "
        f"most, {usage.memory_after / MIB:.1f} after"
    )
    for said in (*each.failures, *([each.error] if each.error else ())):
        yield f"- **Failed**: {said}"


def _causes(each: PerformanceResult) -> Iterator[tuple[str, str, int]]:
    """What was dropped, by cause and class, over all connections."""
    counts: dict[tuple[str, str], int] = {}
    for connection in each.connections:
        for cause, kinds in connection.drops.items():
            for kind, count in kinds.items():
                counts[cause, kind] = counts.get((cause, kind), 0) + count
    yield from ((cause, kind, count) for (cause, kind), count in sorted(counts.items()))


def as_json(results: Sequence[PerformanceResult]) -> bytes:
    """All results, with whether each has passed."""
    told: list[dict[str, Any]] = [
        {**msgspec.to_builtins(each), "passed": each.passed} for each in results
    ]
    passed = all(each.passed for each in results)
    return msgspec.json.encode({"passed": passed, "results": told})

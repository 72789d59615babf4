"""DBOS on SQLite: a workflow that writes a stream of events (`DBOS.write_stream`)."""

# pyright: reportMissingImports=false
import asyncio
import time

from dbos import DBOS, DBOSConfig

from bench.contestants.appending import Asked, Latencies, tell, timed

latencies = Latencies()


@DBOS.workflow()
async def write_events(events: int) -> None:
    for seq in range(1, events + 1):
        began = time.perf_counter()
        event = {"seq": seq, "type": "step.partial", "step": "tick", "data": time.time_ns()}
        await DBOS.write_stream_async("events", event)
        latencies.took.append(time.perf_counter() - began)
    await DBOS.close_stream_async("events")


async def main() -> None:
    asked = Asked()
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": f"sqlite:///{asked.folder / 'log.db'}",
        "run_admin_server": False,
        "log_level": "ERROR",
    }
    DBOS(config=config)
    DBOS.launch()
    ids: list[str] = []

    async def write(number: int) -> None:
        handle = await DBOS.start_workflow_async(write_events, asked.events)
        ids.append(handle.get_workflow_id())
        await handle.get_result()

    figures = await timed(asked, write)
    found: dict[str, list[int]] = {}
    for run in ids:
        found[run] = [event["seq"] async for event in DBOS.read_stream_async(run, "events")]
    tell({**figures, **latencies.report()}, found, asked)
    DBOS.destroy()


if __name__ == "__main__":
    asyncio.run(main())

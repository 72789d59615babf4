"""DBOS on SQLite: a workflow of one step that does nothing, in the process that asks for it.
`python -m bench.contestants.noop_dbos FOLDER RUNS AT_A_TIME`"""

# pyright: reportMissingImports=false
import asyncio
import sys
import time

from dbos import DBOS, DBOSConfig

from bench.contestants.shortruns import drive


@DBOS.step()
async def nothing() -> int:
    return time.time_ns()


@DBOS.workflow()
async def noop() -> int:
    return await nothing()


async def run() -> int:
    """One run: when its step began."""
    handle = await DBOS.start_workflow_async(noop)
    return await handle.get_result()


async def main() -> None:
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": f"sqlite:///{sys.argv[1]}/runs.db",
        "run_admin_server": False,
        "log_level": "ERROR",
    }
    DBOS(config=config)
    DBOS.launch()
    for _ in range(10):
        await run()
    print("warm", flush=True)
    sys.stdin.readline()
    await drive(run, int(sys.argv[2]), int(sys.argv[3]))
    DBOS.destroy()


if __name__ == "__main__":
    asyncio.run(main())

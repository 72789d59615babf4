"""The limit: one file, appended to and fdatasync'ed, with group commit."""

import os

import msgspec
import uvloop

from bench.contestants.appending import Asked, Group, Row, tell, timed


async def main() -> None:
    asked = Asked()
    path = asked.folder / "log.ndjson"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def commit(rows: "list[Row]") -> None:
        os.write(file, b"".join([row[2] + b"\n" for row in rows]))
        os.fdatasync(file)

    group = Group(commit)  # type: ignore[arg-type]
    figures = await timed(
        asked, lambda number: group.write(f"run-{number:032}", asked.events, asked.window)
    )
    os.close(file)
    found: dict[str, list[int]] = {}
    for line in path.read_bytes().splitlines():
        event = msgspec.json.decode(line)
        found.setdefault(event["run"], []).append(event["seq"])
    tell({**figures, **group.latencies.report(), "commits": group.commits}, found, asked)


if __name__ == "__main__":
    uvloop.run(main())

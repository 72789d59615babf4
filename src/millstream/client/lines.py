"""NDJSON bytes -> lines, however the bytes are cut. Pure; knows neither events nor a connection."""


class Lines:
    """An incremental parser. What stands behind the last line feed waits for more, and is never
    handed out: a connection that broke in mid-line leaves nothing half behind."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, without their ends. Empty lines mean nothing."""
        head, found, rest = data.partition(b"\n")
        if not found:
            self._wait(data)
            return []
        whole = [b"".join([*self._waiting, head])]
        *more, rest = rest.split(b"\n")
        self._waiting.clear()
        self._wait(rest)
        return [line for line in map(_bare, [*whole, *more]) if line]

    def _wait(self, data: bytes) -> None:
        if data:
            self._waiting.append(data)

    def __repr__(self) -> str:
        return f"<Lines, {sum(map(len, self._waiting))} bytes waiting>"


def _bare(line: bytes) -> bytes:
    return line[:-1] if line.endswith(b"\r") else line

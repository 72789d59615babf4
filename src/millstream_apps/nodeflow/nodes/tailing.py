"""Reading a text file while it grows, across rotation and truncation. Plain file work, for threads.

Follows a name, as `tail -F` does: when another file takes the name, the old one is read to its end
first. A file that shrinks has been truncated and is read from its start. A line is told when its
line feed is there; nothing is told twice.
"""

import os
from io import BufferedReader
from pathlib import Path

TURN_BYTES = 1 << 20
"""Read at a time, at most."""
LINE_BYTES = 1 << 20
"""A line that is longer is told in pieces of this size."""


class Tailer:
    """The state of one tail. `from_start` tells whether what is there already is read."""

    def __init__(self, path: Path, *, from_start: bool) -> None:
        self._path, self._skip = path, not from_start
        self._file: BufferedReader | None = None
        self._rest = b""

    def read(self) -> list[str]:
        """The lines that are new; none where there are none yet. Call it again for more."""
        if self._file is None and not self._open():
            self._skip = False  # a file that comes later is new as a whole
            return []
        assert self._file is not None
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            self._file.seek(0)  # truncated: what is there now is new
            self._rest = b""
        data = self._file.read(TURN_BYTES)
        if not data and self._replaced():
            left = self._left()
            self.close()
            return left + self.read()
        return self._split(data)

    def _open(self) -> bool:
        try:
            self._file = self._path.open("rb")
        except FileNotFoundError:
            return False
        if self._skip:
            self._file.seek(0, os.SEEK_END)
        self._skip = False
        return True

    def _replaced(self) -> bool:
        """Whether another file has the name now (or none has)."""
        assert self._file is not None
        mine = os.fstat(self._file.fileno())
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return True
        return (found.st_ino, found.st_dev) != (mine.st_ino, mine.st_dev)

    def _split(self, data: bytes) -> list[str]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        while len(self._rest) >= LINE_BYTES:
            lines.append(self._rest[:LINE_BYTES])
            self._rest = self._rest[LINE_BYTES:]
        return [line.removesuffix(b"\r").decode(errors="replace") for line in lines]

    def _left(self) -> list[str]:
        """The last line of a file that has gone, which no line feed will end any more."""
        rest, self._rest = self._rest, b""
        return [rest.decode(errors="replace")] if rest else []

    def close(self) -> None:
        """Let go of the file. Reading goes on with whatever has the name then."""
        if self._file is not None:
            self._file.close()
        self._file = None

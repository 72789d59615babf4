"""Limits on request bodies, and sizes for people. Knows nothing of what a body holds."""

from typing import Final

from msgspec import Struct

from millstream.errors import PolicyError, TooLarge

MiB: Final = 1024 * 1024


class Limits(Struct, frozen=True):
    """What one request may hold, in bytes and numbers. `header_bytes` is for one part."""

    body_bytes: int = 64 * MiB
    file_bytes: int = 10 * MiB
    files: int = 100
    fields: int = 200
    field_bytes: int = MiB
    header_bytes: int = 8 * 1024

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if getattr(self, name) < 0:
                raise PolicyError(f"Limits({name}={getattr(self, name)}): 0 or more")


class Meter:
    """Counts a body's bytes against a limit."""

    def __init__(self, limit: int, said: int | None) -> None:
        self._limit = limit
        self._size = 0
        if said is not None and said > limit:
            raise TooLarge(f"body: {human_size(said)} exceeds {self._most()}")

    def count(self, chunk: bytes) -> None:
        """One more chunk has come. Raises TooLarge."""
        self._size += len(chunk)
        if self._size > self._limit:
            raise TooLarge(f"body: exceeds {self._most()}")

    def _most(self) -> str:
        return f"the limit of {human_size(self._limit)} a request; send less at once"


def human_size(size: int) -> str:
    """Bytes for people, as file managers show them: `12.3 MB` (of 1024 kB of 1024 bytes)."""
    for unit, name in ((MiB, "MB"), (1024, "kB")):
        if size >= unit:
            return f"{size / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{size} bytes"

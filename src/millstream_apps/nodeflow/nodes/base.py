"""What every node of the library is made with: the model of its config, and its tools.

Nodes read no clock and open nothing by themselves; the clock, the guarded HTTP client and the
folder of readable files are brought by whoever makes the library.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from millstream import Outgoing

Seconds = Annotated[float, Meta(gt=0, le=31_536_000)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Text = Annotated[str, Meta(min_length=1, max_length=2_000)]


class Config(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The config of a node: a subclass names its fields, with defaults and bounds."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What nodes may use of the world.

    `now` gives seconds since the epoch. `client` is the outgoing HTTP client, which refuses
    private addresses; nodes that fetch need one. `files` is the folder that file nodes may read
    in; without one they refuse.
    """

    now: Callable[[], float]
    client: Outgoing | None = None
    files: Path | None = None

    def file(self, path: str) -> Path:
        """A file's place in the folder. Raises ValueError, naming the fix."""
        if self.files is None:
            raise ValueError("path: files cannot be read here; set NODEFLOW_FILES to a folder")
        found = (self.files / path).resolve()
        if not found.is_relative_to(self.files.resolve()):
            raise ValueError(f"path: {path!r} is outside of the folder for files")
        return found

"""File names as clients say them, made fit for people and file systems."""

import re
import unicodedata
from typing import Final

UNNAMED: Final = "upload"

FILENAME_BYTES: Final = 255
"""Of a file name in UTF-8; as much as common file systems take."""

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # Unicode categories; spaces (Zs) stay


def clean_filename(said: str) -> str:
    """A client's file name without its folders and without characters that are not seen.

    At most `FILENAME_BYTES` bytes of UTF-8, the extension kept; never empty.
    """
    last = re.split(r"[/\\]", said)[-1]
    seen = "".join(char for char in last if unicodedata.category(char) not in _UNSEEN).strip()
    return UNNAMED if seen in ("", ".", "..") else _shortened(seen)


def short(said: str) -> str:
    """For messages: enough to know it by."""
    return said if len(said) <= 80 else f"{said[:79]}…"


def _shortened(name: str) -> str:
    stem, dot, extension = name.rpartition(".")
    suffix = f".{extension}" if stem and dot and len(extension) <= 16 else ""
    stem = name.removesuffix(suffix)
    room = FILENAME_BYTES - len(suffix.encode())
    return stem.encode()[:room].decode("utf-8", "ignore") + suffix

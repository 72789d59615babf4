"""The first of many is told whole, the rest are counted: so that no flood reaches the log.

Pure: time comes in, in seconds.
"""

WHOLE = 5
"""How many a second are told whole."""

PERIOD = 1.0
"""Seconds."""


class Quota:
    """Says of each occurrence whether to tell it whole; keeps count of the others by their kind."""

    __slots__ = ("_began", "_counted", "_told")

    def __init__(self) -> None:
        self._began = float("-inf")
        self._told = 0
        self._counted: dict[str, int] = {}

    def admits(self, now: float, kind: str) -> bool:
        """Whether this one is told whole; if not it is counted under its kind (few kinds)."""
        if now - self._began >= PERIOD:
            self._began, self._told = now, 0
        if self._told < WHOLE and not self._counted:
            self._told += 1
            return True
        if kind not in self._counted and len(self._counted) >= 16:
            kind = "other"
        self._counted[kind] = self._counted.get(kind, 0) + 1
        return False

    def counted(self) -> dict[str, int]:
        """Those not told whole since this was last asked, by kind."""
        counted, self._counted = self._counted, {}
        return counted

    def __bool__(self) -> bool:
        """Whether there are some that were only counted."""
        return bool(self._counted)

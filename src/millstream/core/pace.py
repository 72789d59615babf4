"""How many messages a live step handles before it lets the event loop do other things. Pure."""

SMALLEST, LARGEST = 16, 1024
FIRST = 128
"""Messages a turn: the bounds, and where it begins."""

TURN = 0.001
"""Seconds that a turn should take: what other work in the loop waits for at most."""


class Pace:
    """Learns what a message costs, and so how many fit into a turn.

    A turn that took longer than expected counts little (another process may have had the core
    meanwhile), one that took less counts much.
    """

    __slots__ = ("_cost", "size")

    def __init__(self) -> None:
        self.size = FIRST
        """Messages for the next turn."""
        self._cost = TURN / FIRST

    def note(self, messages: int, seconds: float) -> None:
        """A turn of so many messages took so long."""
        if messages < SMALLEST:
            return  # too few to tell
        cost = seconds / messages
        self._cost += (cost - self._cost) * (0.5 if cost < self._cost else 0.1)
        self.size = min(LARGEST, max(SMALLEST, int(TURN / max(self._cost, 1e-9))))

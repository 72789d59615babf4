"""Observer: what the engine tells of its work, for metrics. By default nobody listens."""


class Observer:
    """Override what interests you. Called in the event loop: be quick. Seconds throughout."""

    def run_created(self, pipeline: str) -> None:
        """A run was accepted and is durable."""

    def run_ended(self, pipeline: str, state: str, seconds: float) -> None:
        """A run has ended; `seconds` since it was created."""

    def step_ended(self, pipeline: str, step: str, outcome: str, seconds: float) -> None:
        """A step has a value ("done") or has failed for good ("failed") for one item."""

    def flushed(self, events: int, size: int) -> None:
        """So many events, of so many bytes in all, have become durable in one append."""

    def blocked(self, step: str, seconds: float) -> None:
        """A synchronous step held the event loop."""

"""What happens when a handler of messages fails: again, later, or not at all for a while.

The pauses, the breaker's table and its states are the engine's. Delays are given in milliseconds,
as clients of stream engines do. Time and chance come in.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from millstream import Breaker, Circuit, PolicyError, Retry, StepError
from millstream import pause as retry_pause

MS = 1000.0
PER_MINUTE = 60.0
Call = Callable[[], Awaitable[Any]]


class CircuitOpen(StepError):
    """The connection's handler has failed too often, and is spared for a while."""

    code = "circuit_open"
    retryable = True


class ErrorRecovery(Protocol):
    """What an engine asks."""

    async def run(self, connection_id: str, call: Call) -> Any:
        """Make the call, again where that may help. Raises what it failed with at last."""
        ...


class DefaultErrorRecovery:
    """Up to `max_retries` more tries, after growing pauses; a breaker for each connection opens
    after `circuit_breaker_threshold` failed calls within a minute, for `circuit_breaker_timeout`
    ms. Then one call tries whether it works again."""

    def __init__(
        self,
        max_retries: int = 3,
        base_retry_delay: float = 100.0,
        max_retry_delay: float = 5000.0,
        exponential_backoff: bool = True,
        circuit_breaker_threshold: int = 5,
        circuit_breaker_timeout: float = 30_000.0,
        *,
        now: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        if max_retries < 0:
            raise PolicyError(f"max_retries={max_retries}: 0 or more")
        self._retry = Retry(
            attempts=max_retries + 1,
            base=base_retry_delay / MS,
            cap=max_retry_delay / MS,
            factor=2.0 if exponential_backoff else 1.0,
            jitter=0.0,
        )
        self._breaker = Breaker(
            failures=circuit_breaker_threshold,
            per=PER_MINUTE,
            open_for=circuit_breaker_timeout / MS,
        )
        self._circuits: dict[str, Circuit] = {}
        self._now, self._chance = now, chance

    def circuit(self, connection_id: str) -> Circuit:
        """A connection's breaker."""
        return self._circuits.setdefault(connection_id, Circuit(self._breaker))

    async def run(self, connection_id: str, call: Call) -> Any:
        """See ErrorRecovery. Raises CircuitOpen while the breaker is open."""
        circuit = self.circuit(connection_id)
        if not circuit.allows(self._now()):
            left = circuit.reopens(self._now())
            raise CircuitOpen(f"connection {connection_id} is spared for another {left:.1f} s")
        try:
            value = await self._tried(call)
        except asyncio.CancelledError:
            circuit.left()
            raise
        except Exception:
            circuit.failed(self._now())
            raise
        circuit.succeeded()
        return value

    async def _tried(self, call: Call) -> Any:
        failures = 0
        while True:
            try:
                return await call()
            except Exception as error:
                failures += 1
                if failures >= self._retry.attempts or not getattr(error, "retryable", True):
                    raise
            await asyncio.sleep(retry_pause(self._retry, failures, self._chance()))


class GracefulErrorRecovery:
    """Tries again after 200, 300, 450 ... ms, up to a fifth less by chance. A connection with more
    than `degraded_after` failed calls is degraded for `degraded_for` ms: its calls are made once,
    without pauses that would hold up what waits."""

    def __init__(
        self,
        max_retries: int = 3,
        degraded_after: int = 2,
        degraded_for: float = 30_000.0,
        *,
        now: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        if max_retries < 0:
            raise PolicyError(f"max_retries={max_retries}: 0 or more")
        self._retry = Retry(attempts=max_retries + 1, base=0.2, factor=1.5, cap=30.0, jitter=0.2)
        self._after, self._for = degraded_after, degraded_for / MS
        self._errors: dict[str, int] = {}
        self._until: dict[str, float] = {}
        self._now, self._chance = now, chance

    def is_degraded(self, connection_id: str) -> bool:
        """Whether a connection is degraded now."""
        until = self._until.get(connection_id)
        if until is not None and self._now() >= until:
            del self._until[connection_id]
            self._errors.pop(connection_id, None)
            return False
        return until is not None

    async def run(self, connection_id: str, call: Call) -> Any:
        """See ErrorRecovery."""
        failures = 0
        while True:
            try:
                return await call()
            except Exception as error:
                failures += 1
                retryable = getattr(error, "retryable", True)
                over = failures >= self._retry.attempts or not retryable
                if over or self.is_degraded(connection_id):
                    self._failed(connection_id)
                    raise
            await asyncio.sleep(retry_pause(self._retry, failures, self._chance()))

    def _failed(self, connection_id: str) -> None:
        errors = self._errors[connection_id] = self._errors.get(connection_id, 0) + 1
        if errors > self._after and connection_id not in self._until:
            self._until[connection_id] = self._now() + self._for

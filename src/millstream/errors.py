"""Every error of ours: a shallow tree. Each has a stable code, an HTTP status, and says whether
trying again can help. Messages are made from data, name the field at fault, and say the fix.

Knows nothing of HTTP frameworks, stores or pipelines; imports the standard library alone.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, ClassVar


class MillstreamError(Exception):
    """The root of the tree. `code` is stable; `message` is for people and may change."""

    code: str = "internal_error"
    status: ClassVar[int] = 500
    retryable: bool = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def details(self) -> dict[str, Any]:
        """Further members of the problem document (RFC 9457, section 3.2)."""
        return {}

    @property
    def headers(self) -> Mapping[str, str]:
        """What an HTTP response that tells of it says in its headers."""
        return {}


# --- the developer's: a pipeline, a policy or a setting that cannot work -------------------------


class PipelineError(MillstreamError):
    """A graph that cannot be built. Names the step, the parameter and the fix."""

    code = "pipeline_invalid"


class PolicyError(MillstreamError, ValueError):
    """A policy value outside its range."""

    code = "policy_invalid"


class SettingsError(MillstreamError, ValueError):
    """A setting that is unknown or out of range."""

    code = "settings_invalid"


# --- the client's: a request that cannot be served as it is --------------------------------------


class RequestError(MillstreamError):
    """The request is at fault; nothing was started and nothing was lost."""

    code = "bad_request"
    status = 400


class InputError(RequestError):
    """An input that does not fit the pipeline's input type.

    `errors` has one entry a fault: `{"field": "files[2]", "message": "…"}`.
    """

    code = "input_invalid"
    status = 422

    def __init__(self, message: str, *, errors: Sequence[dict[str, str]] = ()) -> None:
        super().__init__(message)
        self.errors = list(errors)

    def details(self) -> dict[str, Any]:
        """The faults, field by field."""
        return {"errors": self.errors} if self.errors else {}


class Unauthenticated(RequestError):
    """Nobody said who asks, or said it with a key that is not `known` (RFC 6750, section 3)."""

    code = "unauthenticated"
    status = 401

    def __init__(self, message: str, *, known: bool = True) -> None:
        super().__init__(message)
        self.known = known

    @property
    def headers(self) -> Mapping[str, str]:
        """How to say it: as a Bearer token. (An X-API-Key has no scheme of its own.)"""
        fault = "" if self.known else ', error="invalid_token"'
        return {"WWW-Authenticate": f'Bearer realm="millstream"{fault}'}


class RateLimited(RequestError):
    """Too many requests, or too many streams open at once. `retry_after` is in seconds; `told` are
    further headers, which say what the limit is."""

    code = "rate_limited"
    status = 429
    retryable = True

    def __init__(
        self,
        message: str,
        *,
        retry_after: float,
        code: str | None = None,
        told: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self._told = dict(told or {})
        if code is not None:
            self.code = code

    @property
    def headers(self) -> Mapping[str, str]:
        """`Retry-After` (RFC 9110, section 10.2.3), and what the limit is."""
        return {"Retry-After": str(max(1, math.ceil(self.retry_after))), **self._told}


class NotFound(RequestError):
    """No such run, pipeline or route."""

    code = "not_found"
    status = 404


class Conflict(RequestError):
    """The request contradicts what is already there (an idempotency key used for other input)."""

    code = "conflict"
    status = 409


class TooLarge(RequestError):
    """A body, a file or a number of files over its limit."""

    code = "too_large"
    status = 413


class UnsupportedMedia(RequestError):
    """A body in a format that this route does not read."""

    code = "unsupported_media_type"
    status = 415


# --- ours, or the machine's: trying again may help -----------------------------------------------


class Unavailable(MillstreamError):
    """The service cannot take this now (draining, full, store out of reach)."""

    code = "unavailable"
    status = 503
    retryable = True

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    @property
    def headers(self) -> Mapping[str, str]:
        """`Retry-After` (RFC 9110, section 10.2.3)."""
        return {"Retry-After": str(max(1, round(self.retry_after)))}


class StoreError(Unavailable):
    """The store failed or is out of reach."""

    code = "store_unavailable"


class StaleEpoch(MillstreamError):
    """Somebody else holds the lease by now: this writer may write nothing more (law 3)."""

    code = "stale_epoch"
    status = 409

    def __init__(self, run: str, epoch: int) -> None:
        super().__init__(f"run {run}: epoch {epoch} is no longer the one that may write")
        self.run, self.epoch = run, epoch


# --- a step's ------------------------------------------------------------------------------------


class StepError(MillstreamError):
    """Raise this inside a step to say how it failed: a stable code, and whether to try again.

    >>> raise StepError("the page is not HTML", code="not_html", retryable=False)
    """

    code = "step_error"
    retryable = True

    def __init__(
        self, message: str, *, code: str | None = None, retryable: bool | None = None
    ) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        if retryable is not None:
            self.retryable = retryable

    def __reduce__(self) -> tuple[Any, ...]:  # travels between processes whole
        return _rebuild_step_error, (type(self), self.message, self.code, self.retryable)


class StepTimeout(StepError):
    """A step ran past its `timeout`. An error, never an answer (law 8)."""

    code = "step_timeout"


class ExecutorCrashed(StepError):
    """The process that ran the step died (a signal, out of memory)."""

    code = "executor_crashed"


def _rebuild_step_error(
    kind: type[StepError], message: str, code: str, retryable: bool
) -> StepError:
    error = kind.__new__(kind)
    StepError.__init__(error, message, code=code, retryable=retryable)
    return error


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`'; did you mean "page"?'`, or nothing where nothing is near."""
    near = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""

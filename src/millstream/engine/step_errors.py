"""What a step's failure is told as: any exception as a StepError, and the errors that the engine
itself finds in a step. Data in, errors out; knows no journal.
"""

from millstream.core.graph import Step
from millstream.errors import MillstreamError, StepError


def as_step_error(error: Exception) -> StepError:
    """Any exception of a step's function as a StepError; the original is its cause."""
    if isinstance(error, StepError):
        return error
    if isinstance(error, MillstreamError):
        told = StepError(error.message, code=error.code, retryable=error.retryable)
    else:
        said = str(error)
        name = type(error).__name__
        retryable = bool(getattr(error, "retryable", True))
        told = StepError(f"{name}: {said}" if said else name, retryable=retryable)
    told.__cause__ = error
    return told


def cause_of(failure: StepError) -> Exception:
    """What `Retry.on` is compared with: the exception that the function raised."""
    return failure.__cause__ if isinstance(failure.__cause__, Exception) else failure


def worker_lost(step: Step, times: int) -> StepError:
    """The step may be what kills its workers."""
    return StepError(
        f"the worker died {times} times while it ran step {step.name!r}; it is not tried again",
        code="worker_lost",
        retryable=False,
    )


def not_encodable(what: str, error: TypeError) -> StepError:
    """A value that cannot be published."""
    return StepError(
        f"{what} has no JSON form ({error}); return JSON types, a model or a dataclass, "
        "or declare the step internal=True",
        code="not_encodable",
        retryable=False,
    )


def not_comparable(error: TypeError) -> StepError:
    """An argument by which no kept result can be found."""
    return StepError(
        f"an argument has no JSON form to be compared by ({error}); give the step's cache a key=, "
        "a function of the parameters that count",
        code="not_comparable",
        retryable=False,
    )

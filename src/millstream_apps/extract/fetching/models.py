"""Fetching: its values. What was fetched, how it failed, and the policy. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from msgspec import Struct

from millstream import OutgoingError, PolicyError, StepError, __version__
from millstream_apps.extract.fetching.charsets import decode

CacheMode = Literal["read_through", "refresh", "only", "off"]
"""`read_through`: kept pages up to the policy's age; `refresh`: ask the server whether it is still
the same; `only`: kept pages of any age, never the network; `off`: neither read nor keep."""

MiB = 2**20


@dataclass(frozen=True)
class Fetched:
    """A page as it came. `body` is unpacked but not decoded; `encoding` is the codec that fits it.

    `headers` have lower-case names. `fetched_at` is when the server last vouched for it, in seconds
    since the epoch. `redirects` are the URLs before `final_url`, in order. `from_cache` says that
    the body was kept from an earlier time.
    """

    url: str
    final_url: str
    status: int
    headers: Mapping[str, str]
    content_type: str
    encoding: str | None
    body: bytes
    from_cache: bool
    fetched_at: float
    elapsed_ms: float
    redirects: tuple[str, ...]
    cache_key: str = ""

    @property
    def text(self) -> str:
        """The body as text; what does not fit its encoding is U+FFFD."""
        return decode(self.body, self.encoding or "utf-8")


class FetchError(StepError):
    """A page that was not fetched. `code` is stable; `retryable` says whether trying again helps.

    Codes of its own: `http_status` (`http_status` is the number), `fetch_timeout`,
    `robots_disallowed`, `robots_unreachable`, `content_type_unsupported`, `not_cached`,
    `host_resting` and `host_busy`; beside them those of `OutgoingError` (`address_refused`,
    `redirect_loop`, `body_too_large`, …). `retry_after` is in seconds, where a server said so.
    """

    code = "fetch_error"
    http_status: int | None = None
    retry_after: float | None = None

    def __init__(
        self,
        message: str,
        *,
        code: str,
        retryable: bool,
        http_status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, code=code, retryable=retryable)
        self.http_status, self.retry_after = http_status, retry_after

    @property
    def error_type(self) -> str:
        """The code, by the name that clients know."""
        return self.code

    @classmethod
    def of(cls, error: OutgoingError) -> "FetchError":
        """The same failure as one of ours."""
        told = cls(error.message, code=error.code, retryable=error.retryable)
        told.__cause__ = error
        return told

    def __reduce__(self) -> tuple[Any, ...]:  # travels between processes whole
        return _rebuild, (
            self.message,
            self.code,
            self.retryable,
            self.http_status,
            self.retry_after,
        )


def _rebuild(
    message: str, code: str, retryable: bool, status: int | None, after: float | None
) -> FetchError:
    return FetchError(
        message, code=code, retryable=retryable, http_status=status, retry_after=after
    )


class FetchPolicy(Struct, frozen=True):
    """How to fetch. Durations are seconds, sizes bytes.

    `ttl`: how old a kept page may be before the server is asked again. `per_host`: requests to one
    host at a time. `min_delay`: between the starts of two of them; a robots.txt may ask for more,
    up to `max_delay`. `patience`: the longest wait for a turn. `rest`: the longest Retry-After that
    is waited for; a longer one is an error that says how long. `robots_ttl`: RFC 9309 allows a day.
    """

    user_agent: str = f"Millstream/{__version__}"
    ttl: float = 3600.0
    max_bytes: int = 10 * MiB
    redirects: int = 10
    per_host: int = 8
    min_delay: float = 0.0
    max_delay: float = 30.0
    patience: float = 120.0
    rest: float = 10.0
    robots_ttl: float = 3600.0
    robots_timeout: float = 10.0
    connections: int = 256

    def __post_init__(self) -> None:
        for name in ("per_host", "max_bytes", "connections"):
            if getattr(self, name) < 1:
                raise PolicyError(f"FetchPolicy({name}={getattr(self, name)}): at least 1")
        for name in ("ttl", "redirects", "min_delay", "max_delay", "patience", "rest"):
            if getattr(self, name) < 0:
                raise PolicyError(f"FetchPolicy({name}={getattr(self, name)}): 0 or more")
        if not 0 < self.robots_ttl <= 86_400:
            raise PolicyError(f"FetchPolicy(robots_ttl={self.robots_ttl}): up to a day (RFC 9309)")
        if self.robots_timeout <= 0:
            raise PolicyError(f"FetchPolicy(robots_timeout={self.robots_timeout}): more than 0")

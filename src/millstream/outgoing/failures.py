"""Outgoing: what the HTTP library raises, told as our errors. Pure."""

import ssl
from collections.abc import Iterator

import httpx
from httpx_secure import SSRFProtectionError

from millstream.outgoing.errors import OutgoingError, OutgoingRefused, OutgoingTimeout


def told(url: str, error: Exception) -> OutgoingError:
    """The error of ours for one of httpx's, its own cause kept for those who debug."""
    match error:
        case SSRFProtectionError():
            return OutgoingRefused(f"{error.hostname!r} is refused: {error}")
        case httpx.ConnectTimeout():
            return OutgoingTimeout(f"{url}: the server could not be reached in time")
        case httpx.TimeoutException():
            return OutgoingTimeout(f"{url}: the server fell silent")
        case httpx.InvalidURL() | httpx.UnsupportedProtocol():
            return OutgoingRefused(f"{url}: {error}", code="url_invalid")
    secure = next((each for each in _causes(error) if isinstance(each, ssl.SSLError)), None)
    if secure is not None:
        why = getattr(secure, "verify_message", "") or secure.reason or "handshake failed"
        return OutgoingError(
            f"{url}: no secure connection ({why})", code="tls_failed", retryable=False
        )
    if isinstance(error, httpx.ConnectError):
        return OutgoingError(f"{url}: the server cannot be reached", code="connect_failed")
    if isinstance(error, httpx.RemoteProtocolError):
        return OutgoingError(f"{url}: the answer is not HTTP or breaks off ({error})")
    return OutgoingError(f"{url}: the connection broke ({type(error).__name__})")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what lies behind it, each once."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__

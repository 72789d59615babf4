"""Outgoing: the bounds of one request. A frozen value, checked when made; acts nowhere."""

from msgspec import Struct

from millstream.errors import PolicyError

MiB = 2**20


class OutgoingLimits(Struct, frozen=True):
    """Sizes are bytes, durations seconds.

    `body` bounds what is unpacked as well as what is received. `connect` is for reaching a server,
    `headers` for one answer to begin, `total` for the whole request with its redirects and body
    (None: as long as it takes, for streams). `idle` is the longest silence inside a body.
    """

    body: int = 16 * MiB
    redirects: int = 10
    connect: float = 10.0
    headers: float = 20.0
    idle: float = 20.0
    total: float | None = 60.0

    def __post_init__(self) -> None:
        if self.body < 0 or self.redirects < 0:
            raise PolicyError("OutgoingLimits: body and redirects are 0 or more")
        for name in ("connect", "headers", "idle", "total"):
            seconds = getattr(self, name)
            if seconds is not None and seconds <= 0:
                raise PolicyError(f"OutgoingLimits({name}={seconds}): seconds, more than 0")

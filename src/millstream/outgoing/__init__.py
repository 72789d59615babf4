"""Outgoing: the one guarded way out. Whatever fetches an address that somebody else named goes
through `Outgoing`, which refuses the inside of the network and bounds what it takes.

`addresses`, `urls`, `redirects` and `decoding` decide and do no I/O; `guard`, `pools` and
`client` act. Imports `errors` of ours alone; knows no pipelines, runs or servers.
"""

from millstream.outgoing.answers import OutgoingResponse, OutgoingStream
from millstream.outgoing.client import Outgoing
from millstream.outgoing.errors import (
    OutgoingError,
    OutgoingRefused,
    OutgoingTimeout,
    OutgoingTooLarge,
)
from millstream.outgoing.limits import OutgoingLimits

__all__ = [
    "Outgoing",
    "OutgoingError",
    "OutgoingLimits",
    "OutgoingRefused",
    "OutgoingResponse",
    "OutgoingStream",
    "OutgoingTimeout",
    "OutgoingTooLarge",
]

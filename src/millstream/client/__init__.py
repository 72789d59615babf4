"""The Python client: runs started, followed and resumed, each event exactly once.

Touches HTTP through httpx. Of ours it knows `events` and `errors`; of the server only what stands
on the wire.
"""

from millstream.client.body import File, Files
from millstream.client.client import Client
from millstream.client.errors import ConnectionLost, LogBroken, ServerError
from millstream.client.following import Following
from millstream.client.patience import Pause

__all__ = [
    "Client",
    "ConnectionLost",
    "File",
    "Files",
    "Following",
    "LogBroken",
    "Pause",
    "ServerError",
]

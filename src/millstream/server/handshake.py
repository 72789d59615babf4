"""The opening handshake of a WebSocket (RFC 6455, section 4.2): who may come in, and what is
answered. Turns the head of an HTTP request into an ASGI scope, and an answer into bytes.

A request that is regular in every way is answered from here; any other goes to the library
(`websockets`), which knows why it is wrong and says so. Knows no transport.
"""

import base64
import email.utils
import hashlib
import logging
import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

Fields = Iterable[tuple[bytes, bytes]]
"""Header fields as ASGI has them, names in lower case."""

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # section 1.3
KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")
CONNECTIONS = frozenset((b"upgrade", b"keep-alive, upgrade"))
"""What browsers and common libraries say."""

UNCOMMON = frozenset((b"content-length", b"transfer-encoding", b"sec-websocket-protocol"))
ONCE = frozenset(
    (b"connection", b"upgrade", b"sec-websocket-key", b"sec-websocket-version", b"origin")
)
COMMON_FIELDS, COMMON_BYTES = 100, 8000
"""Far below what the library takes."""

_log = logging.getLogger("uvicorn.error")


def regular(fields: Fields) -> bytes | None:
    """The value of Sec-WebSocket-Accept for the fields of a GET over HTTP/1.1; None where anything
    about them is not quite as usual."""
    found: dict[bytes, bytes] = {}
    size = count = 0
    for name, value in fields:
        if name in UNCOMMON or (name in ONCE and name in found):
            return None
        found[name] = value
        size, count = size + len(name) + len(value), count + 1
    if size > COMMON_BYTES or count > COMMON_FIELDS:
        return None
    key = found.get(b"sec-websocket-key", b"")
    usual = (
        found.get(b"connection", b"").lower() in CONNECTIONS
        and found.get(b"upgrade", b"").lower() == b"websocket"
        and found.get(b"sec-websocket-version") == b"13"
        and KEY.fullmatch(key) is not None
    )
    return base64.b64encode(hashlib.sha1(key + GUID).digest()) if usual else None


def judged(head: bytes) -> tuple[bytes | None, bytes]:
    """By the library: the value of Sec-WebSocket-Accept; or None, and the refusal to be written.
    `head` is the whole head of the request."""
    codec = ServerProtocol(logger=_log)
    codec.receive_data(head)
    for request in codec.events_received():
        assert isinstance(request, Request)
        response = codec.accept(request)
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            return response.headers["Sec-WebSocket-Accept"].encode(), b""
        codec.send_response(response)
    said = b"".join(codec.data_to_send())
    return None, said or refusal(400, body=b"This is no request for a WebSocket.\n")


class Handshake:
    """One request to open a socket: `scope` is what the application sees of it. `refusal`, where
    it is not empty, is what to write instead of asking the application."""

    __slots__ = ("_accept", "_body", "_fields", "_status", "refusal", "scope")

    def __init__(self, request: Mapping[str, Any], target: bytes, *, state: dict[str, Any]) -> None:
        """`request`: the scope of the HTTP request; `target`: the path and query of its line."""
        self.refusal = b""
        self._accept, self._status = self._judge(request, target), 0
        self._fields: list[tuple[str, str]] = []
        self._body = b""
        root: str = request["root_path"]
        path, _, query = target.partition(b"?")
        self.scope: dict[str, Any] = {
            "type": "websocket",
            "asgi": {**request["asgi"], "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "wss" if request["scheme"] == "https" else "ws",
            "server": request["server"],
            "client": request["client"],
            "root_path": root,
            "path": root + unquote(path.decode("ascii", "replace")),
            "raw_path": root.encode("ascii") + path,
            "query_string": query,
            "headers": request["headers"],
            "subprotocols": list(_subprotocols(request["headers"])),
            "state": state,
            "extensions": {"websocket.http.response": {}},
        }

    def _judge(self, request: Mapping[str, Any], target: bytes) -> bytes | None:
        fields, method, version = request["headers"], request["method"], request["http_version"]
        usual = (method, version) == ("GET", "1.1") and len(target) < COMMON_BYTES
        accept = regular(fields) if usual else None
        if accept is None:
            head = [b"%b %b HTTP/%b\r\n" % (method.encode(), target, version.encode())]
            head += [b"%b: %b\r\n" % field for field in fields]
            accept, self.refusal = judged(b"".join([*head, b"\r\n"]))
        return accept

    def accepted(self, fields: Fields, subprotocol: str | None = None) -> bytes:
        """The answer that opens the socket, with further fields."""
        lines = [
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n" % (self._accept or b"")
        ]
        lines += [b"%b: %b\r\n" % field for field in fields]
        if subprotocol:
            lines.append(b"Sec-WebSocket-Protocol: %b\r\n" % subprotocol.encode("ascii"))
        return b"".join([*lines, b"\r\n"])

    # --- an application's own refusal (ASGI's extension `websocket.http.response`) ---------------

    @property
    def refusing(self) -> bool:
        """Whether a refusal has begun."""
        return self._status != 0

    def refuse(self, status: int, fields: Fields) -> None:
        """Its status and header fields. Raises RuntimeError where that is no status."""
        if not 100 <= status < 600:
            raise RuntimeError(f"Invalid HTTP status code '{status}' in response.")
        self._status = status
        self._fields = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in fields]

    def refuse_body(self, body: bytes, *, more: bool) -> bytes | None:
        """A part of its body. The whole refusal, once there is no more."""
        self._body += body
        return None if more else refusal(self._status, self._fields, self._body)


def refusal(status: int, fields: Iterable[tuple[str, str]] = (), body: bytes = b"") -> bytes:
    """A response that does not open the socket."""
    headers = Headers(list(fields))
    headers.setdefault("Date", email.utils.formatdate(usegmt=True))
    headers.setdefault("Connection", "close")
    headers.setdefault("Content-Length", str(len(body)))
    headers.setdefault("Content-Type", "text/plain; charset=utf-8")
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return Response(status, phrase, headers, body).serialize()


def _subprotocols(fields: Fields) -> Iterable[str]:
    for name, value in fields:
        if name == b"sec-websocket-protocol":
            yield from (token.strip() for token in value.decode("latin-1").split(","))

"""The opening handshake: our short way in never lets in what the library would not."""

import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from millstream.server import handshake

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, section 1.3
USUAL = [
    (b"host", b"here"),
    (b"connection", b"Upgrade"),
    (b"upgrade", b"websocket"),
    (b"sec-websocket-key", KEY),
    (b"sec-websocket-version", b"13"),
]

values = st.sampled_from(
    [b"", b"13", b"8", b"websocket", b"WebSocket", b"Upgrade", b"keep-alive, Upgrade", b"close"]
) | st.text("ABC+/=, \t", max_size=30).map(str.encode)
keys = st.binary(max_size=20).map(lambda key: base64.b64encode(key)) | values
names = st.sampled_from(
    [name for name, _ in USUAL]
    + [b"origin", b"content-length", b"transfer-encoding", b"sec-websocket-protocol", b"cookie"]
)
changes = st.lists(
    st.tuples(st.sampled_from(["drop", "add", "change"]), names, values | keys), max_size=4
)


def changed(fields, changes):
    for kind, name, value in changes:
        if kind != "add":
            fields = [field for field in fields if field[0] != name]
        if kind != "drop":
            fields = [*fields, (name, value)]
    return fields


def head(fields):
    lines = [b"%b: %b\r\n" % field for field in fields]
    return b"".join([b"GET /socket HTTP/1.1\r\n", *lines, b"\r\n"])


@given(changes)
@example([])
@example([("add", b"origin", b"a"), ("add", b"origin", b"b")])
@example([("change", b"connection", b"keep-alive, Upgrade"), ("change", b"upgrade", b"WebSocket")])
def test_what_is_regular_to_us_the_library_accepts_with_the_same_key(changes):
    fields = changed(USUAL, changes)
    ours = handshake.regular(fields)
    theirs, refusal = handshake.judged(head(fields))
    assert (theirs is None) == refusal.startswith(b"HTTP/1.1 4")
    if ours is not None:
        assert ours == theirs
    if not changes:
        assert ours == ACCEPT


def request(fields, **more):
    return {
        "asgi": {"version": "3.0"},
        "method": "GET",
        "http_version": "1.1",
        "scheme": "http",
        "server": ("here", 80),
        "client": ("there", 1),
        "root_path": "/up",
        "headers": fields,
        **more,
    }


def test_the_scope_is_that_of_the_request():
    fields = [*USUAL, (b"sec-websocket-protocol", b"a, b"), (b"sec-websocket-protocol", b"c")]
    opened = handshake.Handshake(request(fields, scheme="https"), b"/a%20b?q=1?2", state={"s": 1})
    assert opened.refusal == b""
    scope = opened.scope
    assert (scope["path"], scope["raw_path"]) == ("/up/a b", b"/up/a%20b")
    assert (scope["query_string"], scope["scheme"]) == (b"q=1?2", "wss")
    assert scope["subprotocols"] == ["a", "b", "c"]
    assert (scope["headers"], scope["state"]) == (fields, {"s": 1})
    answer = opened.accepted([(b"x", b"y")], "b")
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert answer.endswith(
        b"\r\nSec-WebSocket-Accept: %b\r\nx: y\r\nSec-WebSocket-Protocol: b\r\n\r\n" % ACCEPT
    )


@pytest.mark.parametrize(
    ("status", "target", "more"),
    [
        (405, b"/", {"method": "POST"}),
        (505, b"/", {"http_version": "1.0"}),
        (400, b"/", {"headers": changed(USUAL, [("drop", b"sec-websocket-key", b"")])}),
        (400, b"/", {"headers": changed(USUAL, [("change", b"sec-websocket-version", b"8")])}),
        (426, b"/", {"headers": changed(USUAL, [("change", b"upgrade", b"h2c")])}),
        (414, b"/" + b"x" * 9000, {}),
        (431, b"/", {"headers": [*USUAL, (b"x", b"y" * 9000)]}),
    ],
)
def test_what_is_wrong_is_refused_with_the_librarys_words(status, target, more):
    opened = handshake.Handshake({**request(USUAL), **more}, target, state={})
    assert opened.refusal.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nconnection: close\r\n" in opened.refusal.lower()

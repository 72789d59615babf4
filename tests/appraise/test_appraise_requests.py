"""Photos as clients send them: base64 in any dress comes out as the bytes that went in."""

import base64
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream import MillstreamError
from millstream_apps.appraise.models import PhotoRequest
from millstream_apps.appraise.requests import NAMES, PHONE, _json, _session, decoded

dress = st.sampled_from(
    [
        lambda data: base64.b64encode(data).decode(),
        lambda data: "data:image/jpeg;base64," + base64.b64encode(data).decode(),
        lambda data: "data:image/png;charset=utf-8;base64," + base64.b64encode(data).decode(),
        lambda data: "data:;base64," + base64.b64encode(data).decode(),
        lambda data: base64.encodebytes(data).decode(),
        lambda data: base64.b64encode(data).decode().rstrip("="),
        lambda data: " \n" + base64.b64encode(data).decode() + "\r\n",
    ]
)


def refusal_of(function, *arguments):
    """The error of ours that it raised, if it did; any other escapes."""
    try:
        function(*arguments)
    except MillstreamError as error:
        return error
    return None


@given(st.binary(min_size=1, max_size=300), dress)
def test_what_went_in_comes_out(data, wear):
    assert decoded("frontImageData", wear(data))[0] == data


@given(st.one_of(st.text(), st.none(), st.integers(), st.lists(st.text()), st.booleans()))
def test_anything_else_is_refused_by_name(said):
    refused = refusal_of(decoded, "frontImageData", said)
    if refused is not None:
        assert refused.message.startswith("frontImageData: ")
    else:
        assert isinstance(said, str)


@pytest.mark.parametrize(
    "said", ["data:image/jpeg,abc", "data:text/html;base64", "!!!!", "a", "data:image/png;base64,"]
)
def test_broken_photos_say_so(said):
    with pytest.raises(MillstreamError, match=r"^frontImageData: "):
        decoded("frontImageData", said)


def test_a_photo_over_the_limit_is_refused():
    with pytest.raises(MillstreamError, match="exceeds 10 MB"):
        decoded("backImageData", base64.b64encode(bytes(10 * 2**20 + 1)).decode())


@given(st.sampled_from(sorted(NAMES)))
def test_every_generation_of_clients_is_understood(name):
    body = msgspec.json.encode({name: base64.b64encode(b"photo").decode(), "other": 1})
    fields, photos = _json(body)
    assert photos == {NAMES[name]: (b"photo", "application/octet-stream")}
    assert fields == {"other": 1}


@given(st.binary(max_size=200))
def test_any_body_is_read_or_refused(body):
    refused = refusal_of(_json, body)
    assert refused is None or refused.status == 400


@pytest.mark.parametrize("said", ["26112008000", "2611200800001", "26112008000a", 261120080000, []])
def test_sessions_have_twelve_digits(said):
    with pytest.raises(MillstreamError) as raised:
        _session(said)
    assert raised.value.message == "Session ID must be 12-digit format"


def test_a_session_made_here_has_the_form_asked_for():
    created = datetime(2026, 11, 20, 8, 5, 9, 900_000, tzinfo=UTC).timestamp()
    front: Any = None
    made = PhotoRequest(front).session(created)
    assert made == "261120080509"
    assert _session(made) == made
    assert PhotoRequest(front, session_id="010203040506").session(created) == "010203040506"


def test_phones_are_known_by_their_agents():
    phones = ["Expo/1 CFNetwork iPhone", "Mozilla/5.0 (Linux; Android 14)", "webOS/1", "Opera Mini"]
    assert all(PHONE.search(agent) for agent in phones)
    assert not PHONE.search("Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0")

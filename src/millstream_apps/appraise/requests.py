"""A request's photos -> uploads and a session. JSON with base64 or data URLs, or a form with files.

Clients of several generations name the same photo differently; each name is understood on every
route. Knows no run.
"""

import asyncio
import binascii
import re
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from fastapi import Request
from msgspec import Struct

from millstream import Limits, Service, TooLarge, Upload
from millstream_apps.appraise.errors import BadRequest
from millstream_apps.appraise.recognition.models import VIEWS, View
from millstream_apps.appraise.settings import settings

NAMES: Final[Mapping[str, View]] = {
    f"{view}{ending}": view
    for view in VIEWS
    for ending in ("ImageData", "Image", "ImageBase64", "_image", "_image_data", "Photo")
}
"""Every name that a photo goes by; the first is the contract's."""

UNKNOWN_PHOTO: Final = "no such photo; send front_image, back_image, angled_image"
MISSING: Final = "Missing required fields: sessionId and frontImageData"
WRONG_SESSION: Final = "Session ID must be 12-digit format"
PHONE: Final = re.compile(
    r"Mobile|Android|iPhone|iPad|iPod|BlackBerry|IEMobile|Opera Mini|webOS", re.IGNORECASE
)
DATA_URL: Final = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)?(?:;[\w.=+-]+)*;base64,", re.ASCII)


class MissingPhoto(BadRequest):
    """No front photo."""


class Sent(Struct, frozen=True):
    """What a request brought. `session` None: left to us (`PhotoRequest.session`)."""

    session: str | None
    photos: dict[View, Upload]


def is_phone(request: Request) -> bool:
    """Whether the client is a phone, and gets packets; others ask for them by `Accept`."""
    if "application/x-ndjson" in request.headers.get("accept", ""):
        return True
    return PHONE.search(request.headers.get("user-agent", "")) is not None


async def read(request: Request, service: Service) -> Sent:
    """The request's photos, in the blob store, and its session. Raises BadRequest, TooLarge."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _form(request, service)
    body = await service.read_json(request, limit=settings().max_body_bytes)
    fields, photos = await asyncio.to_thread(_json, body)
    session = _session(fields.get("sessionId"))
    if "front" not in photos:
        raise MissingPhoto(MISSING)
    kept: dict[View, Upload] = {}
    try:
        for view, (data, content_type) in photos.items():
            kept[view] = await service.keep_file(data, filename=view, content_type=content_type)
    except BaseException:
        await service.discard_files(list(kept.values()))
        raise
    return Sent(session, kept)


def _session(said: object) -> str | None:
    """The client's session id. Raises BadRequest where it has another form."""
    if said is None or said == "":
        return None
    if not isinstance(said, str) or re.fullmatch(r"[0-9]{12}", said) is None:
        raise BadRequest(WRONG_SESSION)
    return said


# --- JSON ----------------------------------------------------------------------------------------


def _json(body: bytes) -> tuple[dict[str, Any], dict[View, tuple[bytes, str]]]:
    """A body's fields, and its photos decoded with their types."""
    try:
        fields = msgspec.json.decode(body or b"{}")
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise BadRequest('the body must be an object: send {"sessionId": …, "frontImageData": …}')
    photos: dict[View, tuple[bytes, str]] = {}
    for name, view in NAMES.items():
        said = fields.pop(name, None)
        if said is None or said == "" or view in photos:
            continue
        photos[view] = decoded(name, said)
    return fields, photos


def decoded(name: str, said: object) -> tuple[bytes, str]:
    """A photo in base64, alone or as a data URL: its bytes and its type. Raises BadRequest."""
    if not isinstance(said, str):
        raise BadRequest(f"{name}: send the photo as base64 text, or as a data URL")
    start = said.lstrip()[:100]
    found = DATA_URL.match(start)
    if start.startswith("data:") and found is None:
        raise BadRequest(f"{name}: a data URL must be base64: data:image/jpeg;base64,…")
    text = said.lstrip()[found.end() :] if found else said
    try:
        compact = "".join(text.split())
        data = b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest(f"{name}: is not base64 image data ({error})") from error
    if not data:
        raise BadRequest(f"{name}: the photo is empty")
    if len(data) > settings().max_file_bytes:
        raise TooLarge(
            f"{name}: the photo exceeds {settings().max_file_size_mb} MB; send a smaller one"
        )
    return data, (found["type"] if found else None) or "application/octet-stream"


# --- forms ---------------------------------------------------------------------------------------


async def _form(request: Request, service: Service) -> Sent:
    limits = Limits(
        body_bytes=settings().max_body_bytes,
        file_bytes=settings().max_file_bytes,
        files=len(VIEWS),
        field_bytes=settings().max_file_bytes * 4 // 3 + 1024,
    )
    form = await service.read_form(request, limits=limits)
    photos: dict[View, Upload] = {}
    try:
        session = _session(dict(form.fields).get("sessionId"))
        for name, upload in form.files:
            if name not in NAMES:
                raise BadRequest(f"{name}: {UNKNOWN_PHOTO}")
            if NAMES[name] in photos:
                raise BadRequest(f"{name}: is given more than once")
            if upload.size:
                photos[NAMES[name]] = upload
        if "front" not in photos:
            raise MissingPhoto(MISSING)
    except BaseException:
        await service.discard(form)
        raise
    return Sent(session, photos)

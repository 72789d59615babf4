"""The reference catalogue over HTTP: list, get, add, import, sales, remove, photos."""

import asyncio
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from fastapi import APIRouter, Query, Request, Response

from millstream import Limits, NotFound, Service, Upload
from millstream_apps.appraise.catalogue import (
    Catalogue,
    CatalogueError,
    Imported,
    Reference,
    Sale,
    UnknownReference,
)
from millstream_apps.appraise.engine import open_catalogue
from millstream_apps.appraise.errors import CORS, AppraiseRoute, BadRequest, Reply
from millstream_apps.appraise.recognition import PhotoError
from millstream_apps.appraise.recognition.models import View
from millstream_apps.appraise.requests import NAMES, UNKNOWN_PHOTO
from millstream_apps.appraise.settings import settings

T = TypeVar("T")
MOST_PHOTOS = 1000
"""Photos in one import."""


class _About(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client says of a new reference."""

    name: str
    id: str = ""
    characters: tuple[str, ...] = ()
    series: str = ""
    edition: str = ""
    notes: str = ""
    sales: tuple[Sale, ...] = ()


def catalogue_routes(service: Callable[[], Service]) -> APIRouter:
    """All under `/api/catalogue`."""
    api = APIRouter(prefix="/api/catalogue", route_class=AppraiseRoute)
    _reading(api)
    _writing(api, service)
    return api


def _reading(api: APIRouter) -> None:
    @api.get("", summary="Reference pins, by number")
    async def references(
        query: str = "", after: str = "", limit: int = Query(100, ge=1, le=1000)
    ) -> Response:
        found, total = await _with(
            lambda catalogue: (catalogue.list(query, after=after, limit=limit), catalogue.count())
        )
        pins = [_plain(each) for each in found]
        return Reply({"success": True, "count": len(pins), "total": total, "references": pins})

    @api.get("/{id}", summary="One reference pin")
    async def reference(id: str) -> Response:
        return _one(await _with(lambda catalogue: catalogue.get(id)))

    @api.get("/{id}/photos/{view}", summary="Its photo, small (WebP)")
    async def photo(id: str, view: View) -> Response:
        found = await _with(lambda catalogue: catalogue.thumbnail(id, view))
        return Response(found, headers={**CORS, **PHOTO_HEADERS}, media_type="image/webp")


PHOTO_HEADERS = {"Cache-Control": "private, max-age=3600", "X-Content-Type-Options": "nosniff"}


def _writing(api: APIRouter, service: Callable[[], Service]) -> None:
    @api.post("", summary="Add a reference pin: a form with front_image and its fields")
    async def add(request: Request, replace: bool = False) -> Response:
        form = await _form(request, service(), most=3)
        try:
            reference = _reference(form.fields)
            photos: list[tuple[View, Upload]] = [
                (_view(name), upload) for name, upload in form.files
            ]
            made = await _with(
                lambda catalogue: catalogue.add(
                    reference, [(view, upload.read()) for view, upload in photos], replace=replace
                )
            )
        finally:
            await service().discard(form)
        return _one(made, 201)

    @api.post("/import", summary="Add many: a form with a CSV or JSON `file` and its `photos`")
    async def import_list(request: Request, replace: bool = False) -> Response:
        form = await _form(request, service(), most=MOST_PHOTOS + 1)
        try:
            files = [upload for name, upload in form.files if name == "file"]
            if len(files) != 1:
                raise BadRequest("file: send one CSV or JSON list of pins")
            photos = [upload for name, upload in form.files if name != "file"]
            done = await _with(lambda catalogue: _import(catalogue, files[0], photos, replace))
        finally:
            await service().discard(form)
        return Reply({"success": not done.problems, **_plain(done)}, 200)

    @api.post("/{id}/sales", summary="Add sales: a JSON list")
    async def sales(id: str, request: Request) -> Response:
        body = await service().read_json(request)
        found = _decoded(body, tuple[Sale, ...], "sales")
        await _with(lambda catalogue: catalogue.add_sales(id, found))
        return _one(await _with(lambda catalogue: catalogue.get(id)))

    @api.delete("/{id}", summary="Remove a reference pin")
    async def remove(id: str) -> Response:
        await _with(lambda catalogue: catalogue.remove(id))
        return Reply({"success": True, "removed": id})


# --- requests ------------------------------------------------------------------------------------


async def _with(work: Callable[[Catalogue], T]) -> T:
    """Work on the catalogue, in a thread; what it refuses, in this system's words."""

    def at_work() -> T:
        return work(open_catalogue(settings().database()))

    try:
        return await asyncio.to_thread(at_work)
    except UnknownReference as error:
        raise NotFound(str(error)) from error
    except PhotoError as error:
        raise BadRequest(f"{error.field}_image: {error}") from error
    except CatalogueError as error:
        raise BadRequest(str(error)) from error


async def _form(request: Request, service: Service, *, most: int) -> Any:
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise BadRequest("send the pin as multipart/form-data, its photo as front_image")
    limits = Limits(
        body_bytes=settings().max_body_bytes, file_bytes=settings().max_file_bytes, files=most
    )
    return await service.read_form(request, limits=limits)


def _view(name: str) -> View:
    if name not in NAMES:
        raise BadRequest(f"{name}: {UNKNOWN_PHOTO}")
    return NAMES[name]


def _reference(fields: Sequence[tuple[str, str]]) -> Reference:
    """A form's text fields as a reference. `characters` by commas, `sales` as a JSON list."""
    said: dict[str, Any] = dict(fields)
    if "characters" in said:
        said["characters"] = [c.strip() for c in said["characters"].split(",") if c.strip()]
    if "sales" in said:
        said["sales"] = _decoded(said["sales"].encode(), list[Any], "sales")
    try:
        about = msgspec.convert(said, _About)
    except msgspec.ValidationError as error:
        raise BadRequest(str(error)) from error
    return Reference(**msgspec.structs.asdict(about), photos=())


def _decoded(body: bytes, kind: Any, field: str) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest(
            f'{field}: {error}; send [{{"price": "12.50", "currency": "USD", '
            '"date": "2026-03-01", "source": "auction"}]'
        ) from error


def _import(
    catalogue: Catalogue, file: Upload, photos: Sequence[Upload], replace: bool
) -> Imported:
    """Lay the files out as the list names them, and import that. Blocks."""
    with tempfile.TemporaryDirectory(prefix="millstream-import-") as folder:
        listed = Path(folder, f"list{_ending(file.filename)}")
        listed.write_bytes(file.read())
        pictures = Path(folder, "photos")
        pictures.mkdir()
        for photo in photos:
            name = re.sub(r"[/\\\x00]", "_", photo.filename).lstrip(".") or "photo"
            pictures.joinpath(name).write_bytes(photo.read())
        return catalogue.import_file(listed, pictures, replace=replace)


def _ending(filename: str) -> str:
    ending = Path(filename).suffix.lower()
    if ending not in (".csv", ".json"):
        raise BadRequest("file: its name must end with .csv or .json")
    return ending


# --- answers -------------------------------------------------------------------------------------


def _one(reference: Reference, status: int = 200) -> Response:
    return Reply({"success": True, "reference": _plain(reference)}, status)


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value)

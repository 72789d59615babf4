"""Uploads through real memory, real disks, a real server and real clients."""

import asyncio
import contextlib
import hashlib
import io
import itertools
import random
import shutil
import socket
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse
from upload_bodies import (
    FORM_TYPE,
    LIMITS,
    body,
    field,
    file,
    part,
)

from millstream.blob_stores.disk import DiskBlobs
from millstream.errors import (
    RequestError,
)
from millstream.server.filenames import clean_filename
from millstream.server.uploads import Limits, read_multipart


@contextlib.asynccontextmanager
async def disk(root: Path) -> AsyncIterator[DiskBlobs]:
    counter = itertools.count()
    store = DiskBlobs(root, new_id=lambda: f"upload-{next(counter):03}", now=lambda: 0.0)
    await store.open()
    try:
        yield store
    finally:
        await store.sweep(keep=(), before=float("inf"))
        await store.close()


async def test_200_mb_pass_through_a_few_mb_of_memory(tmp_path: Path) -> None:
    block = random.Random(7).randbytes(64_000)

    async def large() -> AsyncIterator[bytes]:
        yield part('form-data; name="f"; filename="large.bin"')[:-2]
        for _ in range(3125):
            yield block
        yield b"\r\n" + body(field("last", "1"))

    limits = Limits(body_bytes=1 << 28, file_bytes=200_000_000)
    async with disk(tmp_path) as store:
        tracemalloc.start()
        try:
            form = await read_multipart(FORM_TYPE, large(), store, limits)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        upload = form.files[0][1]
        assert (upload.size, upload.path.stat().st_size) == (200_000_000, 200_000_000)
        assert form.fields == (("last", "1"),)
    assert peak < 4_000_000


async def test_a_cancelled_upload_leaves_no_file_on_the_disk(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def stalled() -> AsyncIterator[bytes]:
        yield file("f", "whole.bin", b"x" * 600_000)
        yield part('form-data; name="f"; filename="half.bin"')[:-2] + b"y" * 600_000
        begun.set()
        await asyncio.Event().wait()

    async with disk(tmp_path) as store:
        reading = asyncio.create_task(read_multipart(FORM_TYPE, stalled(), store, LIMITS))
        await begun.wait()
        assert store.statistics().kept == 1
        assert store.statistics().writing == 1
        reading.cancel()
        await asyncio.wait([reading])
        assert reading.cancelled()
        assert names_of_files(tmp_path) == ["lock"]
        assert store.statistics().writing == 0


def names_of_files(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file())


@contextlib.asynccontextmanager
async def serving(store: DiskBlobs) -> AsyncIterator[str]:
    """A real server that answers with the form it read."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        try:
            form = await read_multipart(
                request.headers["content-type"],
                request.stream(),
                store,
                LIMITS,
                content_length=int(request.headers.get("content-length", "0")),
            )
            answer = JSONResponse(
                {
                    "fields": form.fields,
                    "files": [(name, it.filename, it.sha256) for name, it in form.files],
                }
            )
        except RequestError as error:
            answer = JSONResponse({"message": error.message}, error.status)
        await answer(scope, receive, send)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(app, lifespan="off", ws="none", log_level="warning")
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            server.should_exit = True
            await task


async def test_a_browsers_form_through_uvicorn(tmp_path: Path) -> None:
    picture = random.Random(1).randbytes(300_000)
    sent = body(
        field("owner", "玩家"),
        file("files", "deck %22one%22.png", picture),
        file("files", "", b"", "application/octet-stream"),
    )
    async with disk(tmp_path) as store, serving(store) as url, httpx.AsyncClient() as client:
        answer = await client.post(url, content=sent, headers={"Content-Type": FORM_TYPE})
        large = body(file("f", "x", b"x" * (LIMITS.file_bytes + 1)))
        too_large = await client.post(url, content=large, headers={"Content-Type": FORM_TYPE})
        assert names_of_files(tmp_path) == ["lock", "upload-000"]
    assert answer.json() == {
        "fields": [["owner", "玩家"]],
        "files": [["files", 'deck "one".png', hashlib.sha256(picture).hexdigest()]],
    }
    assert too_large.status_code == 413
    assert too_large.json() == {
        "message": 'f[0] "x": exceeds the limit of 10 MB a file; send a smaller one'
    }


async def test_httpx_forms_through_uvicorn(tmp_path: Path) -> None:
    names = ['a "b" \\ c.png', "套牌.png", "100%.png"]
    async with disk(tmp_path) as store, serving(store) as url, httpx.AsyncClient() as client:
        answer = await client.post(
            url,
            data={"k": ["1", "2"]},
            files=[("files", (name, io.BytesIO(name.encode()), "image/png")) for name in names],
        )
    assert answer.json() == {
        "fields": [["k", "1"], ["k", "2"]],
        "files": [
            ["files", clean_filename(name), hashlib.sha256(name.encode()).hexdigest()]
            for name in names
        ],
    }


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_a_curl_form_through_uvicorn(tmp_path: Path) -> None:
    picture = tmp_path / "picture"
    picture.write_bytes(random.Random(2).randbytes(200_000))
    async with disk(tmp_path / "blobs") as store, serving(store) as url:
        parts = ["-F", "note=hello", "-F", f'f=@{picture};filename="a \\"q\\" 套.png"']
        curl = await asyncio.create_subprocess_exec(
            "curl", "-s", *parts, url, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await curl.communicate()
    assert httpx.Response(200, content=out).json() == {
        "fields": [["note", "hello"]],
        "files": [["f", 'a "q" 套.png', hashlib.sha256(picture.read_bytes()).hexdigest()]],
    }

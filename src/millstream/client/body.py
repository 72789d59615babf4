"""Request bodies: JSON, or a multipart form whose files are read while they are sent.

A body is made anew for each try, so that a POST whose answer was lost can be repeated. Touches the
files it is given and nothing else; imports `errors` and `events` of ours.
"""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from mimetypes import guess_type
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard, cast

from msgspec import Struct

from millstream.errors import InputError
from millstream.events import encode

Content = bytes | os.PathLike[str]
File = str | os.PathLike[str] | tuple[str, Content] | tuple[str, Content, str]
"""A path, or (name, bytes or path), or that with a content type."""

Files = Sequence[File] | Mapping[str, File | Sequence[File]]
"""Files for the pipeline's one file field, or by the field's name."""

CHUNK = 256 * 1024


class Part(Struct, frozen=True):
    """One file of a form."""

    field: str
    name: str
    content: bytes | Path
    type: str

    @property
    def size(self) -> int:
        """Bytes. Raises OSError where the file cannot be looked at."""
        return len(self.content) if isinstance(self.content, bytes) else self._on_disk()

    def _on_disk(self) -> int:
        path = cast(Path, self.content)
        if path.is_dir():
            raise IsADirectoryError(21, "Is a directory", str(path))
        return path.stat().st_size


class Body(Struct, frozen=True):
    """One request's body: its headers, and its bytes or a fresh stream of them."""

    headers: dict[str, str]
    content: bytes | AsyncIterator[bytes]


Make = Callable[[], Body]


def compose(
    files: Sequence[Part], fields: Mapping[str, Any] | None, document: Mapping[str, Any] | None
) -> Make:
    """How to make the body of one request, as often as it is sent. With files or fields it is a
    form, in which the document's members stand beside the fields; else it is the document."""
    if not files and not fields:
        json = encode(document if document is not None else {})
        return lambda: Body({"Content-Type": "application/json"}, json)
    texts = list(_texts({**(document or {}), **(fields or {})}))
    return lambda: _form(texts, files)


def _texts(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Form fields: a list is repeated, None is left out, what is no text is JSON."""
    for name, value in fields.items():
        for each in value if isinstance(value, list | tuple) else [value]:
            if each is not None:
                yield name, each if isinstance(each, str) else encode(each).decode()


# --- files ---------------------------------------------------------------------------------------


def parts(files: Files | None, field: str | None) -> list[Part]:
    """What a caller gave as files, field by field; `field` is the one for a plain list."""
    if not files:
        return []
    if isinstance(files, Mapping):
        return [_part(name, file) for name, given in files.items() for file in _listed(given)]
    if field is None:
        raise InputError("files: say which field they are for: files={'field': [...]}")
    return [_part(field, file) for file in _listed(files)]


def _listed(given: File | Sequence[File]) -> Iterable[File]:
    return [given] if _is_file(given) else cast(Sequence[File], given)


def _is_file(given: File | Sequence[File]) -> TypeGuard[File]:
    """One file, not several: a path, or a tuple that begins as (name, bytes or path)."""
    if isinstance(given, tuple):
        return len(given) > 1 and isinstance(given[1], bytes | os.PathLike)
    return isinstance(given, str | os.PathLike)


def _part(field: str, file: File) -> Part:
    if not isinstance(file, tuple):
        path = Path(file)
        return Part(field, path.name, path, _type(path.name))
    name, content, *said = file
    kept = content if isinstance(content, bytes) else Path(content)
    return Part(field, name, kept, said[0] if said else _type(name))


def _type(name: str) -> str:
    return guess_type(name)[0] or "application/octet-stream"


def only_file_field(pipeline: Mapping[str, Any]) -> str:
    """The one file field of a pipeline's description. Raises InputError, naming what there is."""
    names = [field["name"] for field in pipeline.get("fields", ()) if field["file"]]
    if len(names) == 1:
        return names[0]
    name = pipeline.get("name")
    if not names:
        raise InputError(f"files: pipeline {name!r} takes no files")
    raise InputError(
        f"files: pipeline {name!r} has several fields for files ({', '.join(names)}); "
        f"say which: files={{{names[0]!r}: [...]}}"
    )


# --- multipart/form-data (RFC 7578) --------------------------------------------------------------


def _form(texts: Sequence[tuple[str, str]], files: Sequence[Part]) -> Body:
    boundary = uuid.uuid4().hex
    sections: list[tuple[bytes, bytes | Path, int]] = []
    for name, text in texts:
        content = text.encode()
        sections.append((_head(boundary, name), content, len(content)))
    for part in files:
        head = _head(boundary, part.field, part.name, part.type)
        sections.append((head, part.content, part.size))
    end = f"--{boundary}--\r\n".encode()
    length = sum(len(head) + size + 2 for head, _, size in sections) + len(end)
    headers = {
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "Content-Length": str(length),
    }
    return Body(headers, _sent(sections, end))


def _head(boundary: str, field: str, filename: str | None = None, type: str | None = None) -> bytes:
    said = f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(field)}"'
    if filename is not None:
        said += f'; filename="{_quoted(filename)}"\r\nContent-Type: {type}'
    return f"{said}\r\n\r\n".encode("utf-8", "surrogateescape")


def _quoted(name: str) -> str:
    """As browsers do it (WHATWG HTML, "multipart/form-data encoding algorithm")."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


async def _sent(
    sections: Sequence[tuple[bytes, bytes | Path, int]], end: bytes
) -> AsyncIterator[bytes]:
    for head, content, size in sections:
        yield head
        if isinstance(content, bytes):
            yield content
        else:
            async for chunk in _read(content, size):
                yield chunk
        yield b"\r\n"
    yield end


async def _read(path: Path, size: int) -> AsyncIterator[bytes]:
    """Just as many bytes as were announced. Raises OSError where there are fewer by now."""
    file = _opened(path)
    try:
        left = size
        while left:
            chunk = await asyncio.to_thread(file.read, min(CHUNK, left))
            if not chunk:
                raise OSError(f"{path} became shorter while it was sent")
            left -= len(chunk)
            yield chunk
    finally:
        file.close()


def _opened(path: Path) -> BinaryIO:
    return path.open("rb")

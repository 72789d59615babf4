"""The headers of a multipart form and its parts (RFC 7578), read the way browsers write them."""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from msgspec import Struct

from millstream.errors import RequestError, UnsupportedMedia
from millstream.server.filenames import UNNAMED, short

UNKNOWN_TYPE: Final = "application/octet-stream"

_PARAMETER = re.compile(
    r"""[ \t]*;[ \t]*
        (?: (?P<name> [!#$%&'*+.^_`|~0-9A-Za-z-]+ ) [ \t]*=[ \t]*
            (?: "(?P<quoted> (?: [^"\\] | \\. )* )" | (?P<bare> [^;"]* ) ) [ \t]*
        )?""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPED = re.compile(r"\\([\\\"])")
_BROWSER_ESCAPED = re.compile(r"%(22|0[DdAa])")
_BOUNDARY = re.compile(r"[!-~](?:[ -~]{0,68}[!-~])?")
_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*(?:;[ -~]*)?")
_EXTENDED = re.compile(r"(?P<charset>utf-8|iso-8859-1)'[^']*'(?P<value>[!-~]*)", re.IGNORECASE)
_AS_IS = ("binary", "8bit", "7bit")


class Head(Struct, frozen=True):
    """What the headers of a part say. A part with a file name, if an empty one, is a file."""

    name: str
    filename: str | None = None
    content_type: str = UNKNOWN_TYPE


def boundary_of(content_type: str) -> bytes:
    """The boundary that a request's Content-Type names. Raises UnsupportedMedia, RequestError."""
    kind, parameters = _parameters(content_type, "Content-Type")
    if kind != "multipart/form-data":
        raise UnsupportedMedia(
            f"Content-Type {short(kind)!a} cannot be read here; send multipart/form-data"
        )
    boundary = parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise RequestError(
            "Content-Type: multipart/form-data needs a boundary of 1 to 70 ASCII characters; "
            "let the HTTP client set this header"
        )
    return boundary.encode("ascii")


def read_head(part: str, headers: dict[str, bytes]) -> Head:
    """What a part's headers (names in lower case) say. Raises RequestError; `part` is for it."""
    encoding = headers.get("content-transfer-encoding", b"binary").decode("latin-1").lower()
    if encoding not in _AS_IS:  # deprecated by RFC 7578, section 4.7
        raise RequestError(
            f"{part}: Content-Transfer-Encoding {short(encoding)!a} is not read; send bytes as is"
        )
    # Bytes that are no UTF-8 stay apart as surrogates: wrong in a name, replaced in a file name.
    said = headers.get("content-disposition", b"").decode("utf-8", "surrogateescape")
    kind, parameters = _parameters(said, f"{part}: Content-Disposition")
    if kind != "form-data" or "name" not in parameters:
        raise RequestError(f'{part}: needs the header Content-Disposition: form-data; name="…"')
    return Head(
        _field_name(parameters["name"], part),
        _filename(parameters),
        _content_type(headers.get("content-type", b"")),
    )


def _parameters(header: str, where: str) -> tuple[str, dict[str, str]]:
    """`form-data; name="a"` is ("form-data", {"name": "a"}). Names come in lower case."""
    kind = header.partition(";")[0]
    at, found = len(kind), dict[str, str]()
    while at < len(header):
        match = _PARAMETER.match(header, at)
        if match is None:
            raise RequestError(f"{where}: cannot be read from {short(header[at:])!a} on")
        if name := (match["name"] or "").lower():
            if name in found:
                raise RequestError(f"{where}: says {name} twice")
            found[name] = _parameter_value(match)
        at = match.end()
    return kind.strip().lower(), found


def _parameter_value(match: re.Match[str]) -> str:
    """Of the backslash only what must be escaped: some send Windows paths as they are."""
    quoted: str | None = match["quoted"]
    return match["bare"].strip() if quoted is None else _ESCAPED.sub(r"\1", quoted)


def _field_name(said: str, part: str) -> str:
    name = _browser_unescaped(said)
    try:
        name.encode()
    except UnicodeEncodeError:
        raise RequestError(f"{part}: its name is not UTF-8") from None
    return name


def _filename(parameters: dict[str, str]) -> str | None:
    """None where the part is a field, "" where a file has no name. `filename*` (RFC 5987), which
    RFC 7578 does not want and clients send, goes first, as in RFC 6266."""
    extended = _EXTENDED.fullmatch(parameters.get("filename*", ""))
    if extended:
        data = unquote_to_bytes(extended["value"])
        return data.decode(extended["charset"], "replace") or UNNAMED
    if "filename" in parameters:
        data = _browser_unescaped(parameters["filename"]).encode("utf-8", "surrogateescape")
        return data.decode("utf-8", "replace")
    return UNNAMED if "filename*" in parameters else None


def _browser_unescaped(value: str) -> str:
    """The three that browsers percent-encode, and no others: they leave "%" itself alone.
    https://html.spec.whatwg.org/#multipart-form-data"""
    return _BROWSER_ESCAPED.sub(lambda match: chr(int(match[1], 16)), value)


def _content_type(said: bytes) -> str:
    text = said.decode("latin-1")
    return text if len(text) <= 255 and _TYPE.fullmatch(text) else UNKNOWN_TYPE

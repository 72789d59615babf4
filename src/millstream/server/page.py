"""The built-in page: static files beside this one, and what systems add to them.

A system may bring `result-<pipeline>.js`, by which the page shows that pipeline's results; for
every other pipeline that name stands for `result.js`, which shows any JSON.
"""

from collections.abc import Mapping
from pathlib import Path

from fastapi.responses import FileResponse

from millstream.errors import NotFound

STATIC = Path(__file__).with_name("static")
RENDERER, ANY_RESULT = "result-", "result.js"

TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
"""Said here, because the machine's own table may know them otherwise, and `nosniff` is strict."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Content-Security-Policy. `blob:` are pictures that were chosen but not yet sent; the last line
takes from scripts, where browsers know it, every way to make HTML out of text."""

HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def index() -> FileResponse:
    """The page itself."""
    return _file(STATIC / "index.html")


def asset(name: str, more: Mapping[str, Path]) -> FileResponse:
    """One of its files, or of a system's. Only names that are listed are served."""
    own = {path.name: path for path in STATIC.iterdir() if path.name != "index.html"}
    path = own.get(name) or more.get(name)
    if path is None and name.startswith(RENDERER) and name.endswith(".js"):
        path = own[ANY_RESULT]
    if path is None:
        raise NotFound(f"there is no asset {name!r}")
    return _file(path)


def _file(path: Path) -> FileResponse:
    return FileResponse(path, headers=HEADERS, media_type=TYPES.get(path.suffix))

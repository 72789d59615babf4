"""`--file`, `--field` and `--input`: from words on a command line to what the client sends.

In the command line's room; touches the files that are named, and stdin for `@-`. Raises InputError.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from millstream.errors import InputError, did_you_mean


def read_files(said: Sequence[str], pipeline: Mapping[str, Any]) -> dict[str, list[Path]]:
    """Files by field. `field=path` names the field; a path alone is for the one file field."""
    found: dict[str, list[Path]] = {}
    known = [field["name"] for field in pipeline["fields"] if field["file"]]
    for each in said:
        field, path = _named(each)
        found.setdefault(_field(field, known, pipeline["name"]), []).append(path)
    return found


def _named(said: str) -> tuple[str | None, Path]:
    """A file whose own name has a `=` is found too, where no field is named."""
    field, equals, rest = said.partition("=")
    if equals and not Path(said).exists():
        return field, _existing(Path(rest))
    return None, _existing(Path(said))


def _existing(path: Path) -> Path:
    if path.is_file():
        return path
    raise InputError(f"--file: {path} is {'a folder' if path.is_dir() else 'not there'}")


def _field(said: str | None, known: Sequence[str], pipeline: str) -> str:
    if said is None and len(known) == 1:
        return known[0]
    if said is not None and said in known:
        return said
    if not known:
        raise InputError(f"--file: pipeline {pipeline!r} takes no files")
    if said is None:
        raise InputError(
            f"--file: pipeline {pipeline!r} has several fields for files; "
            f"say which, as in --file {known[0]}=PATH (fields: {', '.join(known)})"
        )
    near = did_you_mean(said, known) or f"; there are: {', '.join(known)}"
    raise InputError(f"--file: pipeline {pipeline!r} has no field {said!r} for files{near}")


def read_fields(said: Sequence[str]) -> dict[str, str | list[str]]:
    """Fields by name: one given twice is a list."""
    found: dict[str, str | list[str]] = {}
    for each in said:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise InputError(f"--field: {each!r} has no '='; write it as name=value")
        text = _text(value, f"--field {name}")
        before = found.get(name)
        if before is None:
            found[name] = text
        else:
            found[name] = [*(before if isinstance(before, list) else [before]), text]
    return found


def read_input(said: str | None) -> dict[str, Any] | None:
    """The request's JSON: an object."""
    if said is None:
        return None
    try:
        value = json.loads(_text(said, "--input"))
    except ValueError as error:
        raise InputError(f"--input: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InputError('--input: give an object, as in --input \'{"text": "hi"}\'')
    return value


def _text(said: str, option: str) -> str:
    """The text itself; of `@path` the file's, of `@-` what comes on stdin; `@@` is one `@`."""
    if not said.startswith("@"):
        return said
    if said.startswith("@@"):
        return said[1:]
    if said == "@-":
        return sys.stdin.read()
    try:
        return Path(said[1:]).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{option}: {said[1:]} cannot be read ({error.strerror}); "
            "for a text that begins with @, write @@"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{option}: {said[1:]} is no UTF-8 text; send it with --file") from error

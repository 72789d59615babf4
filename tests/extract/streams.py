"""How the documented clients read this system's streams."""

import json
from collections.abc import Iterable
from typing import Any


def lines(text: str) -> list[dict[str, Any]]:
    """NDJSON."""
    return [json.loads(line) for line in text.splitlines() if line]


def kind_by_fields(line: dict[str, Any]) -> str:
    """What the clients that know no `event` take a line for: by the fields that it has."""
    if "stream_type" in line:
        return "metadata"
    if "operation_id" in line:
        return "progress"
    if "result" in line or "search_result" in line:
        return "result"
    if "urls_found" in line:
        return "search"
    return "error" if "error" in line else "summary"


def blocks(text: str) -> list[dict[str, Any]]:
    """SSE: name, data, id and retry of each block; comments are left out."""
    found = []
    for block in text.split("\n\n"):
        fields: dict[str, Any] = {}
        for line in block.splitlines():
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value
        if "data" in fields:
            found.append({**fields, "data": json.loads(fields["data"])})
    return found


def of(kind: str, found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines of one kind."""
    return [line for line in found if line["event"] == kind]

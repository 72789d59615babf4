"""What the native routes say of themselves in OpenAPI: parameters, bodies, responses.

Pure data. Streams and negotiated responses are beyond what FastAPI reads off a function.
"""

from typing import Any

import msgspec

from millstream.core.outcome import Document
from millstream.inputs import InputCodec
from millstream.server.problems import CONTENT_TYPE, SCHEMA

Json = dict[str, Any]

DOCUMENT: Json = msgspec.json.schema_components([Document])[1]["Document"]
"""A run's document (DESIGN section 6)."""

SUMMARY: Json = {
    "type": "object",
    "description": "A run in a list: its document without what must be read from its log.",
    "properties": {
        name: DOCUMENT["properties"][name]
        for name in ("id", "pipeline", "state", "tier", "created", "started", "ended", "seq")
    },
}

PAGE: Json = {
    "type": "object",
    "required": ["runs", "next"],
    "properties": {
        "runs": {"type": "array", "items": SUMMARY},
        "next": {"type": ["string", "null"], "description": "`before` of the next page"},
    },
}

PIPELINE: Json = {
    "type": "object",
    "required": ["name", "doc", "input", "fields", "outputs", "steps"],
    "properties": {
        "name": {"type": "string"},
        "doc": {"type": "string"},
        "input": {"type": "object", "description": "JSON Schema of what a run takes"},
        "fields": {"type": "array", "items": {"type": "object"}},
        "outputs": {"type": "array", "items": {"type": "string"}},
        "steps": {"type": "array", "items": {"type": "object"}},
    },
}

PIPELINES: Json = {
    "type": "object",
    "required": ["pipelines"],
    "properties": {"pipelines": {"type": "array", "items": PIPELINE}},
}

_TEXT = {"schema": {"type": "string"}}
_LOCATION = {"Location": {"description": "The run.", "schema": {"type": "string"}}}
_PARAMETERS: dict[str, tuple[str, Json, str]] = {
    "timeout": (
        "query",
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1e9},
        "Seconds from now in which the run must have ended.",
    ),
    "unwatched": (
        "query",
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1e9},
        "Cancel the run when nobody has followed it for so many seconds.",
    ),
    "on_disconnect": (
        "query",
        {"enum": ["detach", "cancel"], "default": "detach"},
        "`detach`: the run goes on when this client leaves. `cancel`: it stops.",
    ),
    "after": (
        "query",
        {"type": "integer", "minimum": 0, "exclusiveMaximum": 10**18},
        "Resume: the position of the last event that you have.",
    ),
    "last_event_id": (
        "query",
        {"type": "integer", "minimum": 0, "exclusiveMaximum": 10**18},
        "The same, by the name that EventSource uses.",
    ),
    "Last-Event-ID": (
        "header",
        {"type": "integer", "minimum": 0, "exclusiveMaximum": 10**18},
        "The same, as EventSource sends it.",
    ),
    "reason": ("query", {"type": "string"}, "Told in the log's last event."),
    "Idempotency-Key": (
        "header",
        {"type": "string", "minLength": 1, "maxLength": 255},
        "The same key with the same input is the same run.",
    ),
    "Prefer": ("header", {"type": "string"}, "`respond-async`: 202 at once."),
}
OPTIONS = ("timeout", "unwatched", "on_disconnect", "Idempotency-Key", "Prefer")
CURSORS = ("after", "last_event_id", "Last-Event-ID")


def parameters(*names: str) -> list[Json]:
    """Parameters that a route reads from the request itself."""
    return [
        {
            "name": name,
            "in": _PARAMETERS[name][0],
            "required": False,
            "description": _PARAMETERS[name][2],
            "schema": _PARAMETERS[name][1],
        }
        for name in names
    ]


def as_json(description: str, schema: Json, **more: Any) -> Json:
    """A response of one JSON document."""
    return {"description": description, "content": {"application/json": {"schema": schema}}, **more}


def followed(description: str) -> Json:
    """A response in the form that Accept asks for."""
    content = {
        "application/json": {"schema": DOCUMENT},
        "text/event-stream": _TEXT,
        "application/x-ndjson": _TEXT,
    }
    return {"description": description, "content": content}


def problems(**descriptions: str) -> dict[int | str, Json]:
    """Problem responses by status (`_404="No such run."`), and the one for all others."""
    told = {"default": "A problem (RFC 9457); switch on its `code`.", **descriptions}
    content = {CONTENT_TYPE: {"schema": SCHEMA}}
    return {
        name if name == "default" else int(name.removeprefix("_")): {
            "description": description,
            "content": content,
        }
        for name, description in told.items()
    }


START: dict[int | str, Json] = {
    200: {**followed("Its events, or its outcome."), "headers": _LOCATION},
    202: as_json("Accepted (`Prefer: respond-async`); see Location.", DOCUMENT, headers=_LOCATION),
    204: {"description": "A known Idempotency-Key with a cursor: you have all its events."},
    **problems(
        _400="A form that cannot be read.",
        _406="Accept fits nothing here.",
        _409="The Idempotency-Key was used for other input.",
        _413="Too large.",
        _415="Neither JSON nor a form.",
        _422="The input does not fit; `errors` names the fields.",
        _503="Not now; see Retry-After.",
    ),
}


def request_body(codec: InputCodec) -> Json:
    """What a run of one pipeline is started with: JSON, or a form (which files need)."""
    schema = inlined(codec.schema())
    needed = set(schema.get("required", ()))
    content = {"multipart/form-data": {"schema": schema}}
    if not any(field.file and field.name in needed for field in codec.fields):
        content = {"application/json": {"schema": schema}, **content}
    return {"content": content, "required": bool(needed)}


def inlined(schema: Json) -> Json:
    """A schema whose `$defs` stand where they are referred to: within an OpenAPI document their
    references would point elsewhere. One that refers to itself is cut there, to "anything"."""
    definitions = schema.get("$defs", {})

    def walk(node: Any, above: tuple[str, ...]) -> Any:
        if isinstance(node, list):
            return [walk(each, above) for each in node]
        if not isinstance(node, dict):
            return node
        name = str(node.get("$ref", "")).removeprefix("#/$defs/")
        if name in above:
            return {}
        if name in definitions:
            rest = {key: value for key, value in node.items() if key != "$ref"}
            return walk({**definitions[name], **rest}, (*above, name))
        return {key: walk(value, above) for key, value in node.items() if key != "$defs"}

    return walk(schema, ())

"""A run's input: from a request's JSON or form to a document that is kept, and from that to the
value that steps read.

The document is the request's JSON: the model itself, or `{"<input's name>": value}`. A file stands
in it as a reference into the blob store. References are written only here: in a client's JSON a
file's place is refused, so that nobody can point at somebody else's upload.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, get_type_hints

import msgspec
from pydantic import BaseModel, TypeAdapter

from millstream import values
from millstream.blobs import BlobStore, Upload
from millstream.core.graph import Graph
from millstream.errors import InputError, PipelineError, did_you_mean
from millstream.events import encode

Document = dict[str, Any]
References = Sequence[Document] | None
"""The files that came with a request; None for a document that was kept: it was checked then."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a request: what a form, a command line or a page must ask for.

    `many` says that it may be repeated, `text` that its values are text whatever they look like.
    """

    name: str
    annotation: Any
    file: bool
    many: bool
    text: bool


class InputCodec:
    """Reads requests for one pipeline. Raises InputError, naming the field and the fix."""

    def __init__(self, graph: Graph, blobs: BlobStore) -> None:
        self._graph, self._blobs = graph, blobs
        self._type = graph.input_type
        self._model = values.is_model(self._type)
        self._pydantic = values.uses_pydantic(self._type)
        self.fields = self._fields()
        self._adapter = self._make_adapter()

    def _make_adapter(self) -> TypeAdapter[Any] | None:
        try:
            return TypeAdapter(self._type) if self._pydantic else None
        except Exception as error:
            raise PipelineError(
                f"pipeline {self._graph.name!r}: the input's type "
                f"{values.describe(self._type)} cannot be read from JSON ({error})"
            ) from error

    def _fields(self) -> tuple[Field, ...]:
        if self._graph.input is None:
            return ()
        if not self._model:
            return (_field(self._graph.input, self._type),)
        return tuple(_field(name, annotation) for name, annotation in _members(self._type).items())

    # --- requests ---------------------------------------------------------------------------

    def graph(self, document: bytes) -> Graph:
        """The graph of the run that has this input: the pipeline's, or the one built from it."""
        resolve = self._graph.resolve
        return self._graph if resolve is None else resolve(self.load(document))

    def from_json(self, body: bytes) -> bytes:
        """The document of a JSON body (an empty body is `{}`)."""
        try:
            document = msgspec.json.decode(body or b"{}")
        except msgspec.DecodeError as error:
            raise InputError(f"the body is not JSON: {error}") from error
        if not isinstance(document, dict):
            raise InputError(f"the body must be an object{self._example()}")
        self._check_names(document)
        self._resolvable(self._convert(document, files=(), lax=False))
        return _kept(document, files=())

    def from_form(
        self, texts: Iterable[tuple[str, str]], files: Iterable[tuple[str, Upload]]
    ) -> bytes:
        """The document of a form: repeated fields become lists, text becomes what the type asks."""
        document: Document = {}
        known = {field.name: field for field in self.fields}
        uploads = [(name, upload.reference()) for name, upload in files]
        for raw_name, value in [*texts, *uploads]:
            name = raw_name.removesuffix("[]")
            self._check_names({name: value})
            field = known.get(name)
            if field is not None and field.file and isinstance(value, str):
                raise _bad(name, "a file is expected here, not text")
            if field is not None and not field.file and isinstance(value, dict):
                raise _bad(name, "text is expected here, not a file")
            if field is None or not field.text:
                value = _parsed(value)
            _add(document, name, value, many=field is not None and field.many)
        references = [reference for _, reference in uploads]
        self._resolvable(self._convert(document, files=references, lax=True))
        return _kept(document, files=references)

    def _resolvable(self, value: Any) -> None:
        """Build the run's own graph, where it has one: an input that cannot be is refused now."""
        if self._graph.resolve is not None:
            self._graph.resolve(value)

    def _check_names(self, document: Mapping[str, Any]) -> None:
        """A name that the pipeline does not know is a mistake worth an error."""
        known = [field.name for field in self.fields]
        if self._model:
            return  # the model says itself whether it allows more
        for name in document:
            if name not in known:
                raise _bad(name, f"no such field{did_you_mean(name, known)}{self._example()}")

    def _example(self) -> str:
        shape = ", ".join(f'"{field.name}": …' for field in self.fields)
        return f"; send {{{shape}}}"

    # --- values -----------------------------------------------------------------------------

    def load(self, document: bytes) -> Any:
        """The value that steps read, from a document that was kept."""
        return self._convert(msgspec.json.decode(document), files=None, lax=True)

    def _convert(self, document: Document, *, files: References, lax: bool) -> Any:
        if self._graph.input is None:
            return None
        inner: Any = document
        if not self._model:
            if self._graph.input not in document:
                raise _bad(self._graph.input, f"is missing{self._example()}")
            inner = document[self._graph.input]
        try:
            return self._read(inner, files=files, lax=lax)
        except (msgspec.ValidationError, ValueError, TypeError) as error:
            raise self._explain(error) from error

    def _read(self, inner: Any, *, files: References, lax: bool) -> Any:
        def hook(kind: type, value: Any) -> Any:
            if kind is Upload:
                return self._upload(value, files)
            raise TypeError(f"{values.describe(kind)} cannot be read from JSON")

        if self._adapter is not None:
            return self._adapter.validate_python(
                inner, context={"upload": lambda value: self._upload(value, files)}
            )
        return msgspec.convert(inner, self._type, strict=not lax, dec_hook=hook)

    def _upload(self, value: Any, files: References) -> Upload:
        if files is not None and value not in files:
            raise ValueError("a file is expected here: send the request as multipart/form-data")
        return Upload(**value, path=self._blobs.path(value["blob"]))

    def _explain(self, error: Exception) -> InputError:
        prefix = "" if self._model else (self._graph.input or "")
        faults = values.field_errors(error)
        for fault in faults:
            inner = fault["field"]
            joint = "" if not prefix or not inner or inner.startswith("[") else "."
            fault["field"] = f"{prefix}{joint}{inner}"
        said = "; ".join(f"{f['field'] or 'body'}: {f['message']}" for f in faults)
        return InputError(said, errors=faults)

    # --- about ------------------------------------------------------------------------------

    def schema(self) -> dict[str, Any]:
        """JSON Schema of the document."""
        if self._graph.input is None:
            return {"type": "object", "properties": {}}
        inner = self._inner_schema()
        if self._model:
            return inner
        definitions = inner.pop("$defs", None)
        outer: dict[str, Any] = {
            "type": "object",
            "properties": {self._graph.input: inner},
            "required": [self._graph.input],
        }
        return outer | ({"$defs": definitions} if definitions else {})

    def _inner_schema(self) -> dict[str, Any]:
        if self._adapter is not None:
            return self._adapter.json_schema()
        (schema,), definitions = msgspec.json.schema_components(
            [self._type], schema_hook=_upload_schema, ref_template="#/$defs/{name}"
        )
        return {**schema, "$defs": definitions} if definitions else schema


def blobs_of(document: bytes) -> list[str]:
    """The blobs that a kept document refers to."""
    found: list[str] = []
    waiting: list[Any] = [msgspec.json.decode(document)]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if {"blob", "sha256", "filename"} <= value.keys() and isinstance(value["blob"], str):
                found.append(value["blob"])
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return found


def _bad(field: str, message: str) -> InputError:
    return InputError(f"{field}: {message}", errors=[{"field": field, "message": message}])


def _kept(document: Document, *, files: Sequence[Document]) -> bytes:
    """The document's bytes. Raises InputError where it refers to a file that did not come with
    the request: it would be read, and one day deleted, as the run's own."""
    encoded = encode(document)
    if b'"sha256"' in encoded:
        foreign = set(blobs_of(encoded)) - {reference["blob"] for reference in files}
        if foreign:
            raise InputError(
                "the body refers to a kept file; send the file itself as multipart/form-data"
            )
    return encoded


def _add(document: Document, name: str, value: Any, *, many: bool) -> None:
    if many:
        document.setdefault(name, []).append(value)
    elif name in document:
        raise _bad(name, "is given more than once, but takes one value")
    else:
        document[name] = value


def _parsed(value: Any) -> Any:
    """Text that is a JSON object or array, as such; any other text as it is."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return msgspec.json.decode(value)
        except msgspec.DecodeError:
            return value
    return value


def _field(name: str, annotation: Any) -> Field:
    inner = values.element(annotation)
    single = inner if inner not in (None, Any) else annotation
    members = values.union_members(single)
    return Field(
        name,
        annotation,
        file=Upload in members,
        many=inner is not None and inner is not Any,
        text=all(member in (str, type(None)) for member in members),
    )


def _members(model: Any) -> Mapping[str, Any]:
    model = values.strip(model)
    if issubclass(model, BaseModel):
        return {f.alias or name: f.annotation for name, f in model.model_fields.items()}
    hints = get_type_hints(model, include_extras=True)
    if is_dataclass(model):
        return {field.name: hints[field.name] for field in fields(model)}
    encoded: Sequence[Any] = msgspec.structs.fields(model)
    return {field.encode_name: hints[field.name] for field in encoded}


def _upload_schema(kind: type) -> dict[str, Any]:
    if kind is Upload:
        return {"type": "string", "format": "binary"}
    raise NotImplementedError(kind)

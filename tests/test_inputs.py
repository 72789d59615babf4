"""A request becomes a document, and the document the value that steps read."""

import itertools
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from pydantic import BaseModel
from pydantic import Field as Described

from millstream import Pipeline, Upload
from millstream.blob_stores.disk import DiskBlobs
from millstream.errors import InputError
from millstream.inputs import InputCodec, blobs_of


class Item(BaseModel):
    name: str
    size: int = 1


class Order(BaseModel):
    title: str
    items: list[Item] = []
    limit: int | None = None
    scan: Upload | None = None


@dataclass
class OrderData:
    title: str
    pages: list[Upload]
    limit: int | None = None


class Line(Struct):
    name: str
    size: int = 1


class OrderRecord(Struct):
    title: str
    items: list[Line] = []
    limit: int | None = None


class Renamed(Struct, rename="camel"):
    page_title: str


@pytest.fixture(scope="module")
def blobs(tmp_path_factory):
    ids = itertools.count()
    return DiskBlobs(
        tmp_path_factory.mktemp("blobs"), new_id=lambda: f"{next(ids):032}", now=lambda: 0.0
    )


@pytest.fixture(scope="module")
def codec_of(blobs):
    def make(kind: Any) -> InputCodec:
        def only(value): ...

        only.__annotations__["value"] = kind
        flow = Pipeline("mill")
        flow.step(only)
        return InputCodec(flow.build(), blobs)

    return make


async def kept(blobs: DiskBlobs, data: bytes = b"picture", name: str = "a.png") -> Upload:
    """A file as the server hands it over, once it has arrived."""
    await blobs.open()
    writer = await blobs.create()
    await writer.write(data)
    blob = await writer.commit()
    await blobs.close()
    return Upload(
        blob=blob.id,
        filename=name,
        content_type="image/png",
        size=blob.size,
        sha256=blob.sha256,
        path=blobs.path(blob.id),
    )


def refusal(call, *arguments: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        call(*arguments)
    return caught.value


def fields(error: InputError) -> list[str]:
    return [fault["field"] for fault in error.errors]


# --- JSON ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (str, "[1]"),
        (str, ""),
        (int, 3),
        (float, 3),
        (Any, {"a": [1]}),
        (list[str], ["a", "b"]),
        (list[Line], [Line("a"), Line("b", 2)]),
        (list[Item], [Item(name="a"), Item(name="b", size=2)]),
        (dict[str, int], {"a": 1}),
        (Optional[str], None),  # noqa: UP045
        (int | str, "3"),
        (str | None, "null"),
        (Annotated[str, "told"], "a"),
    ],
)
def test_a_plain_input_comes_back_as_it_went(codec_of, kind, value):
    codec = codec_of(kind)
    body = json.dumps({"value": value}, default=_builtins).encode()
    assert codec.load(codec.from_json(body)) == value


def _builtins(value: Any) -> Any:
    return (
        value.model_dump()
        if isinstance(value, BaseModel)
        else {"name": value.name} | ({"size": value.size})
    )


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Order, Order(title="a", items=[Item(name="x", size=2)], limit=3)),
        (OrderRecord, OrderRecord("a", [Line("x", 2)], 3)),
    ],
)
def test_a_model_is_the_body_itself(codec_of, kind, expected):
    codec = codec_of(kind)
    document = codec.from_json(b'{"title":"a","items":[{"name":"x","size":2}],"limit":3}')
    assert codec.load(document) == expected


def test_an_empty_body_is_an_empty_object(codec_of):
    @dataclass
    class Nothing:
        limit: int = 3

    codec = codec_of(Nothing)
    assert codec.load(codec.from_json(b"")) == Nothing()


def test_a_pipeline_without_input_takes_an_empty_object(blobs):
    flow = Pipeline("mill")

    @flow.step
    def ticks():
        yield 1

    codec = InputCodec(flow.build(), blobs)
    assert (codec.fields, codec.load(codec.from_json(b"{}"))) == ((), None)
    assert codec.schema() == {"type": "object", "properties": {}}
    assert fields(refusal(codec.from_json, b'{"a":1}')) == ["a"]


@given(st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text(), st.lists))
def test_any_json_is_a_document_or_an_input_error(codec_of_once, body):
    for codec in codec_of_once:
        with suppress(InputError):
            codec.load(codec.from_json(json.dumps(body).encode()))


@pytest.fixture(scope="module")
def codec_of_once(codec_of):
    return [codec_of(kind) for kind in (str, Order, OrderData, OrderRecord)]


def test_what_is_no_json_and_no_object(codec_of):
    codec = codec_of(str)
    assert "not JSON" in refusal(codec.from_json, b"{").message
    assert 'must be an object; send {"value": …}' in refusal(codec.from_json, b"[1]").message


def test_a_missing_field_is_named_with_an_example(codec_of):
    error = refusal(codec_of(str).from_json, b"{}")
    assert (fields(error), error.status) == (["value"], 422)
    assert 'send {"value": …}' in error.message


def test_an_unknown_field_gets_a_hint(codec_of):
    error = refusal(codec_of(str).from_json, b'{"valeu":"a"}')
    assert fields(error) == ["valeu"]
    assert "no such field; did you mean 'value'?" in error.message


@pytest.mark.parametrize(
    ("kind", "body", "field"),
    [
        (int, {"value": "3"}, "value"),
        (list[int], {"value": [1, "x"]}, "value[1]"),
        (list[Item], {"value": [{"name": "a"}, {}]}, "value[1].name"),
        (list[Line], {"value": [{"name": "a", "size": "x"}]}, "value[0].size"),
        (Order, {"title": "a", "items": [{"name": 1}]}, "items[0].name"),
        (Order, {}, "title"),
        (OrderRecord, {"title": "a", "items": [{"name": 1}]}, "items[0].name"),
    ],
)
def test_a_fault_is_told_with_its_path(codec_of, kind, body, field):
    error = refusal(codec_of(kind).from_json, json.dumps(body).encode())
    assert fields(error) == [field]
    assert error.message.startswith(f"{field}: ")


# --- forms ---------------------------------------------------------------------------------------


def form(codec: InputCodec, *texts: tuple[str, str], files: Any = ()) -> Any:
    return codec.load(codec.from_form(texts, files))


@pytest.mark.parametrize("text", ["[1]", '{"a": 1}', "null", "3", "", "a"])
@pytest.mark.parametrize("kind", [str, Annotated[str, "told"]])
def test_text_stays_text(codec_of, kind, text):
    assert form(codec_of(kind), ("value", text)) == text


@pytest.mark.parametrize(
    ("kind", "texts", "value"),
    [
        (int, ["3"], 3),
        (bool, ["true"], True),
        (float, ["1.5"], 1.5),
        (Any, ['{"a":[1]}'], {"a": [1]}),
        (dict[str, int], ['{"a":1}'], {"a": 1}),
        (Line, [], None),
        (list[str], ["[1]", "b"], ["[1]", "b"]),
        (list[str | None], ["{}"], ["{}"]),
        (list[int], ["1", "2"], [1, 2]),
        (list[Item], ['{"name":"a"}', '{"name":"b"}'], [Item(name="a"), Item(name="b")]),
        (list[Line], ['{"name":"a"}', '{"name":"b"}'], [Line("a"), Line("b")]),
        (list[list[int]], ["[1]", "[2,3]"], [[1], [2, 3]]),
        (list[Line | str], ['{"name":"a"}', "b"], [Line("a"), "b"]),
    ],
)
def test_text_becomes_what_the_type_asks(codec_of, kind, texts, value):
    if kind is Line:
        assert form(codec_of(Line), ("name", "[1]"), ("size", "2")) == Line("[1]", 2)
    else:
        assert form(codec_of(kind), *(("value", text) for text in texts)) == value


@pytest.mark.parametrize("kind", [Order, OrderRecord])
def test_a_models_fields_are_a_forms_fields(codec_of, kind):
    codec = codec_of(kind)
    order = form(
        codec, ("title", "{x}"), ("items", '{"name":"a"}'), ("items[]", '{"name":"b","size":2}')
    )
    assert (order.title, [(i.name, i.size) for i in order.items]) == ("{x}", [("a", 1), ("b", 2)])


def test_a_repeated_field_that_takes_one_value(codec_of):
    error = refusal(codec_of(str).from_form, [("value", "a"), ("value", "b")], [])
    assert fields(error) == ["value"]
    assert "more than once" in error.message


def test_an_unknown_field_of_a_form(codec_of):
    error = refusal(codec_of(str).from_form, [("vale", "a")], [])
    assert "did you mean 'value'?" in error.message


# --- files ---------------------------------------------------------------------------------------


async def test_an_upload_is_there_with_its_bytes(codec_of, blobs):
    one, two = await kept(blobs, b"one"), await kept(blobs, b"two", "b.png")
    codec = codec_of(OrderData)
    document = codec.from_form([("title", "a")], [("pages", one), ("pages", two)])
    order = codec.load(document)
    assert order == OrderData("a", [one, two])
    assert [upload.read() for upload in order.pages] == [b"one", b"two"]
    assert sorted(blobs_of(document)) == sorted([one.blob, two.blob])


@pytest.mark.parametrize("kind", [Upload, Upload | None])
async def test_an_upload_alone(codec_of, blobs, kind):
    upload = await kept(blobs)
    codec = codec_of(kind)
    assert form(codec, files=[("value", upload)]) == upload
    assert [(f.file, f.many) for f in codec.fields] == [(True, False)]


async def test_a_pydantic_model_holds_files(codec_of, blobs):
    upload = await kept(blobs)
    order = form(codec_of(Order), ("title", "a"), files=[("scan", upload)])
    assert order.scan == upload


async def test_text_for_a_file_and_a_file_for_text(codec_of, blobs):
    said = refusal(codec_of(Upload).from_form, [("value", "a.png")], [])
    assert said.message == "value: a file is expected here, not text"
    said = refusal(codec_of(str).from_form, [], [("value", await kept(blobs))])
    assert said.message == "value: text is expected here, not a file"


class Nested(Struct):
    inner: OrderData


@pytest.mark.parametrize(
    ("kind", "wrap"),
    [
        (Upload, lambda ref: {"value": ref}),
        (list[Upload], lambda ref: {"value": [ref]}),
        (Order, lambda ref: {"title": "a", "scan": ref}),
        (OrderData, lambda ref: {"title": "a", "pages": [ref]}),
        (Any, lambda ref: {"value": {"deep": [ref]}}),
        (dict[str, Any], lambda ref: {"value": {"deep": ref}}),
    ],
)
async def test_a_forged_reference_in_json_is_refused(codec_of, blobs, kind, wrap):
    mine = await kept(blobs)
    body = json.dumps(wrap(mine.reference())).replace("sha256", "sh\\u0061256").encode()
    assert "multipart/form-data" in refusal(codec_of(kind).from_json, body).message


@pytest.mark.parametrize("kind", [Nested, dict[str, Any], Any])
async def test_a_forged_reference_in_a_forms_text_is_refused(codec_of, blobs, kind):
    reference = (await kept(blobs)).reference()
    inner = json.dumps({"title": "a", "pages": [reference]})
    name = "inner" if kind is Nested else "value"
    error = refusal(codec_of(kind).from_form, [(name, inner)], [])
    assert "multipart/form-data" in error.message


async def test_half_a_reference_is_a_fault_not_a_crash(codec_of):
    inner = json.dumps({"title": "a", "pages": [{"x": 1}]})
    error = refusal(codec_of(Nested).from_form, [("inner", inner)], [])
    assert fields(error) == ["inner.pages[0]"]


def test_what_merely_looks_like_a_reference_is_no_blob():
    assert blobs_of(b'{"blob":[1],"sha256":"","filename":""}') == []


# --- about ---------------------------------------------------------------------------------------


def test_fields_say_what_a_form_must_ask_for(codec_of):
    told = [(f.name, f.file, f.many, f.text) for f in codec_of(Order).fields]
    assert told == [
        ("title", False, False, True),
        ("items", False, True, False),
        ("limit", False, False, False),
        ("scan", True, False, False),
    ]
    assert [f.name for f in codec_of(Renamed).fields] == ["pageTitle"]


def test_the_schema_of_a_plain_input(codec_of):
    assert codec_of(list[int]).schema() == {
        "type": "object",
        "properties": {"value": {"type": "array", "items": {"type": "integer"}}},
        "required": ["value"],
    }


def test_the_schema_of_a_models_elements_can_be_followed(codec_of):
    for kind in (list[Line], list[Item]):
        schema = codec_of(kind).schema()
        reference = schema["properties"]["value"]["items"]["$ref"]
        assert schema["$defs"][reference.removeprefix("#/$defs/")]["required"] == ["name"]


@pytest.mark.parametrize(("kind", "field"), [(Order, "scan"), (OrderData, "pages")])
def test_a_file_is_binary_in_the_schema(codec_of, kind, field):
    assert '"format": "binary"' in json.dumps(codec_of(kind).schema())
    whole = codec_of(kind).schema()
    properties = whole.get("properties") or whole["$defs"][kind.__name__]["properties"]
    assert "binary" in json.dumps(properties[field])


def test_a_described_field_keeps_its_description(codec_of):
    class Told(BaseModel):
        title: str = Described(description="what it is called")

    assert codec_of(Told).schema()["properties"]["title"]["description"] == "what it is called"

"""Types and values: what fits where, what has elements, what comes back from JSON."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Optional, Protocol, TypedDict, TypeVar, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from pydantic import BaseModel

from millstream import Each, values
from millstream.events import encode

T = TypeVar("T")


class Animal: ...


class Dog(Animal): ...


class Model(BaseModel):
    name: str
    parts: list["Model"] = []


@dataclass
class Data:
    name: str
    model: Model | None = None


class Record(Struct):
    name: str


class Typed(TypedDict):
    name: str


class Named(Protocol):
    name: str


plain = st.sampled_from([int, str, float, bool, bytes, Animal, Dog, Model, Data, None, Any])
types = st.recursive(
    plain,
    lambda inner: (
        st.builds(lambda t: list[t], inner)
        | st.builds(lambda t: dict[str, t], inner)
        | st.builds(lambda t: Optional[t], inner)  # noqa: UP045
        | st.builds(lambda a, b: Union[a, b], inner, inner)  # noqa: UP007
        | st.builds(lambda t: Annotated[t, "told"], inner)
    ),
    max_leaves=5,
)


@given(types)
def test_a_type_fits_itself_a_union_with_it_and_any(kind):
    assert values.fits(kind, kind)
    assert values.fits(kind, Any)
    assert values.fits(Any, kind)
    assert values.fits(kind, object)
    assert values.fits(kind, Union[kind, bytearray])  # noqa: UP007
    assert values.fits(kind, Annotated[kind, "told"])
    assert values.fits(list[kind], list[kind])


@given(types, types)
def test_what_fits_fits_in_a_list_and_what_does_not_does_not(one, other):
    assert values.fits(list[one], list[other]) == values.fits(one, other)
    assert values.fits(dict[str, one], Mapping[str, other]) == values.fits(one, other)


@given(types, types, types)
def test_a_union_fits_where_all_its_members_do(one, other, target):
    both = values.fits(one, target) and values.fits(other, target)
    assert values.fits(Union[one, other], target) == both  # noqa: UP007


@pytest.mark.parametrize(
    ("source", "target", "fits"),
    [
        (int, float, True),
        (float, int, False),
        (bool, int, True),
        (int, complex, True),
        (str, int, False),
        (Dog, Animal, True),
        (Animal, Dog, False),
        (Dog, Named, True),
        (str, None, False),
        (None, str, False),
        (None, str | None, True),
        (str | None, str, False),
        (list[Dog], Sequence[Animal], True),
        (list[int], list, True),
        (list, list[int], True),
        (tuple[int, str], tuple[int, ...], True),
        (int, T, True),
        (T, int, True),
        (Typed, dict, True),
        (Literal["a"], str, True),
    ],
)
def test_what_fits(source, target, fits):
    assert values.fits(source, target) is fits


@pytest.mark.parametrize(
    ("kind", "element"),
    [
        (list[int], int),
        (tuple[int, ...], int),
        (tuple[int, str], None),
        (set[str], str),
        (Iterable[Dog], Dog),
        (Sequence[int] | None, int),
        (list[int] | list[str], Any),
        (list, Any),
        (Any, Any),
        (str, None),
        (dict[str, int], None),
        (Model, None),
        (Annotated[list[int], "told"], int),
    ],
)
def test_elements(kind, element):
    assert values.element(kind) == element


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (int, "int"),
        (None, "None"),
        (Any, "Any"),
        (Model, "Model"),
        (list[int | None], "list[int | None]"),
        (Optional[str], "str | None"),  # noqa: UP045
        (dict[str, list[Dog]], "dict[str, list[Dog]]"),
        (tuple[int, ...], "tuple[int, ...]"),
        (Annotated[str, "told"], "str"),
        (Each[Model], "Model"),
        (Sequence[int], "Sequence[int]"),
    ],
)
def test_a_type_as_a_person_would_write_it(kind, said):
    assert values.describe(type(None) if kind is None else kind) == said


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Any, {"a": [1, None]}),
        (Model, Model(name="a", parts=[Model(name="b")])),
        (list[Model | None], [None, Model(name="a")]),
        (Data, Data("a", Model(name="b"))),
        (dict[str, Data], {"x": Data("a")}),
        (Record, Record("a")),
        (Typed, {"name": "a"}),
        (tuple[int, str], (1, "a")),
        (set[int], {1, 2}),
        (bytes, b"\x00\xff"),
        (int | str, "3"),
        (None, None),
    ],
)
def test_a_value_comes_back_from_json(kind, value):
    assert values.decoder(kind)(encode(value)) == value


@pytest.mark.parametrize("kind", [Animal, list[Animal], dict[str, Animal], Named, Animal | None])
def test_what_cannot_be_read_back_is_said_before_anything_runs(kind):
    with pytest.raises(TypeError, match="cannot be read back from JSON"):
        values.decoder(kind)


class Outer(Struct):
    files: list[Record]


class OuterModel(BaseModel):
    files: list[Model]


@pytest.mark.parametrize(
    ("kind", "body", "field"),
    [
        (Outer, b'{"files":[{"name":"a"},{"name":1}]}', "files[1].name"),
        (OuterModel, b'{"files":[{"name":"a"},{"name":1}]}', "files[1].name"),
        (list[int], b'[1,"x"]', "[1]"),
        (list[Model], b"[{}]", "[0].name"),
        (int, b'"x"', ""),
    ],
)
def test_a_fault_by_its_path(kind, body, field):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - of msgspec or pydantic
        values.decoder(kind)(body)
    (fault,) = values.field_errors(caught.value)
    assert fault["field"] == field
    assert fault["message"]
    assert " - at " not in fault["message"]


def test_several_faults_of_a_pydantic_model():
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - pydantic's
        values.decoder(OuterModel)(b'{"files":[{},{"name":1}]}')
    told = values.field_errors(caught.value)
    assert [fault["field"] for fault in told] == ["files[0].name", "files[1].name"]


@pytest.mark.parametrize(
    ("kind", "model"),
    [(Model, True), (Data, True), (Record, True), (Annotated[Record, ""], True)]
    + [(kind, False) for kind in (str, Any, list[Model], Typed, Model | None)],
)
def test_what_is_a_model(kind, model):
    assert values.is_model(kind) is model

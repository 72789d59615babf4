"""Which steps may be cached, and what a result is known by."""

import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial, wraps

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from millstream import cached
from millstream.annotations import Each, Stream
from millstream.errors import PipelineError, PolicyError
from millstream.pipeline import Pipeline
from millstream.policy import Cache

ANY = Cache(version="1")


def one(function, cache=ANY, **more):
    """A pipeline of one cached step; the step."""
    pipeline = Pipeline("p")
    pipeline.step(cache=cache, name="s", **more)(function)
    return pipeline.build().steps["s"]


def key(step, **arguments):
    return cached.key_of(step, "v", arguments)


# --- what may not be ------------------------------------------------------------------------------


def test_an_internal_step_is_refused():
    with pytest.raises(PipelineError, match=r"'s' is internal.*drop cache="):
        one(lambda x: x, internal=True)


def test_a_live_pipeline_is_refused():
    pipeline = Pipeline("p", live=True)
    with pytest.raises(PipelineError, match="drop it, or live=True"):
        pipeline.step(cache=ANY, name="s")(lambda x: x)


def test_a_stream_is_refused():
    pipeline = Pipeline("p")

    @pipeline.step
    async def word(text: str) -> AsyncIterator[str]:
        yield text

    @pipeline.step(cache=ANY)
    async def count(word: Stream[str]) -> int:
        return 0

    with pytest.raises(PipelineError, match=r"'word' is a Stream.*list"):
        pipeline.build()


def test_what_comes_from_an_internal_step_needs_a_key():
    def build(cache):
        pipeline = Pipeline("p")

        @pipeline.step(internal=True)
        async def picture(url: str) -> object:
            return object()

        @pipeline.step(cache=cache)
        async def size(picture: object, url: str) -> int:
            return 0

        return pipeline.build().steps["size"]

    with pytest.raises(PipelineError, match=r"internal step 'picture'.*key="):
        build(ANY)
    step = build(Cache(key=lambda url: url))
    assert key(step, picture=object(), url="a") == key(step, picture=object(), url="a")
    assert key(step, picture=None, url="a") != key(step, picture=None, url="b")


def test_a_key_names_parameters_of_the_step():
    with pytest.raises(PipelineError, match=r"takes 'ulr', which is no parameter.*'url'"):
        one(lambda url: url, Cache(key=lambda ulr: ulr))


@pytest.mark.parametrize("wrong", [{"ttl": 0}, {"size": 0}, {"bytes": 0}])
def test_a_policy_out_of_range_is_refused(wrong):
    with pytest.raises(PolicyError, match=next(iter(wrong))):
        Cache(**wrong)


# --- keys -----------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(JSON, JSON)
def test_equal_arguments_and_only_those_have_equal_keys(a, b):
    step = one(lambda x: x)

    def typed(value):
        """Python's True == 1; JSON's does not."""
        if isinstance(value, dict):
            return {k: typed(v) for k, v in value.items()}
        return [typed(v) for v in value] if isinstance(value, list) else (type(value), value)

    assert (key(step, x=a) == key(step, x=b)) == (typed(a) == typed(b))
    if isinstance(a, dict):
        assert key(step, x=a) == key(step, x=dict(reversed(a.items())))


class Model(BaseModel):
    name: str
    at: datetime


@dataclass
class Data:
    models: list[Model]


def test_models_count_by_their_fields():
    step = one(lambda x: x)
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    a, b = Model(name="a", at=moment), Model(name="b", at=moment)
    assert key(step, x=Data([a])) == key(step, x=Data([a.model_copy()])) != key(step, x=Data([b]))


def test_what_has_no_json_form_says_so():
    with pytest.raises(TypeError, match="object cannot be compared"):
        key(one(lambda x: x), x=object())


# --- versions -------------------------------------------------------------------------------------


def test_the_code_is_the_version_where_none_is_said():
    def version(function, version=None):
        return cached.version_of(one(function, Cache(version=version)))

    def wrapped(function):
        @wraps(function)
        def inner(x):
            return function(x)

        return inner

    assert version(lambda x: x + 1) == version(lambda x: x + 1)
    assert version(lambda x: x + 1) != version(lambda x: x + 2)
    assert version(lambda x: [y + 1 for y in x]) != version(lambda x: [y + 2 for y in x])
    assert version(lambda x: x.a) != version(lambda x: x.b)
    assert version(wrapped(lambda x: x + 1)) != version(wrapped(lambda x: x + 2))
    plus = partial(lambda x, by: x + by, by=1)
    assert version(plus).startswith("code ")
    assert version(lambda x: x, "7") == version(lambda x: x + 1, "7") != version(lambda x: x, "8")


SCRIPT = """
from millstream import cached
from millstream.pipeline import Pipeline
from millstream.policy import Cache
pipeline = Pipeline("p")
@pipeline.step(cache=Cache(), name="s")
def step(x: str, more: tuple = (1, "a")) -> bool:
    return x in {"some", "words", "in", "a", "set", ("and", None)}
print(cached.version_of(pipeline.build().steps["s"]))
"""


def test_the_version_is_the_same_in_every_process():
    """Whatever the seed of Python's own hashes, and wherever things lie in memory."""
    said = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(said) == 1


def test_a_cached_map_is_placed_like_any_other():
    pipeline = Pipeline("p")

    @pipeline.step(cache=ANY)
    async def page(urls: Each[str]) -> str:
        return urls

    assert pipeline.build().scopes["page"] == ("urls",)

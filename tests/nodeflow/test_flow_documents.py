"""Whatever document comes, a flow is built or FlowError tells why: nothing else ever escapes."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream import FlowError, flow_of, pipeline_of, read_flow, write_flow
from millstream.testing.clock import EPOCH
from millstream_apps.nodeflow.nodes.base import Tools
from millstream_apps.nodeflow.nodes.library import library

TYPES = library(Tools(now=lambda: EPOCH))

RIGHT = {
    "id": "all",
    "name": "All kinds",
    "nodes": [
        {"id": "s", "type": "sine", "config": {"rate": 10}},
        {"id": "m", "type": "map", "config": {"to": "value + 1"}},
        {
            "id": "w",
            "type": "switch",
            "config": {"cases": [{"port": "a", "when": "value > 0"}], "otherwise": "b"},
        },
        {"id": "j", "type": "join"},
        {"id": "t", "type": "window", "config": {"seconds": 1, "slide": 0.5}},
        {"id": "f", "type": "aggregate", "config": {"percentiles": [50]}},
        {"id": "c", "type": "chart", "config": {"points": 10}},
        {"id": "l", "type": "log-view", "position": {"x": 1}},
    ],
    "edges": [
        {"source": "s", "target": "m", "config": {"bufferSize": 5}},
        {"source": "m", "target": "w"},
        {"source": "w", "target": "j", "sourcePort": "a", "targetPort": "left"},
        {"source": "w", "target": "j", "sourcePort": "b", "targetPort": "right"},
        {"source": "w", "target": "t", "sourcePort": "a"},
        {"source": "t", "target": "f"},
        {"source": "f", "target": "l"},
        {"source": "s", "target": "c"},
    ],
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)


def attempt(document):
    """The pipeline, or None where it is refused; whatever else is raised fails the test."""
    try:
        return pipeline_of(read_flow(json.dumps(document).encode()), TYPES)
    except FlowError as error:
        refused = error
    assert refused.message
    assert all(fault["message"] for fault in refused.errors)
    return None


def test_the_right_one_is_built_and_comes_back():
    pipeline = attempt(RIGHT)
    assert pipeline is not None
    written = json.loads(json.dumps(write_flow(flow_of(pipeline))))
    assert written == RIGHT


@settings(max_examples=150, deadline=None)
@given(JSON)
def test_any_json_is_refused_or_built(document):
    attempt(document)


def places(value, path=()):
    """Every place in a document."""
    inner = value.items() if isinstance(value, dict) else []
    inner = enumerate(value) if isinstance(value, list) else inner
    for key, each in inner:
        yield (*path, key)
        yield from places(each, (*path, key))


PLACES = list(places(RIGHT))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(PLACES), JSON | st.sampled_from(["s", "m", "a", "left", "input", "map"]))
def test_one_thing_changed_is_refused_with_its_place_or_built(path, value):
    document = copy.deepcopy(RIGHT)
    at = document
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    attempt(document)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(PLACES))
def test_one_thing_missing_is_refused_or_built(path):
    document = copy.deepcopy(RIGHT)
    at = document
    for key in path[:-1]:
        at = at[key]
    del at[path[-1]]
    attempt(document)


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"id":' * 50_000, b"\xff", b'"', b"nul", b""])
def test_broken_bytes_are_refused(text):
    with pytest.raises(FlowError):
        read_flow(text)


def test_every_type_says_what_it_is_for_and_gives_its_schema():
    for type in TYPES.values():
        told = type.described()
        assert len(told["doc"]) > 20, type.name
        assert told["config"]["type"] == "object", type.name

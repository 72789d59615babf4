"""OpenAPI: valid, complete, and true. Asked of the application by a generator of requests."""

import asyncio
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from msgspec import Struct
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks
from serving import make_app, serving

from millstream import Millstream, Pipeline
from millstream.server.openapi import inlined


@pytest.fixture
def document(tmp_path):
    return make_app(tmp_path).api.openapi()


def test_every_native_route_is_described(document):
    told = {(method, path) for path, item in document["paths"].items() for method in item}
    assert {
        ("post", "/pipelines/talk/runs"),
        ("post", "/pipelines/measure/runs"),
        ("get", "/pipelines"),
        ("get", "/pipelines/{name}"),
        ("get", "/runs"),
        ("get", "/runs/{run}"),
        ("get", "/runs/{run}/events"),
        ("delete", "/runs/{run}"),
        ("get", "/healthz"),
        ("get", "/readyz"),
        ("get", "/metrics"),
        ("get", "/status"),
        ("get", "/health"),
    } <= told
    assert "/socket" in document["info"]["description"]


def test_every_operation_has_a_name_of_its_own_and_words(document):
    operations = [op for item in document["paths"].values() for op in item.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    assert all(operation.get("summary") for operation in operations)


def test_each_pipeline_says_what_it_takes(document):
    body = document["paths"]["/pipelines/count/runs"]["post"]["requestBody"]
    schema = body["content"]["application/json"]["schema"]
    assert (schema["required"], schema["properties"]["n"]["type"]) == (["n"], "integer")
    assert body["required"] is True
    files = document["paths"]["/pipelines/measure/runs"]["post"]["requestBody"]
    assert set(files["content"]) == {"multipart/form-data"}, "files need a form"
    schema = files["content"]["multipart/form-data"]["schema"]
    assert schema["properties"]["files"]["items"] == {"type": "string", "format": "binary"}


def test_streams_problems_and_locations_are_described(document):
    start = document["paths"]["/pipelines/count/runs"]["post"]["responses"]
    assert {"application/json", "text/event-stream", "application/x-ndjson"} == set(
        start["200"]["content"]
    )
    assert "Location" in start["200"]["headers"]
    for status in (
        "404" if "404" in start else "default",
        "406",
        "409",
        "413",
        "415",
        "422",
        "503",
    ):
        assert set(start[status]["content"]) == {"application/problem+json"}
    for path, item in document["paths"].items():
        for operation in item.values():
            for status, response in operation["responses"].items():
                if status.startswith(("4", "5")) and path.startswith(("/runs", "/pipelines")):
                    assert set(response["content"]) == {"application/problem+json"}, path


def test_no_reference_points_nowhere(document):
    def references(node):
        if isinstance(node, dict):
            if "$ref" in node:
                yield node["$ref"]
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    for reference in references(document):
        target: Any = document
        for name in reference.removeprefix("#/").split("/"):
            target = target[name]


class Leaf(Struct):
    value: int
    below: "list[Leaf]" = []


def test_an_inputs_own_definitions_are_inlined():
    tree = Pipeline("tree")

    @tree.step
    async def total(leaf: Leaf) -> int:
        return leaf.value

    body = Millstream(tree, store=None).api.openapi()["paths"]["/pipelines/tree/runs"]["post"]
    schema = body["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"]["value"] == {"type": "integer"}
    assert schema["properties"]["below"]["items"] == {}, "cut where it refers to itself"
    assert inlined({"$defs": {"A": {"type": "null"}}, "items": {"$ref": "#/$defs/A"}}) == {
        "items": {"type": "null"}
    }


LIMIT = 15
"""Requests of each kind and operation: enough to meet every parameter's edges."""


async def test_generated_requests_get_what_is_documented(tmp_path):
    """Whatever is asked, no 5xx, and each answer's status, type and body as described."""
    async with serving(tmp_path) as served:
        document = (await served.http.get("/openapi.json")).json()
        checked = await asyncio.to_thread(_ask_all, document, served.url)
    assert checked > 200


def _ask_all(document, url):
    schema = schemathesis.openapi.from_dict(document)
    asked = 0
    for result in schema.get_all_operations():
        operation = result.ok()  # type: ignore[union-attr]
        if "talk" in operation.path or operation.path == "/metrics":
            continue  # the first waits for the test; the second has a parser's test of its own
        for mode in schemathesis.GenerationMode:
            asked += _ask(operation, mode, url)
    return asked


def _ask(operation, mode, url):
    asked = 0

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=LIMIT,
        deadline=None,
        database=None,
        suppress_health_check=[*HealthCheck],  # type: ignore[list-item]
    )
    def ask(case):
        nonlocal asked
        if isinstance(case.body, dict) and isinstance(case.body.get("n"), int):
            case.body["n"] = min(case.body["n"], 50)  # as large as the test has time for
        answer = case.call(base_url=url, timeout=20)
        asked += 1
        case.validate_response(answer, checks=CHECKS)

    try:
        ask()
    except Unsatisfiable:  # nothing can be wrong with an operation without parameters
        return 0
    return asked


CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


async def test_the_document_is_served(tmp_path):
    async with serving(tmp_path) as served:
        got, docs = await asyncio.gather(served.http.get("/openapi.json"), served.http.get("/docs"))
        assert got.json()["openapi"].startswith("3.1")
        assert docs.status_code == 200

"""The web: a source that asks a URL again and again, and a step that posts each message to one.

Both go through the guarded client, which refuses the inside of the network.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from millstream import Each, Out, Outgoing, OutgoingLimits, OutgoingResponse, StepError
from millstream_apps.nodeflow.expressions import compile_expression
from millstream_apps.nodeflow.nodes.base import Config, Seconds, Text, Tools
from millstream_apps.nodeflow.nodes.pacing import paced

Url = Annotated[str, Meta(min_length=8, max_length=2_048, pattern="^https?://")]
Method = Literal["POST", "PUT", "PATCH"]
BODY = 4 * 2**20
"""Bytes of an answer, at most."""


class PollConfig(Config, frozen=True):
    """Ask `url` every `interval` seconds. `read` says what becomes of the answer: its JSON, its
    text, or only its status. `changed` lets through only answers that differ from the one before.
    """

    url: Url
    interval: Seconds = 10.0
    timeout: Seconds = 10.0
    headers: dict[str, str] = field(default_factory=dict)
    read: Literal["json", "text", "status"] = "json"
    changed: bool = False
    count: Annotated[int, Meta(ge=1)] | None = None


class WebhookConfig(Config, frozen=True):
    """Send `body` of each message to `url` as JSON. A status of 400 or more is an error; 408, 425,
    429 and 500 or more may be tried again (`retryAttempts` of the edge says how often)."""

    url: Url
    method: Method = "POST"
    body: Text = "value"
    headers: dict[str, str] = field(default_factory=dict)
    timeout: Seconds = 10.0

    def __post_init__(self) -> None:
        compile_expression(self.body)


class Sent(Struct, frozen=True):
    """What the receiver said."""

    status: int


def http_poll(config: PollConfig, tools: Tools) -> Callable[[], AsyncIterator[Out[Any]]]:
    """Answers go to `out`, and what went wrong to `error`, as `{code, message, retryable}`: the
    source itself goes on."""
    outgoing = _client(tools)
    outgoing.check(config.url)
    limits = OutgoingLimits(body=BODY, total=config.timeout)

    async def source() -> AsyncIterator[Out[Any]]:
        last: Any = object()
        async for _ in paced(config.interval, config.count):
            try:
                answer = await outgoing.request(
                    "GET", config.url, headers=config.headers, limits=limits
                )
                value = _read(answer, config.read)
            except StepError as error:
                told = {"code": error.code, "message": error.message, "retryable": error.retryable}
                yield Out("error", told)
                continue
            if not config.changed or value != last:
                yield Out("out", value)
            last = value

    return source


def _read(answer: OutgoingResponse, how: str) -> Any:
    _check(answer)
    if how == "status":
        return {"status": answer.status, "url": answer.url}
    if how == "text":
        return answer.body.decode(errors="replace")
    try:
        return msgspec.json.decode(answer.body)
    except msgspec.DecodeError as error:
        told = f"{answer.url}: the answer is not JSON ({error})"
        raise StepError(told, code="not_json", retryable=False) from error


def _check(answer: OutgoingResponse) -> None:
    if answer.status >= 400:
        passing = answer.status in (408, 425, 429) or answer.status >= 500
        told = f"{answer.url}: the answer was {answer.status}"
        raise StepError(told, code="http_status", retryable=passing)


def webhook(config: WebhookConfig, tools: Tools) -> Callable[[Any], Any]:
    """Posts each message; gives `{status}` of what the receiver said."""
    outgoing = _client(tools)
    outgoing.check(config.url)
    body = compile_expression(config.body)
    headers: Mapping[str, str] = {"content-type": "application/json", **config.headers}
    limits = OutgoingLimits(body=BODY, total=config.timeout)

    async def step(input: Each[Any]) -> Sent:
        content = msgspec.json.encode(body(input))
        answer = await outgoing.request(
            config.method, config.url, headers=headers, content=content, limits=limits
        )
        _check(answer)
        return Sent(answer.status)

    return step


def _client(tools: Tools) -> Outgoing:
    if tools.client is None:
        raise ValueError("url: nothing can be fetched here: no outgoing client was given")
    return tools.client

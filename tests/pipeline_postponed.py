"""Steps of a module whose annotations are all text."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from millstream import Context, Each, Pipeline, Stream


def local_types() -> Pipeline:
    """A pipeline whose types exist only in here."""

    @dataclass
    class Page:
        text: str

    flow = Pipeline("postponed")

    @flow.step
    async def page(urls: Each[str], ctx: Context) -> Page: ...

    @flow.step
    async def letters(page: Page) -> AsyncIterator[str]:
        yield page.text

    @flow.step
    async def word(letters: Stream[str]) -> str: ...

    @flow.step
    async def book(word: list[str], page: list[Page]) -> str: ...

    return flow

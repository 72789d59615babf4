"""Applications for the command line's tests. Served here by `--app cli_apps:app` and the like."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from millstream import Context, Each, Millstream, Pipeline, Processes, Retry, Stream, Upload

talk = Pipeline("talk", doc="Says what it is told, word by word.")


@talk.step
async def word(text: str, context: Context) -> AsyncIterator[str]:
    for number, each in enumerate(text.split()):
        context.progress(min(1, number / 10), "[bold]reading[/bold]\x1b[2J")
        if each == "fail":
            raise ValueError("the word [red]fail")
        if each.startswith("wait:"):
            gate = Path(each.removeprefix("wait:"))
            while not gate.exists():  # noqa: ASYNC110, ASYNC240 - the test is in another process
                await asyncio.sleep(0.005)
        yield each


@talk.step(optional=True)
async def length(word: Each[str]) -> int:
    if word == "bad":
        raise ValueError("a bad word")
    return len(word)


@talk.step
async def lengths(length: list[int | None]) -> list[int | None]:
    return length


weigh = Pipeline("weigh")


@weigh.step
async def weight(files: Each[Upload]) -> int:
    return files.size


@dataclass
class Both:
    front: Upload
    back: list[Upload]
    note: str
    tags: list[str]
    factor: float = 1.0


both = Pipeline("both")


@both.step
async def noted(both: Both) -> dict:
    sizes = [both.front.size, *(each.size for each in both.back)]
    return {"sizes": sizes, "note": both.note, "tags": both.tags, "factor": both.factor}


app = Millstream(talk, weigh, both)

rich = Pipeline("rich")


def plain(page: str) -> str:
    return page


@rich.step(timeout=20, retry=Retry(attempts=3), concurrency=16)
async def page(urls: Each[str]) -> str:
    return urls


@rich.step(executor=Processes(workers=2), fallback=plain)
def article(page: str) -> str:
    return page


@rich.step
def links(article: str) -> list[str]:
    return [article]


@rich.step(buffer=3)
async def end(links: Each[str]) -> str:
    return links


@rich.step(optional=True)
async def ends(end: list[str]) -> int:
    return len(end)


@rich.step
async def seen(page: Stream[str]) -> int:
    return len([each async for each in page])


@rich.step(internal=True, executor="thread")
def text(article: list[str]) -> str:
    return " ".join(article)


@rich.step(executor="thread")
def summary(text: str, seen: int) -> str:
    return f"{seen} in {text}"


loud = Pipeline("loud", doc="Prints.")


@loud.step
async def spoken(text: str) -> str:
    print("printed by a step")
    return text


# Apart: a process that starts flushes what stands in this one's buffers.
louder = Pipeline("louder", doc="Prints in a process of its own.")


@louder.step(executor=Processes(workers=1))
def shouted(text: str) -> str:
    print("printed by a step", flush=True)
    return text

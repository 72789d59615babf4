"""Pages per CPU-second: the whole extract service beside a bare loop of trafilatura over the same
bytes, with the same number of processes. Prints a table.

    python -m bench.extraction_throughput [--pages 200] [--rounds 3] [--processes 2]

The service fetches from a site on this machine, in a process of its own whose time does not count
(nor does the client's); what counts is the processor time of the service's whole process tree:
server, log, fetching, and the processes that read. The loop's is that of its processes alone, which
hold the pages before they start. Pages are our own, drawn here, and those of
`../shared/data/articles` where these are present.
"""

import argparse
import asyncio
import gzip
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import httpx
import trafilatura
from msgspec import Struct

from bench.machine import ROOT
from bench.server import cpu_seconds, free_port, tree

ARTICLES = ROOT.parent / "shared" / "data" / "articles" / "html"
BATCH = 100
CONCURRENCY = 16
TARGET = 0.85

_VOCABULARY = (
    "mill river wheel stone grain flour miller morning water bridge village summer winter road "
    "baker bread market harvest field sluice valley weather light work evening barrel wagon horse "
    "the a of and to in that it was for on with as at by from which when before after over under "
    "turned carried ground waited rose fell stood ran asked told kept found left made grew slow"
)
WORDS = _VOCABULARY.split()


class Measured(Struct, frozen=True):
    """One round: pages, those with a text, and seconds of processor time; of these, `reading` are
    of the processes that read pages."""

    pages: int
    with_text: int
    cpu: float
    reading: float

    @property
    def per_second(self) -> float:
        return self.pages / self.cpu


# --- pages ---------------------------------------------------------------------------------------


def sentence(dice: random.Random) -> str:
    words = [dice.choice(WORDS) for _ in range(dice.randint(6, 22))]
    return " ".join(words).capitalize() + dice.choice([". ", ". ", "? "])


def paragraph(dice: random.Random) -> str:
    return "".join(sentence(dice) for _ in range(dice.randint(2, 7)))


def drawn(seed: int) -> bytes:
    """A page as sites have them: navigation, an article with links and lists, a sidebar, comments,
    scripts and a footer; of some 10 to 150 kB."""
    dice = random.Random(seed)
    nav = "".join(f'<li><a href="/s/{n}">{sentence(dice)[:18]}</a></li>' for n in range(40))
    body = []
    for n in range(dice.randint(8, 60)):
        body.append(f"<p>{paragraph(dice)} <a href='/a/{n}'>{sentence(dice)[:25]}</a></p>")
        if n % 7 == 3:
            items = "".join(f"<li>{sentence(dice)}</li>" for _ in range(4))
            body.append(f"<h2>{sentence(dice)[:40]}</h2><ul>{items}</ul>")
    side = "".join(
        f'<div class="teaser"><a href="/t/{n}">{sentence(dice)}</a></div>' for n in range(25)
    )
    comments = "".join(f'<div class="comment"><p>{paragraph(dice)}</p></div>' for _ in range(6))
    script = "var x = " + json.dumps([dice.random() for _ in range(dice.randint(50, 2500))]) + ";"
    title = sentence(dice)[:50]
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="description" content="{sentence(dice)}"><meta name="author" content="The Mill">
<meta property="article:published_time" content="2024-05-0{seed % 9 + 1}T08:00:00Z">
<style>{"p { margin: 0 } " * 40}</style><script>{script}</script></head><body>
<header><nav><ul>{nav}</ul></nav></header><main><article><h1>{title}</h1>{"".join(body)}</article>
<section id="comments">{comments}</section></main><aside>{side}</aside>
<footer><p>{sentence(dice)}</p></footer></body></html>""".encode()


def shared(folder: Path = ARTICLES) -> list[bytes]:
    """The real pages, where they are present."""
    found = sorted(folder.glob("*.html.gz")) if folder.is_dir() else []
    return [gzip.decompress(path.read_bytes()) for path in found]


def repeated(pages: list[bytes], many: int) -> list[bytes]:
    return [pages[n % len(pages)] for n in range(many)]


# --- the bare loop -------------------------------------------------------------------------------

HOLD: dict[str, list[bytes]] = {}


def take_in(pages: list[bytes]) -> None:
    """In a process of the loop: hold the pages, and read one, so that all is loaded."""
    HOLD["pages"] = pages
    by_defaults(pages[0])
    as_asked(pages[0])


def by_defaults(page: bytes) -> bool:
    return bool(trafilatura.extract(page))


def as_asked(page: bytes) -> bool:
    """What the service gives of the text: Markdown with links, and the metadata."""
    return bool(
        trafilatura.extract(
            page,
            output_format="markdown",
            include_links=True,
            include_comments=False,
            with_metadata=True,
        )
    )


OURS = "extract, the whole service"
LOOPS = {"defaults": by_defaults, "as asked": as_asked}


def loop(name: str, part: int, parts: int) -> tuple[int, int]:
    """One process's share: (pages, with text)."""
    mine = HOLD["pages"][part::parts]
    return len(mine), sum(LOOPS[name](page) for page in mine)


def bare(name: str, pages: list[bytes], processes: int) -> Measured:
    with ProcessPoolExecutor(
        processes, get_context("spawn"), initializer=take_in, initargs=(pages,)
    ) as pool:
        list(pool.map(loop, [name] * processes, [0] * processes, [10**9] * processes))
        pids = list(pool._processes or ())
        before = sum(map(cpu_seconds, pids))
        done = list(pool.map(loop, [name] * processes, range(processes), [processes] * processes))
        cpu = sum(map(cpu_seconds, pids)) - before
    return Measured(sum(n for n, _ in done), sum(found for _, found in done), cpu, cpu)


# --- the service ---------------------------------------------------------------------------------


async def serve(port: int, pages: dict[str, bytes]) -> None:
    """The site: `/N` is the page of that name."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                name = head.split(b" ", 2)[1].decode().strip("/")
                body, status = pages.get(name, b""), "200 OK" if name in pages else "404 Not Found"
                answer = f"HTTP/1.1 {status}\r\nContent-Type: text/html\r\n"
                writer.write(f"{answer}Content-Length: {len(body)}\r\n\r\n".encode() + body)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", port, backlog=256)
    await server.serve_forever()


def started(command: list[str], folder: Path, port: int, **env: str) -> subprocess.Popen[bytes]:
    """A process that listens when this returns."""
    with (folder / f"log-{port}").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, env={**os.environ, **env}, stdout=log, stderr=log
        )
    until = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return process
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"{command} did not start: {(folder / f'log-{port}').read_text()[-2000:]}")


def crawl(client: httpx.Client, urls: list[str]) -> tuple[int, int]:
    """One request: (pages, with text). A page that failed ends the measurement."""
    options = {"cache_mode": "off", "concurrency": CONCURRENCY, "timeout_ms": 600_000}
    many = found = 0
    body = {"urls": urls, "options": options}
    with client.stream("POST", "/crawl/stream", json=body) as answer:
        answer.raise_for_status()
        for line in map(json.loads, answer.iter_lines()):
            if line["event"] != "result":
                continue
            if line["result"]["error"]:
                raise SystemExit(f"a page failed: {line['result']['error']}")
            many, found = many + 1, found + bool(line["result"]["document"]["text"])
    return many, found


def service(pages: list[bytes], processes: int, rounds: int) -> Iterator[Measured]:
    """The service, started once; a measurement each round."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        site, port = free_port(), free_port()
        (folder / "pages").mkdir()
        for n, page in enumerate(pages):
            (folder / "pages" / str(n)).write_bytes(page)
        module = "bench.extraction_throughput"
        serving = started(["-m", module, "--serve", str(site), str(folder / "pages")], folder, site)
        command = ["-m", "millstream", "serve", "millstream_apps.extract:app", "--port", str(port)]
        ours = started(
            [*command, "--store", f"sqlite:///{folder}/runs.db"],
            folder,
            port,
            EXTRACT_ALLOW="127.0.0.1",
            EXTRACT_WORKERS=str(processes),
            EXTRACT_DATA=str(folder / "extract"),
            STREAM_RATE_LIMIT_ENABLED="false",
        )
        try:
            urls = [f"http://127.0.0.1:{site}/{n}" for n in range(len(pages))]
            batches = [urls[start : start + BATCH] for start in range(0, len(urls), BATCH)]
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=600) as client:
                crawl(client, urls[: 2 * processes])  # all is loaded, in each process
                for _ in range(rounds):
                    yield measured(ours.pid, client, batches)
        finally:
            for process in (ours, serving):
                process.terminate()
                process.wait(60)


def measured(pid: int, client: httpx.Client, batches: list[list[str]]) -> Measured:
    """One round."""
    server, *readers = tree(pid)
    before, reading_before = cpu_seconds(server), sum(map(cpu_seconds, readers))
    done = [crawl(client, batch) for batch in batches]
    reading = sum(map(cpu_seconds, readers)) - reading_before
    cpu = cpu_seconds(server) - before + reading
    return Measured(sum(n for n, _ in done), sum(f for _, f in done), cpu, reading)


# --- the table -----------------------------------------------------------------------------------


def show(title: str, pages: list[bytes], processes: int, rounds: int) -> None:
    """Measure and print. Rounds of all contestants take turns, and the ratio is that of each round:
    what else the machine does meanwhile slows all of them."""
    size = sum(map(len, pages)) / len(pages) / 1000
    print(f"\n{title}: {len(pages)} of {size:.0f} kB; {processes} processes, {rounds} rounds")
    found: dict[str, list[Measured]] = {OURS: [], **{name: [] for name in LOOPS}}
    for ours in service(pages, processes, rounds):
        found[OURS].append(ours)
        for name in LOOPS:
            found[name].append(bare(name, pages, processes))
    heads = ("pages/CPU s", "ms/page", "of it reading", "with text", "service is")
    print(" " * 34 + "".join(f"{head:>14}" for head in heads))
    for name, measured in found.items():
        label = f"loop of trafilatura, {name}" if name in LOOPS else name
        speed = median(each.per_second for each in measured)
        reading = median(each.reading / each.pages * 1000 for each in measured)
        ratios = [a.per_second / b.per_second for a, b in zip(found[OURS], measured, strict=True)]
        ratio = f"{median(ratios):.2f}" if name in LOOPS else ""
        figures = f"{speed:14.1f}{1000 / speed:14.1f}{reading:14.1f}{measured[0].with_text:14}"
        print(f"{label:34}{figures}{ratio:>14}", flush=True)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--pages", type=int, default=200)
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--processes", type=int, default=2)
    words.add_argument("--serve", nargs=2, metavar=("PORT", "FOLDER"), help=argparse.SUPPRESS)
    given = words.parse_args()
    if given.serve:
        port, folder = int(given.serve[0]), Path(given.serve[1])
        asyncio.run(serve(port, {path.name: path.read_bytes() for path in folder.iterdir()}))
        return
    show("drawn pages", [drawn(n) for n in range(given.pages)], given.processes, given.rounds)
    real = shared()
    if real:
        many = repeated(real, max(given.pages, len(real)))
        show("shared articles", many, given.processes, given.rounds)
    else:
        print("\nshared articles: not present")
    print(f"\ntarget: the service at {TARGET} of the loop by its defaults, or better")


if __name__ == "__main__":
    main()

"""`make demo`: serve all systems, show each at work with live progress, stay up.

With `--once` it ends after that. Everything runs on this machine; nothing is fetched from others.
"""

import argparse
import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from examples.samples import DECKS, FLOW, draw_pins, site
from millstream.client import Client

PORT = 8000


def free_port(wanted: int) -> int:
    """The wanted port, or another one where that is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return probe.getsockname()[1]
    raise SystemExit("no free port on 127.0.0.1")


def command() -> str:
    """How this installation's command is called from here."""
    beside = Path(sys.executable).with_name("millstream")
    return os.path.relpath(beside) if beside.exists() else "python -m millstream"


def serve(port: int, store: str, pages: Sequence[str]) -> subprocess.Popen[str]:
    """A server process, ready for requests. It may fetch the sample pages, although they are on
    this machine: by default it fetches nothing from private addresses."""
    millstream = [sys.executable, "-m", "millstream", "serve", "--port", str(port)]
    server = subprocess.Popen(
        [*millstream, "--store", store, "--log-level", "warning"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"EXTRACT_ALLOW": urlsplit(pages[0]).netloc},
    )
    assert server.stderr is not None
    for line in server.stderr:  # the line that says where it listens is the sign that it does
        print(line.rstrip(), flush=True)
        if "Ctrl-C" in line:
            return server
    raise SystemExit(f"the server ended with status {server.wait()}")


def say(line: str) -> None:
    """At once, also into a pipe."""
    print(line, flush=True)


async def read_decks(client: Client) -> int:
    """Send the sample screenshots and watch them come back as decklists; how many events came."""
    say(f"\n{len(DECKS)} screenshots of decks; each comes back as soon as it is read:\n")
    began, done, events = time.monotonic(), 0, 0
    async for event in client.stream("decklists", files=DECKS):
        events += 1
        if event.type == "step.result" and event.step == "decklist" and event.item is not None:
            done += 1
            seconds = time.monotonic() - began
            name = DECKS[event.item].name
            say(f"  {done:2}/{len(DECKS)}  {seconds:5.1f} s  {name}  {describe(event.value)}")
        elif event.type == "step.failed" and not event.value["will_retry"]:
            say(f"  failed: {event.value['message']}")
    return events


def describe(deck: dict[str, Any]) -> str:
    """A decklist in one line."""
    about, stats = deck["metadata"], deck["stats"]
    return (
        f"{about['legend_name_en'] or '?'}, by {about['player'] or '?'}: "
        f"{stats['total_cards']} cards, {stats['accuracy']:g} % matched"
    )


async def read_pages(client: Client, pages: Sequence[str]) -> int:
    """Send addresses, one of them of a page that is not there; how many events came."""
    say(f"\n{len(pages)} addresses of pages; a title first, then the document:\n")
    events = 0
    async for event in client.stream("crawl", input={"urls": list(pages)}):
        events += 1
        if event.type == "step.result" and event.step == "preview":
            say(f"  title     {event.value['head']['title']}")
        elif event.type == "step.result" and event.step == "document":
            found = event.value["document"]
            say(f"  document  {found['title']}: {found['word_count']} words, {found['url']}")
        elif event.type == "step.failed" and not event.value["will_retry"]:
            say(f"  failed    {event.value['message']}")
    return events


async def appraise(client: Client, photo: Path) -> int:
    """Send a photo of a pin; how many events came."""
    say("\na photo of a pin, compared with a catalogue of drawn ones; each part as it is found:\n")
    events = 0
    async for event in client.stream("appraise", files={"front_image": [photo]}):
        events += 1
        if event.type == "step.result" and event.step in _PARTS:
            say(f"  {event.step:12}  {_PARTS[event.step](event.value)}")
        elif event.type == "step.failed" and not event.value["will_retry"]:
            say(f"  {event.step or 'run':12}  failed: {event.value['message']}")
    return events


def _verdict(found: dict[str, Any]) -> str:
    rating = found["authenticityRating"]
    if rating is None:
        return found["note"]
    said = found["verdict"].replace("_", " ")
    return f"{said}, rating {rating:.0f} of 100, confidence {found['confidence']:.2f}"


def _price(found: dict[str, Any]) -> str:
    summary = found["summary"]
    if summary is None:
        return "no comparable sales"
    return f"median {summary['median']} {summary['currency']} of {summary['count']} sales"


_PARTS: dict[str | None, Callable[[dict[str, Any]], str]] = {
    "authenticity": _verdict,
    "characters": lambda found: found["characters"] or "nobody known",
    "pricing": _price,
}


async def show(url: str, pages: Sequence[str], folder: Path, store: str) -> int:
    """Everything, one after another, while a live flow runs; how many events came."""
    async with Client(url) as client:
        flow = await client.start("flow", input=FLOW)
        say(f"\na live flow of two sensors runs meanwhile: {url}/flows ({flow})")
        drawing = asyncio.create_task(draw_pins(folder / "pins", store))
        events = await read_decks(client)
        events += await read_pages(client, pages)
        return events + await appraise(client, await drawing)


def main() -> int:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--once", action="store_true", help="end after it")
    once = parser.parse_args().once
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # its server ends, as by Ctrl-C
    with tempfile.TemporaryDirectory(prefix="millstream-demo-") as name, site() as pages:
        folder, port = Path(name), free_port(int(os.environ.get("PORT", PORT)))
        store, url = f"sqlite:///{folder}/millstream.db", f"http://127.0.0.1:{port}"
        server = serve(port, store, pages)
        try:
            events = asyncio.run(show(url, pages, folder, store))
            say(f"\n{events} events, each kept before it was shown, none lost.")
            say(f"the same by hand: {command()} run decklists --file …")
            if not once:
                say(f"\nopen {url}: drop screenshots (examples/decks), paste addresses, such as")
                say(f"  {pages[0]}")
                say(f"or drop a photo of a pin ({folder}/pins/photos).")
                say(f"The flow is at {url}/flows. Ctrl-C ends.")
                server.wait()
        except KeyboardInterrupt:
            pass
        finally:
            server.send_signal(signal.SIGINT)
            server.wait()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""`make demo`: serve all systems, stream a sample batch with live progress, stay up.

With `--once` it ends after the batch. Everything runs on this machine; nothing is fetched.
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
from pathlib import Path
from typing import Any

from millstream.client import Client

DECKS = Path(__file__).with_name("decks")
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


def serve(port: int, folder: Path) -> subprocess.Popen[str]:
    """A server process, ready for requests."""
    millstream = [sys.executable, "-m", "millstream", "serve", "--port", str(port)]
    store = f"sqlite:///{folder}/millstream.db"
    server = subprocess.Popen(
        [*millstream, "--store", store, "--log-level", "warning"], stderr=subprocess.PIPE, text=True
    )
    assert server.stderr is not None
    for line in server.stderr:  # the line that says where it listens is the sign that it does
        print(line.rstrip(), flush=True)
        if "Ctrl-C" in line:
            return server
    raise SystemExit(f"the server ended with status {server.wait()}")


async def stream_batch(url: str) -> int:
    """Send the sample screenshots and watch them come back as decklists; how many events came."""
    files = sorted(DECKS.glob("*.jpg"))
    print(f"\nsending {len(files)} screenshots of decks; each comes back as soon as it is read:\n")
    began, done, events = time.monotonic(), 0, 0
    async with Client(url) as client:
        async for event in client.stream("decklists", files=files):
            events += 1
            if event.type == "step.result" and event.step == "decklist" and event.item is not None:
                done += 1
                said = describe(event.value)
                seconds = time.monotonic() - began
                name = files[event.item].name
                print(f"  {done:2}/{len(files)}  {seconds:5.1f} s  {name}  {said}", flush=True)
            elif event.type == "step.failed" and not event.value["will_retry"]:
                print(f"  failed: {event.value['message']}", flush=True)
    return events


def describe(deck: dict[str, Any]) -> str:
    """A decklist in one line."""
    about, stats = deck["metadata"], deck["stats"]
    return (
        f"{about['legend_name_en'] or '?'}, by {about['player'] or '?'}: "
        f"{stats['total_cards']} cards, {stats['accuracy']:g} % matched"
    )


def main() -> int:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--once", action="store_true", help="end after the batch")
    once = parser.parse_args().once
    with tempfile.TemporaryDirectory(prefix="millstream-demo-") as folder:
        port = free_port(int(os.environ.get("PORT", PORT)))
        url = f"http://127.0.0.1:{port}"
        server = serve(port, Path(folder))
        try:
            events = asyncio.run(stream_batch(url))
            print(f"\n{events} events, each kept before it was shown, none lost.")
            print(f"the same by hand: {command()} run decklists --file …")
            if not once:
                print(
                    f"\nopen {url} and drop screenshots there: yours, or those in examples/decks."
                )
                print("Ctrl-C ends.", flush=True)
                server.wait()
        except KeyboardInterrupt:
            pass
        finally:
            server.send_signal(signal.SIGINT)
            server.wait()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

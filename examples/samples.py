"""What the demonstration is shown on: everything is in this folder, drawn on the spot, or made up.

A few pages, served on loopback; a catalogue of drawn pins with photos; a flow of two sensors.
"""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

HERE = Path(__file__).parent
DECKS = sorted((HERE / "decks").glob("*.jpg"))
PINS = 24

_BOILER = {"rate": 200, "period": 8, "amplitude": 30, "offset": 70, "noise": 1.5, "seed": 1}
_SPAN = {"points": 2000}
_FIGURES = {"figures": ["count", "mean", "rate"], "percentiles": [95]}
_ALERT = {"name": "boiler", "warning": 85, "critical": 95, "hysteresis": 6}
FLOW: dict[str, Any] = {
    "id": "boilers",
    "name": "A boiler and its draught",
    "nodes": [
        {"id": "boiler", "type": "sine", "config": _BOILER},
        {"id": "draught", "type": "random", "config": {"rate": 200, "kind": "walk", "seed": 2}},
        {"id": "seconds", "type": "window", "config": {"seconds": 1}},
        {"id": "figures", "type": "aggregate", "config": _FIGURES},
        {"id": "heat", "type": "alert", "config": _ALERT},
        {"id": "curve", "type": "chart", "config": {"title": "Boiler, degrees", **_SPAN}},
        {"id": "air", "type": "chart", "config": {"title": "Draught", **_SPAN}},
        {"id": "rows", "type": "table", "config": {"title": "Boiler, each second"}},
        {"id": "alerts", "type": "log-view", "config": {"title": "Alerts"}},
    ],
    "edges": [
        {"source": "boiler", "target": "curve"},
        {"source": "draught", "target": "air"},
        {"source": "boiler", "target": "seconds"},
        {"source": "seconds", "target": "figures"},
        {"source": "figures", "target": "rows"},
        {"source": "boiler", "target": "heat"},
        {"source": "heat", "target": "alerts"},
    ],
}
"""Sensor-like sources through a window and an alert to two charts, a table and a log."""


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the terminal belongs to the demonstration."""


@contextmanager
def site() -> Iterator[list[str]]:
    """Serves the pages in `site/` on loopback; their addresses."""
    handler = partial(_Silent, directory=str(HERE / "site"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    pages = sorted(path.name for path in (HERE / "site").glob("*.html"))
    try:
        yield [f"http://127.0.0.1:{server.server_port}/{name}" for name in [*pages, "none.html"]]
    finally:
        server.shutdown()
        server.server_close()


async def draw_pins(folder: Path, store: str) -> Path:
    """Draw pins, and import them into the catalogue beside `store`; a photo to appraise."""
    await _run("examples.pins", str(folder), "--count", str(PINS))
    imported = ("appraise", "catalogue", "import", str(folder / "catalogue.csv"))
    await _run("millstream", *imported, "--photos", str(folder), store=store)
    return folder / "photos" / "genuine-001.jpg"


async def _run(module: str, *words: str, store: str = "") -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ | ({"MILLSTREAM_STORE": store} if store else {}),
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(f"{module} {words[0]} failed:\n{said.decode()}")

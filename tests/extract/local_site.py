"""A site to be crawled, on a real loopback socket in a thread of its own.

`/page/N` is an article; `/gate/N` waits until the test opens the gate; `/flaky/N` fails N times;
`/hang` never ends; `/tree/1` leads to a tree of pages; `/app` is made by a script; `/serper` is a
search provider. It counts how many requests there were at once.
"""

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SENTENCE = "Mill {at} of page {n} grinds what brook {at} brings, and brook {at} carries it off. "


def article(n: str) -> str:
    """An article of about 300 words, with a head that says all there is to say."""
    said = [SENTENCE.format(n=n, at=at) for at in range(24)]
    paragraphs = "".join(f"<p>{''.join(said[at : at + 4])}</p>" for at in range(0, 24, 4))
    return f"""<!doctype html><html lang="en"><head><title>Page {n}</title>
<meta name="description" content="What page {n} tells."><meta name="author" content="Ada Byron">
<meta property="og:site_name" content="The Mill"><meta property="og:title" content="Page {n}">
<meta property="article:published_time" content="2026-11-01T08:00:00Z">
<meta property="og:image" content="/pictures/{n}.jpg"><link rel="canonical" href="/page/{n}">
</head><body><nav><a href="/">Home</a></nav><main><article><h1>Page {n}</h1>
{paragraphs}<p><img src="/pictures/{n}.jpg" alt="A mill"></p></article></main></body></html>"""


SCRIPTED = """<!doctype html><html lang="en"><head><title>App</title></head><body>
<div id="root">Loading</div><script>
const root = document.getElementById("root");
fetch("/story.json").then((answer) => answer.json()).then(async (story) => {
  const secret = await fetch("INSIDE").then((answer) => answer.text()).catch(() => "kept");
  const main = document.createElement("main");
  for (const said of [...story, `The secret was ${secret}.`]) {
    const p = document.createElement("p");
    p.textContent = said;
    main.append(p);
  }
  root.replaceWith(main);
});
</script></body></html>"""
"""A page whose text is made by a script, which also looks for what it must not see."""


def kind_of(path: str) -> str:
    """The first part of a path."""
    return path.strip("/").partition("/")[0]


class LocalSite:
    """Serves until the block ends. `gate` holds back `/gate/…`; `most` is how many at once."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.hits: Counter[str] = Counter()
        self.asked: list[dict[str, Any]] = []
        self.most = 0
        self._inside: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        secret = ThreadingHTTPServer(("127.0.0.2", self.port), self._handler())
        self._servers = (self._server, secret)  # the other one may not be asked
        self.closing = threading.Event()
        self._threads = [
            threading.Thread(target=server.serve_forever, args=(0.05,)) for server in self._servers
        ]

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def page(self, n: object) -> str:
        return f"{self.url}/page/{n}"

    def gated(self, n: object) -> str:
        return f"{self.url}/gate/{n}"

    def shut(self) -> None:
        """Hold `/gate/…` back again, and begin to count anew."""
        self.gate.clear()
        self.most = 0

    def waiting(self, kind: str = "gate") -> int:
        """How many requests of a kind there are at this moment."""
        return self._inside[kind]

    def begun(self, prefix: str) -> int:
        """How many requests there have been whose paths begin so."""
        with self._lock:
            return sum(count for path, count in self.hits.items() if path.startswith(prefix))

    def __enter__(self) -> "LocalSite":
        for server, thread in zip(self._servers, self._threads, strict=True):
            server.daemon_threads = True
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        self.closing.set()
        for server, thread in zip(self._servers, self._threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join()

    def _entered(self, path: str) -> None:
        with self._lock:
            self.hits[path] += 1
            self._inside[kind_of(path)] += 1
            self.most = max(self.most, self._inside["gate"])

    def _left(self, path: str) -> None:
        with self._lock:
            self._inside[kind_of(path)] -= 1

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                if self.path == "/robots.txt":
                    self._answer(404, "")
                    return
                site._entered(self.path)
                try:
                    self._page()
                finally:
                    site._left(self.path)

            def do_POST(self) -> None:
                length = int(self.headers.get("content-length", 0))
                asked = json.loads(self.rfile.read(length))
                site.asked.append({**asked, "key": self.headers.get("x-api-key")})
                self._answer(*site.search(asked), kind="application/json")

            def _page(self) -> None:
                kind, n = kind_of(self.path), self.path.rpartition("/")[2]
                if kind == "gate":
                    site.gate.wait(30)
                if kind == "hang":
                    site.closing.wait(30)
                    return
                if kind == "flaky" and site.hits[self.path] <= int(n):
                    self._answer(503, "not yet")
                    return
                if kind == "app":
                    self._answer(
                        200, SCRIPTED.replace("INSIDE", f"http://127.0.0.2:{site.port}/secret")
                    )
                    return
                if kind == "story.json":
                    told = [SENTENCE.format(n="of a script", at=at) * 2 for at in range(12)]
                    self._answer(200, json.dumps(told), kind="application/json")
                    return
                if kind == "tree":  # page n leads to 2n and 2n + 1
                    more = [f"/tree/{2 * int(n)}", f"/tree/{2 * int(n) + 1}"]
                    self._answer(200, article(n) + "".join(f"<a href={u}>on</a>" for u in more))
                    return
                found = kind in ("page", "gate", "flaky")
                self._answer(200 if found else 404, article(n) if found else "nothing here")

            def _answer(self, status: int, text: str, kind: str = "text/html") -> None:
                body = text.encode()
                try:
                    self.send_response(status)
                    self.send_header("content-type", f"{kind}; charset=utf-8")
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    self.close_connection = True

        return Handler

    def search(self, asked: dict[str, Any]) -> tuple[int, str]:
        """What the provider answers: pages 1 to 4, or an error for some queries."""
        if "broken" in asked["q"]:
            return 500, "{}"
        first = 1 + 2 * (asked["page"] - 1)
        found = [
            {"title": f"Hit {n}", "link": self.page(n), "snippet": f"About {n}", "position": n}
            for n in range(first, first + 2)
            if n <= 4
        ]
        return 200, json.dumps({"organic": found})

"""A hundred URLs of one bad site: slow, large, broken, endless, lying; and what each must come to.

`hostile(site)` puts them on a `Site` and says what is expected: a marker that the text must hold,
or a set of codes.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.extract.site_server import Exchange, Site, bomb, packed, page

MANY = 100
PROSE = "The mill stood at the bend of the river, and its wheel turned from dawn to dusk. "


@dataclass(frozen=True)
class Expected:
    """`marker` is in the text of a page that must come; else one of `codes` is how it fails."""

    marker: str = ""
    codes: frozenset[str] = frozenset()


Pages = dict[str, tuple[Callable[[Exchange], Awaitable[None]], Expected]]


def good(marker: str) -> Expected:
    return Expected(marker=marker)


def bad(*codes: str) -> Expected:
    return Expected(codes=frozenset(codes))


def article(marker: str, size: int = 1500) -> str:
    """A page with enough prose on it to be an article."""
    text = "".join(f"<p>{PROSE * 4}</p>" for _ in range(max(1, size // (len(PROSE) * 4))))
    return page(
        f"About {marker}", body=f"<article><h1>{marker}</h1><p>{marker}</p>{text}</article>"
    )


def reply(body: str | bytes, **more) -> Callable[[Exchange], Awaitable[None]]:
    return lambda exchange: exchange.reply(body, **more)


def raw(*parts: bytes, hang: bool = False) -> Callable[[Exchange], Awaitable[None]]:
    """These bytes, and then the end of the connection (or nothing more)."""

    async def answer(exchange: Exchange) -> None:
        for part in parts:
            await exchange.raw(part)
        if hang:
            await exchange.hang()
        exchange.writer.close()

    return answer


def late(seconds: float, body: str) -> Callable[[Exchange], Awaitable[None]]:
    async def answer(exchange: Exchange) -> None:
        await asyncio.sleep(seconds)
        await exchange.reply(body)

    return answer


def dripping(body: str, pieces: int) -> Callable[[Exchange], Awaitable[None]]:
    """A chunked body, piece by piece."""

    async def answer(exchange: Exchange) -> None:
        data = body.encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n"
        await exchange.raw(head)
        step = -(-len(data) // pieces)
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            await exchange.raw(b"%x\r\n%s\r\n" % (len(piece), piece))
            await asyncio.sleep(0.002)
        await exchange.raw(b"0\r\n\r\n")

    return answer


def hostile(site: Site) -> dict[str, Expected]:
    """Put all of it on the site: what is expected of each path, in the order to ask in."""
    made: Pages = {}
    for group in (_sound, _statuses, _redirects, _hanging, _charsets, _packed, _kinds, _broken):
        group(made, site)
    filler = MANY - len(made)
    for n in range(filler):
        made[f"/more/{n}"] = (reply(article(f"more-{n}")), good(f"more-{n}"))
    paths = list(made)
    random.Random(5).shuffle(paths)
    site.pages |= {path: made[path][0] for path in paths}
    site.pages["/robots.txt"] = "User-agent: *\nDisallow: /forbidden/\n"
    return {path: made[path][1] for path in paths}


def _sound(made: Pages, _: Site) -> None:
    for n, size in enumerate((300, 1_000, 5_000, 20_000, 80_000, 300_000, 1_000_000)):
        made[f"/size/{size}"] = (reply(article(f"size-{n}", size)), good(f"size-{n}"))
    for n, seconds in enumerate((0.005, 0.01, 0.02, 0.05, 0.1, 0.2)):
        made[f"/late/{n}"] = (late(seconds, article(f"late-{n}")), good(f"late-{n}"))
    for n, pieces in enumerate((2, 10, 40)):
        made[f"/drip/{n}"] = (dripping(article(f"drip-{n}"), pieces), good(f"drip-{n}"))
    for n in range(2):
        made[f"/forbidden/{n}"] = (reply(article("never")), bad("robots_disallowed"))


def _statuses(made: Pages, _: Site) -> None:
    for status in (400, 401, 403, 404, 405, 408, 410, 418, 425, 451, 500, 501, 502, 504, 507):
        made[f"/status/{status}"] = (reply(article("no"), status=status), bad("http_status"))
    resting = reply("later", status=503, headers={"Retry-After": "86400"})
    made["/status/503"] = (resting, bad("http_status", "host_resting"))


def _redirects(made: Pages, site: Site) -> None:
    def to(location: str, status: int = 302) -> Callable[[Exchange], Awaitable[None]]:
        return lambda exchange: exchange.redirect(location, status)

    for status in (301, 302, 303, 307, 308):
        made[f"/go/{status}"] = (to("/arrived", status), good("arrived"))
    site.pages["/arrived"] = article("arrived")
    for n in range(5):
        site.pages[f"/chain/{n}"] = to(f"/chain/{n + 1}")
    site.pages["/chain/5"] = article("chain-end")
    made["/chain/0"] = (to("/chain/1"), good("chain-end"))
    made["/loop/self"] = (to("/loop/self"), bad("redirect_loop"))
    made["/loop/a"] = (to("/loop/b"), bad("redirect_loop"))
    made["/loop/b"] = (to("/loop/a"), bad("redirect_loop"))
    for n in range(30):
        site.pages[f"/far/{n}"] = to(f"/far/{n + 1}")
    made["/far/0"] = (to("/far/1"), bad("too_many_redirects"))
    made["/cookies"] = (_new_cookie_each_time(), bad("too_many_redirects"))
    made["/inside"] = (to("http://10.0.0.1/"), bad("address_refused"))
    made["/metadata"] = (to("http://169.254.169.254/latest/"), bad("address_refused"))
    made["/file"] = (to("file:///etc/passwd"), bad("scheme_refused"))
    made["/bad-place"] = (to("http://[::1"), bad("url_invalid", "redirect_invalid"))
    made["/to-forbidden"] = (to("/forbidden/0"), bad("robots_disallowed"))


def _new_cookie_each_time() -> Callable[[Exchange], Awaitable[None]]:
    count = iter(range(10**6))

    async def answer(exchange: Exchange) -> None:
        headers = {"Location": "/cookies", "Set-Cookie": f"n={next(count)}; Path=/"}
        await exchange.reply(status=302, headers=headers)

    return answer


SLOW = frozenset({"fetch_timeout", "url_timeout", "outgoing_timeout"})


def _hanging(made: Pages, _: Site) -> None:
    made["/hang/nothing"] = (raw(hang=True), Expected(codes=SLOW))
    made["/hang/head"] = (raw(b"HTTP/1.1 200 OK\r\nContent-", hang=True), Expected(codes=SLOW))
    body = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 999\r\n\r\n<p>half"
    made["/hang/body"] = (raw(body, hang=True), Expected(codes=SLOW))
    made["/hang/drip"] = (_for_ever, Expected(codes=SLOW))


async def _for_ever(exchange: Exchange) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n"
    await exchange.raw(head)
    while not exchange.release.is_set() and not exchange.writer.is_closing():
        await exchange.raw(b"1\r\nx\r\n")
        await asyncio.sleep(0.02)


def _charsets(made: Pages, _: Site) -> None:
    german, russian = "Größenwahn überm Fluß", "Мельница стояла у реки"
    chinese, japanese = (
        "水车日夜不停地转动着，河水流过磨坊。",
        "水車は昼も夜も回っていた。川の水が流れる。",
    )

    def put(name: str, words: str, coded: str, type: str, meta: str = "") -> None:
        head = f'<meta charset="{meta}">' if meta else ""
        text = (
            article(name)
            .replace("<head>", f"<head>{head}")
            .replace("<h1>", f"<p>{words * 3}</p><h1>")
        )
        made[f"/charset/{name}"] = (reply(text.encode(coded), type=type), good(words))

    put("says-utf8-is-latin1", german, "cp1252", "text/html; charset=utf-8")
    put("says-latin1-is-utf8", german, "utf-8", "text/html; charset=iso-8859-1")
    put("meta-gb2312", chinese, "gb18030", "text/html", "gb2312")
    put("header-sjis", japanese, "cp932", "text/html; charset=Shift_JIS")
    put("utf16-with-mark", german, "utf-16", "text/html")
    put("says-nonsense", german, "utf-8", "text/html; charset=klingon-1")
    put("meta-koi8", russian, "koi8-r", "text/html", "koi8-r")
    put("says-nothing", russian, "cp1251", "text/html")


def _packed(made: Pages, _: Site) -> None:
    def as_(encoding: str, body: bytes) -> Callable[[Exchange], Awaitable[None]]:
        return reply(body, headers={"Content-Encoding": encoding})

    for how in ("gzip", "deflate", "br"):
        body = packed(article(f"packed-{how}").encode(), how)
        made[f"/packed/{how}"] = (as_(how, body), good(f"packed-{how}"))
    twice = packed(packed(article("packed-twice").encode(), "gzip"), "br")
    made["/packed/twice"] = (as_("gzip, br", twice), good("packed-twice"))
    zeros = bomb(100 * 2**20)
    made["/bomb/gzip"] = (as_("gzip", zeros), bad("body_too_large"))
    made["/bomb/twice"] = (as_("gzip, gzip", packed(zeros, "gzip")), bad("body_too_large"))
    br = packed(bytes(20 * 2**20), "br")
    made["/bomb/br"] = (as_("br", br), bad("body_too_large"))
    members = packed(bytes(2**20), "gzip") * 20
    made["/bomb/members"] = (as_("gzip", members), bad("body_too_large"))
    made["/packed/garbage"] = (as_("gzip", b"this is no gzip"), bad("body_undecodable"))
    cut = packed(article("cut").encode(), "gzip")[:-40]
    made["/packed/cut"] = (as_("gzip", cut), bad("body_undecodable"))
    made["/packed/br-garbage"] = (as_("br", b"\xff" * 50), bad("body_undecodable"))
    made["/packed/unknown"] = (as_("zstd", b"(\xb5/\xfd"), bad("encoding_unknown"))
    made["/packed/often"] = (as_("gzip, gzip, gzip, gzip", b""), bad("encoding_unknown"))


def _kinds(made: Pages, _: Site) -> None:
    wrong = bad("content_type_unsupported")
    for name, type in (
        ("png", "image/png"),
        ("pdf", "application/pdf"),
        ("json", "application/json"),
    ):
        made[f"/kind/{name}"] = (reply(b"\x89PNG", type=type), wrong)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: 99999999999\r\n\r\n"
    made["/kind/video"] = (raw(head, b"\0" * 1000, hang=True), wrong)
    made["/kind/none"] = (reply(bytes(range(256)), type=None), wrong)
    made["/large"] = (reply(b"<p>" + b"x" * (11 * 2**20)), bad("body_too_large"))


def _broken(made: Pages, _: Site) -> None:
    broken = bad("connection_broken")
    made["/broken/garbage"] = (raw(b"\x16\x03\x01 hello\r\n\r\n"), broken)
    made["/broken/closed"] = (raw(), broken)
    made["/broken/short"] = (
        raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 99\r\n\r\nshort"),
        broken,
    )
    made["/broken/chunk"] = (
        raw(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"zz\r\nwhat\r\n",
        ),
        broken,
    )
    made["/broken/headers"] = (
        raw(
            b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"y" * 900) for n in range(400))
        ),
        broken,
    )
    made["/broken/length"] = (raw(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"), broken)

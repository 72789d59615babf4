"""The client against real sockets: redirects, cookies, limits, pooling, HTTP/2, streams."""

import asyncio
import shutil
import ssl
import subprocess

import h2.config
import h2.connection
import h2.events
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream import Outgoing, OutgoingError, OutgoingLimits, OutgoingTimeout, OutgoingTooLarge
from millstream.outgoing.pools import UNUSED, Pools
from millstream.testing.clock import run_virtual
from tests.extract.site_server import NO_TLS, Site


@pytest.fixture
async def site():
    async with Site() as running:
        yield running


@pytest.fixture
async def outgoing(site):
    async with Outgoing(allow=[site.place], tls=NO_TLS) as made:
        yield made


async def failure(awaitable) -> OutgoingError:
    with pytest.raises(OutgoingError) as raised:
        await awaitable
    return raised.value


async def test_a_request_and_its_answer(site, outgoing):
    async def echo(exchange):
        await exchange.reply(exchange.asked.method, status=201, headers={"X-Said": "yes"})

    site.pages["/"] = echo
    answer = await outgoing.request("POST", site.url(), content=b"12", headers={"X-Mine": "1"})
    assert (answer.status, answer.body, answer.headers["x-said"]) == (201, b"POST", "yes")
    assert (answer.redirects, answer.http_version) == ((), "HTTP/1.1")
    assert site.asked[0].headers["content-length"] == "2"
    assert site.asked[0].headers["x-mine"] == "1"
    assert site.asked[0].headers["user-agent"].startswith("Millstream/")


@pytest.mark.parametrize(
    ("method", "status", "then"),
    [
        ("POST", 301, ("GET", None)),
        ("POST", 302, ("GET", None)),
        ("POST", 303, ("GET", None)),
        ("POST", 307, ("POST", "2")),
        ("POST", 308, ("POST", "2")),
        ("PUT", 302, ("PUT", "2")),
        ("PUT", 303, ("GET", None)),
    ],
)
async def test_redirects_change_the_method_as_they_should(site, outgoing, method, status, then):
    site.pages["/"] = lambda exchange: exchange.redirect("/x y?a=1#part", status)
    site.pages["/x%20y"] = "there"
    answer = await outgoing.request(
        method, site.url(), content=b"12", headers={"Content-Type": "text/plain"}
    )
    assert (answer.url, answer.redirects) == (site.url("/x%20y?a=1"), (site.url("/"),))
    last = site.asked[-1]
    assert (last.method, last.headers.get("content-length")) == then
    assert ("content-type" in last.headers) is (then[1] is not None)


async def test_secrets_stay_with_their_origin(site):
    async with Site({"/": "other"}) as other, Outgoing(allow=[site.place, other.place]) as outgoing:
        site.pages["/away"] = lambda exchange: exchange.redirect(other.url())
        site.pages["/home"] = lambda exchange: exchange.redirect("/x")
        site.pages["/x"] = "home"
        secret = {"Authorization": "Bearer 1", "X-API-Key": "2", "Cookie": "a=b", "X-Plain": "3"}
        await outgoing.request("GET", site.url("/away"), headers=secret)
        seen = other.asked[0].headers
        assert not {"authorization", "x-api-key", "cookie"} & seen.keys()
        assert seen["x-plain"] == "3"
        await outgoing.request("GET", site.url("/home"), headers=secret)
        assert site.asked[-1].headers["authorization"] == "Bearer 1"


async def test_cookies_live_as_long_as_one_request(site, outgoing):
    async def door(exchange):
        if "seen=1" in exchange.asked.headers.get("cookie", ""):
            await exchange.reply("inside")
        else:
            headers = {"Location": "/", "Set-Cookie": "seen=1; Path=/"}
            await exchange.reply(status=302, headers=headers)

    site.pages["/"] = door
    for _ in range(2):
        assert (await outgoing.request("GET", site.url())).body == b"inside"
    assert ["cookie" in each.headers for each in site.asked] == [False, True, False, True]


async def test_loops_and_long_chains_end(site, outgoing):
    site.pages["/a"] = lambda exchange: exchange.redirect("/b")
    site.pages["/b"] = lambda exchange: exchange.redirect("/a")
    told = await failure(outgoing.request("GET", site.url("/a")))
    assert (told.code, told.retryable, len(site.asked)) == ("redirect_loop", False, 2)
    site.pages |= {f"/{n}": lambda e: e.redirect(f"/{int(e.asked.path[1:]) + 1}") for n in range(9)}
    site.pages["/9"] = "end"
    limits = OutgoingLimits(redirects=9)
    assert (await outgoing.request("GET", site.url("/0"), limits=limits)).body == b"end"
    limits = OutgoingLimits(redirects=8)
    told = await failure(outgoing.request("GET", site.url("/0"), limits=limits))
    assert told.code == "too_many_redirects"


@pytest.mark.parametrize(
    ("limits", "kind"),
    [
        (OutgoingLimits(headers=0.05), OutgoingTimeout),
        (OutgoingLimits(total=0.05), OutgoingTimeout),
        (OutgoingLimits(idle=0.05), OutgoingTimeout),
    ],
    ids=["headers", "total", "idle"],
)
async def test_silence_is_bounded(site, outgoing, limits, kind):
    site.pages["/"] = lambda exchange: exchange.hang()
    told = await failure(outgoing.request("GET", site.url(), limits=limits))
    assert isinstance(told, kind)
    assert told.retryable


async def test_a_large_body_is_cut_off(site, outgoing):
    site.pages["/"] = b"x" * 2_000
    told = await failure(outgoing.request("GET", site.url(), limits=OutgoingLimits(body=1_999)))
    assert isinstance(told, OutgoingTooLarge)
    assert len((await outgoing.request("GET", site.url(), limits=OutgoingLimits(body=2_000))).body)


async def test_connections_are_used_again(site, outgoing):
    site.pages |= {"/": "ok", "/hop": lambda exchange: exchange.redirect("/")}
    for _ in range(5):
        await outgoing.request("GET", site.url("/hop"))
    assert len(site.asked) == 10
    assert site.connections <= 2  # one that the guard looks at, and one that serves


async def test_an_answer_can_be_refused_before_its_body(site, outgoing):
    async def endless(exchange):
        await exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n\r\n")
        await exchange.hang()

    site.pages["/"] = endless

    def admit(answer):
        raise OutgoingError(answer.headers["content-type"], code="unwanted", retryable=False)

    told = await failure(outgoing.request("GET", site.url(), admit=admit))
    assert (told.code, told.message) == ("unwanted", "video/mp4")


async def test_a_stream_comes_piece_by_piece(site, outgoing):
    said = asyncio.Event()

    async def slowly(exchange):
        await exchange.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        await said.wait()
        await exchange.raw(b"3\r\ntwo\r\n0\r\n\r\n")

    site.pages["/"] = slowly
    async with outgoing.stream("GET", site.url()) as answer:
        chunks = answer.chunks()
        assert await anext(chunks) == b"one"
        said.set()
        assert [piece async for piece in chunks] == [b"two"]


async def test_nobody_there(outgoing, site):
    async with Site() as gone:
        place = gone.place
    async with Outgoing(allow=[place]) as other:
        told = await failure(other.request("GET", f"http://{place}/"))
    assert (told.code, told.retryable) == ("connect_failed", True)


# --- HTTP/2 --------------------------------------------------------------------------------------


OPENSSL = shutil.which("openssl")
needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed")


def certificate(folder):
    """A key and a certificate for 127.0.0.1, made on the spot; (server's context, client's)."""
    key, public = folder / "key.pem", folder / "certificate.pem"
    command = f"{OPENSSL} req -x509 -nodes -days 2 -subj /CN=127.0.0.1 -newkey ec"
    options = "-pkeyopt ec_paramgen_curve:prime256v1 -addext subjectAltName=IP:127.0.0.1"
    files = ["-keyout", str(key), "-out", str(public)]
    subprocess.run(
        [*command.split(), *options.split(), *files], check=True, capture_output=True, timeout=60
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(public, key)
    server.set_alpn_protocols(["h2", "http/1.1"])
    return server, ssl.create_default_context(cafile=public)


async def serve_http2(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers every request with its path."""
    link = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    link.initiate_connection()
    try:
        while True:
            writer.write(link.data_to_send())
            await writer.drain()
            data = await reader.read(65_536)
            if not data:
                break
            for event in link.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    path = dict(event.headers)[b":path"]
                    link.send_headers(event.stream_id, [(":status", "200")])
                    link.send_data(event.stream_id, path, end_stream=True)
    except (OSError, asyncio.CancelledError):
        pass
    finally:
        writer.transport.abort()


@needs_openssl
async def test_http_2_over_one_connection(tmp_path):
    theirs, ours = certificate(tmp_path)
    accepted = []

    async def accept(reader, writer):
        accepted.append(writer)
        await serve_http2(reader, writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=theirs)
    port = server.sockets[0].getsockname()[1]
    url = f"https://127.0.0.1:{port}"
    async with Outgoing(allow=[f"127.0.0.1:{port}"], tls=ours) as outgoing:
        first = await outgoing.request("GET", f"{url}/0")
        rest = await asyncio.gather(*(outgoing.request("GET", f"{url}/{n}") for n in range(1, 9)))
        assert [answer.body for answer in (first, *rest)] == [b"/%d" % n for n in range(9)]
        assert {answer.http_version for answer in (first, *rest)} == {"HTTP/2"}
    server.close()
    assert len(accepted) == 1


@needs_openssl
async def test_a_certificate_that_nobody_vouches_for(tmp_path):
    theirs, _ = certificate(tmp_path)
    async with Site({"/": "secret"}, tls=theirs) as site, Outgoing(allow=[site.place]) as outgoing:
        told = await failure(outgoing.request("GET", site.url()))
    assert (told.code, told.retryable) == ("tls_failed", False)
    assert site.asked == []


# --- pools ---------------------------------------------------------------------------------------


class Transport(httpx.AsyncHTTPTransport):
    """One that only remembers whether it was closed."""

    def __init__(self) -> None:
        self.closed = False

    async def aclose(self) -> None:
        self.closed = True


moves = st.lists(
    st.tuples(st.sampled_from(["take", "give", "wait"]), st.integers(0, 5)), max_size=40
)


@settings(deadline=None)
@given(moves, st.integers(1, 4))
def test_pools_in_use_stay_open_and_unused_ones_do_not(steps, most):
    async def main():
        made: list[Transport] = []

        def make() -> Transport:
            made.append(Transport())
            return made[-1]

        pools, held = Pools(make, most=most), []
        for move, number in steps:
            if move == "take":
                held.append(await pools.take(number))
                assert not held[-1].transport.closed
            elif move == "give" and held:
                pools.give_back(held.pop(number % len(held)))
            elif move == "wait":
                await asyncio.sleep(number * 5)
            assert not any(pool.transport.closed for pool in held)
        while held:
            pools.give_back(held.pop())
        await asyncio.sleep(UNUSED + 1)
        await pools.take("one more")
        for _ in range(len(pools)):  # those behind one that was in use wait for their turn
            pools.give_back(await pools.take("one more"))
        assert len(pools) == 1
        await pools.aclose()
        assert all(transport.closed for transport in made)

    run_virtual(main())


async def test_one_after_another_takes_one_connection_also_through_redirects():
    async with Site({"/": "there"}) as site, Outgoing(allow=[site.place]) as outgoing:
        for n in range(5):
            site.pages[f"/{n}"] = lambda exchange, n=n: exchange.redirect(f"/{n - 1}" if n else "/")
        for _ in range(3):
            answer = await outgoing.request("GET", site.url("/4"))
            assert (answer.body, len(answer.redirects)) == (b"there", 5)
        assert site.connections == 1
        together = [outgoing.request("GET", site.url("/")) for _ in range(3)]
        assert {each.body for each in await asyncio.gather(*together)} == {b"there"}
        assert site.connections == 3


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.sampled_from([True, False, None]))))
def test_what_may_be_http_2_is_shared_and_what_is_not_is_never_used_twice(steps):
    async def main():
        pools, held, plain = Pools(Transport), [], False
        for take, number, multiplexed in steps:
            if take:
                lease = await pools.take("https", shareable=True)
                mine = [each for each in held if each.transport is lease.transport]
                assert all(each.shared for each in mine)  # those that began before it was known
                assert lease.shared is not plain
                held.append(lease)
            elif held:
                lease = held.pop(number % len(held))
                pools.give_back(lease, multiplexed=None if lease.shared is False else multiplexed)
                plain = plain or (lease.shared and multiplexed is False)
        await pools.aclose()

    run_virtual(main())

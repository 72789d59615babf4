"""What is refused: by its form, by its address, after a redirect, when a name changes its mind."""

import asyncio
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from millstream import Outgoing, OutgoingError, OutgoingLimits, OutgoingRefused, PolicyError
from millstream.outgoing import urls
from millstream.outgoing.addresses import Allowed, why_refused
from millstream.outgoing.urls import target
from tests.extract.site_server import NO_TLS, Site
from tests.outgoing.hostile_urls import HOSTILE, NAMES

REFUSED = [(url, code) for url, code in HOSTILE if code is not None]


@pytest.fixture
def outside(names, monkeypatch):
    """The names of the table; and whoever connects anywhere but where a test serves, fails."""
    for name, addresses in NAMES.items():
        names[name] = addresses
    connected: list[str] = []
    connect = asyncio.SelectorEventLoop.sock_connect

    async def watched(loop, sock, address):
        connected.append(address[0])
        return await connect(loop, sock, address)

    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", watched)
    return connected


def test_the_table_is_long_enough():
    assert len(REFUSED) >= 40
    assert len({url for url, _ in HOSTILE}) == len(HOSTILE)


@pytest.mark.parametrize(("url", "code"), REFUSED, ids=[ascii(url) for url, _ in REFUSED])
async def test_refused_and_nobody_contacted(url, code, outside):
    async with Outgoing() as outgoing:
        with pytest.raises(OutgoingRefused) as refused:
            await outgoing.request("GET", url)
    assert refused.value.code == code
    assert not refused.value.retryable
    assert refused.value.message
    assert outside == []


@pytest.mark.parametrize("url", [url for url, _ in REFUSED], ids=ascii)
async def test_refused_as_a_redirect_too(url, outside):
    """Some of them cannot even be written in a header; all others are judged as the first was."""
    try:
        location = url.encode("latin-1").decode()
    except UnicodeEncodeError:
        location = url.encode().decode("latin-1")
    if "\r" in url or not url:
        location = "//127.0.0.1/"

    async def redirect(exchange):
        await exchange.redirect(location)

    async with (
        Site({"/": redirect}) as site,
        Outgoing(allow=[site.place], tls=NO_TLS) as outgoing,
    ):
        with pytest.raises(OutgoingError) as refused:
            await outgoing.request("GET", site.url())
        assert len(site.asked) == 1
    assert not refused.value.retryable
    assert isinstance(refused.value, OutgoingRefused) or refused.value.code == "redirect_invalid"
    assert set(outside) <= {"127.0.0.1"}


async def test_a_message_names_the_host_and_the_reason(names):
    names["evil.test"] = ["10.0.0.7"]
    async with Outgoing() as outgoing:
        with pytest.raises(OutgoingRefused, match=r"'evil.test' leads to 10.0.0.7 .*private"):
            await outgoing.request("GET", "http://evil.test/secret?token=1")
        with pytest.raises(OutgoingRefused) as told:
            await outgoing.request("GET", "http://user:hunter2@example.com/")
    assert "hunter2" not in told.value.message


# --- names that change their mind ----------------------------------------------------------------


async def test_rebinding_is_caught_at_the_connection(names):
    """Good at the first look, inside at the second: the connection is judged by its own address."""
    async with Site({"/": "secret"}) as site, Outgoing() as outgoing:
        names["rebind.test"] = [["93.184.215.14"], ["127.0.0.1"]]
        with pytest.raises(OutgoingRefused) as refused:
            await outgoing.request("GET", f"http://rebind.test:{site.port}/")
        assert refused.value.code == "address_refused"
        assert "127.0.0.1" in refused.value.message
        assert names.asked["rebind.test"] == 2
        assert site.asked == []


async def test_rebinding_after_a_redirect(names):
    async with Site() as site, Outgoing(allow=[f"start.test:{site.port}"]) as outgoing:
        site.pages["/"] = lambda exchange: exchange.redirect(f"http://rebind.test:{site.port}/x")
        names["start.test"] = ["127.0.0.1"]
        names["rebind.test"] = [["93.184.215.14"], ["127.0.0.1"]]
        with pytest.raises(OutgoingRefused, match=r"rebind.test"):
            await outgoing.request("GET", f"http://start.test:{site.port}/")
        assert [asked.path for asked in site.asked] == ["/"]


async def test_a_name_without_addresses_is_not_refused_but_unknown(names):
    async with Outgoing() as outgoing:
        with pytest.raises(OutgoingError) as told:
            await outgoing.request("GET", "http://nowhere.test/")
    assert told.value.code == "name_unresolved"
    assert not isinstance(told.value, OutgoingRefused)


async def test_proxies_of_the_environment_are_not_used(monkeypatch):
    async with Site({"/": "mine"}) as site, Site({"/": "proxy"}) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "https_proxy"):
            monkeypatch.setenv(name, proxy.url())
        async with Outgoing(allow=[site.place]) as outgoing:
            answer = await outgoing.request("GET", site.url())
        assert answer.body == b"mine"
        assert proxy.asked == []


# --- exceptions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "url", "taken"),
    [
        ("127.0.0.1:8000", "http://127.0.0.1:8000/", True),
        ("127.0.0.1:8000", "http://127.0.0.1:8001/", False),
        ("127.0.0.1", "http://127.0.0.1:8001/", True),
        ("10.2.0.0/16", "http://10.2.9.9/", True),
        ("10.2.0.0/16", "http://10.3.0.1/", False),
        ("[::1]:80", "http://[::1]/", True),
        ("[::1]:80", "http://[::1]:81/", False),
        ("::1", "http://[::1]:81/", True),
        ("fd00::/8", "http://[fd12::9]/", True),
        ("search.internal:8080", "http://search.internal:8080/", True),
        ("search.internal:8080", "http://other.internal:8080/", False),
        ("localhost:6379", "http://LOCALHOST.:6379/", True),
        ("127.0.0.1", "http://2130706433/", False),
    ],
)
def test_an_exception_covers_itself_alone(entry, url, taken):
    allowed = Allowed([entry])
    if taken:
        assert target(url, allowed).url
    else:
        with pytest.raises(OutgoingRefused):
            target(url, allowed)


@pytest.mark.parametrize("entry", ["", "http://x/", "a:b", "10.0.0.1/8", "a:70000", "[::1", "a/b"])
def test_an_unreadable_exception_is_an_error(entry):
    with pytest.raises(PolicyError, match="allow: "):
        Allowed([entry])


async def test_an_allowed_name_may_lead_inside(names):
    async with Site({"/": "found"}) as site:
        names["search.internal"] = ["127.0.0.1"]
        async with Outgoing(allow=[f"search.internal:{site.port}"]) as outgoing:
            answer = await outgoing.request("GET", f"http://search.internal:{site.port}/")
        assert answer.body == b"found"
        assert site.asked[0].headers["host"] == f"search.internal:{site.port}"


# --- every address -------------------------------------------------------------------------------

addresses = st.one_of(
    st.integers(0, 2**32 - 1).map(IPv4Address),
    st.integers(0, 2**128 - 1).map(IPv6Address),
    st.integers(0, 2**125 - 1).map(lambda n: IPv6Address(n | 1 << 125)),
    st.builds(
        lambda head, n: IPv6Address(int(IPv6Address(head)) | n),
        st.sampled_from(["2002::", "64:ff9b::", "2001::", "::ffff:0:0", "fe80::", "fc00::"]),
        st.integers(0, 2**32 - 1),
    ),
)


@given(addresses)
@example(ip_address("8.8.8.8"))
@example(ip_address("2606:4700:4700::1111"))
@example(ip_address("2001:4860:4860::8888"))
def test_only_global_addresses_pass(address):
    """Whatever the standard library calls not global is refused; so is each form that carries an
    IPv4 address; and the public rest passes."""
    refused = why_refused(address) is not None
    if not address.is_global or address.is_multicast or address.is_reserved:
        assert refused
    if isinstance(address, IPv6Address):
        carries = address.ipv4_mapped or address.sixtofour or address.teredo
        if carries is not None:
            assert refused


@pytest.mark.parametrize(
    "public", ["8.8.8.8", "1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "2001:4860::8888"]
)
def test_public_addresses_pass(public):
    assert why_refused(ip_address(public)) is None


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("HTTP://EXAMPLE.com", "http://example.com/"),
        ("http://example.com:80/a?b#c", "http://example.com/a?b"),
        ("https://example.com:443/", "https://example.com/"),
        ("https://example.com:8443?q", "https://example.com:8443/?q"),
        ("http://bücher.example/ü?ß", "http://xn--bcher-kva.example/%C3%BC?%C3%9F"),
        ("http://my_host.example.com/", "http://my_host.example.com/"),
        ("http://example.com./x", "http://example.com/x"),
        ("http://example.com#@127.0.0.1/", "http://example.com/"),
        ("http://[2606:4700:4700:0:0:0:0:1111]/", "http://[2606:4700:4700::1111]/"),
        ("http://8.8.8.8/", "http://8.8.8.8/"),
        ("http://1e100.net/", "http://1e100.net/"),
    ],
)
def test_good_urls_are_read(url, plain):
    assert target(url, Allowed()).url == plain


@given(st.text(max_size=40), st.sampled_from(["http://", "https://", "http:", ""]))
def test_any_text_is_read_or_refused(text, scheme):
    """No other error escapes; and what is read is read the same again."""
    try:
        found = target(scheme + text, Allowed())
    except OutgoingRefused:
        return
    assert target(found.url, Allowed()) == found
    assert found.host.isascii()


@given(
    st.sampled_from(["http://a.example", "https://1e100.net:8443", "http://x_y.example"]),
    st.from_regex(urls._PLAIN_REST, fullmatch=True),
)
def test_what_is_taken_for_plain_is_what_the_library_makes_of_it(place, rest):
    read = httpx.URL(place + rest)
    assert target(place + rest, Allowed()).url == str(read) == place + rest
    assert (read.host, urlsplit(place + rest).path) == (urlsplit(place).hostname, read.path)


def test_limits_say_what_is_wrong():
    with pytest.raises(PolicyError, match="connect"):
        OutgoingLimits(connect=0)

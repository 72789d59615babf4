"""What pages and sitemaps lead to."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

from millstream_apps.extract.reading.bounds import parses_well
from millstream_apps.extract.site import pages
from millstream_apps.extract.site.pages import links_of, sitemap


def test_links():
    html = """<html><head><base href="/b/"><link rel="next" href="p2"></head><body>
    <a href="x">1</a><a href=" /y#z ">2</a><a href="#top">3</a><a href="mailto:a@b">4</a>
    <a href="http://o.test/">5</a><a rel="NoFollow" href="ad">6</a><a>7</a><a href="">8</a>
    <map><area href="m"></map><a href="http://[bad/">9</a></body></html>"""
    base = "http://s.test/a/"
    kept = ["p2", "x", "/y#z", "http://o.test/", "m"]
    wanted = [f"http://s.test/b/{k}" if "/" not in k else k for k in kept]
    wanted[2] = "http://s.test/y#z"
    assert links_of(html, base) == wanted
    assert "http://s.test/b/ad" in links_of(html, base, obey=False)


@pytest.mark.parametrize("said", ["nofollow", "noindex, NOFOLLOW", "none"])
def test_a_page_may_lead_nowhere(said):
    html = f'<meta name="Robots" content="{said}"><a href="/x">x</a>'
    assert links_of(html, "http://s.test/") == []
    assert links_of(html, "http://s.test/", obey=False) == ["http://s.test/x"]


def test_a_page_that_nests_too_deeply_is_not_parsed_whole(monkeypatch):
    parsed: list[str] = []

    def parser(html: str) -> LexborHTMLParser:
        parsed.append(html)
        return LexborHTMLParser(html)

    monkeypatch.setattr(pages, "LexborHTMLParser", parser)
    links = '<a href="1">1</a><b><A HREF=2>2</A><a rel="nofollow" href="ad">3</a>'
    for html in (links, "<div>" * 30_000 + links):
        found = links_of(f'<head><base href="/b/"></head>{html}', "http://s.test/")
        assert found == ["http://s.test/b/1", "http://s.test/b/2"]
        assert links_of(f'<meta name="robots" content="nofollow">{html}', "http://s.test/") == []
    assert all(map(parses_well, parsed))


URLSET = b"""<?xml version="1.0"?><urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">
<url><loc> http://s.test/1 </loc><lastmod>2024-01-01</lastmod></url>
<url><loc><![CDATA[http://s.test/2?a&b]]></loc></url></urlset>"""


def test_sitemaps():
    named = ["http://s.test/1", "http://s.test/2?a&b"]
    assert sitemap(URLSET) == (named, [])
    assert sitemap(gzip.compress(URLSET)) == (named, [])
    assert sitemap(URLSET[:-12]) == (named, [])
    index = b"<sitemapindex><sitemap><loc>http://s.test/a.xml</loc></sitemap></sitemapindex>"
    assert sitemap(index) == ([], ["http://s.test/a.xml"])
    assert sitemap(b"\xef\xbb\xbfhttp://s.test/t\nnot a url\n") == (["http://s.test/t"], [])


def test_hostile_sitemaps():
    laughs = (
        b'<!DOCTYPE x [<!ENTITY a "http://s.test/a">]><urlset><url><loc>&a;</loc></url></urlset>'
    )
    assert sitemap(laughs) == ([], [])
    assert sitemap(gzip.compress(URLSET)[:20]) == ([], [])
    assert sitemap(gzip.compress(bytes(60 * 2**20))) == ([], [])


@given(st.binary(max_size=200))
def test_any_bytes_are_read(data):
    sitemap(data)
    sitemap(b"<urlset>" + data)
    links_of(data.decode("latin-1"), "http://s.test/")

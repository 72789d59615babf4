"""What pages and sitemaps lead to."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


URLSET = b"""<?xml version="1.0"?><urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">
<url><loc> http://s.test/1 </loc><lastmod>2024-01-01</lastmod></url>
<url><loc><![CDATA[http://s.test/2?a&b]]></loc></url></urlset>"""


def test_sitemaps():
    pages = ["http://s.test/1", "http://s.test/2?a&b"]
    assert sitemap(URLSET) == (pages, [])
    assert sitemap(gzip.compress(URLSET)) == (pages, [])
    assert sitemap(URLSET[:-12]) == (pages, [])
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

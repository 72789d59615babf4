"""Encodings: what bytes prove, what is declared, and when declarations are believed."""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream_apps.extract.fetching import decode, detect

GERMAN = "Größenwahn überm Fluß, Käse und Öl für alle"
RUSSIAN = "Мельница стояла у реки, и колесо её вращалось от рассвета до заката"


@pytest.mark.parametrize(
    ("body", "type", "codec"),
    [
        (b"plain", "text/html", "utf-8"),
        (b"plain", "text/html; charset=latin1", "windows-1252"),
        (GERMAN.encode(), "text/html", "utf-8"),
        (GERMAN.encode(), "text/html; charset=iso-8859-1", "utf-8"),
        (GERMAN.encode("cp1252"), "text/html; charset=utf-8", "windows-1252"),
        (GERMAN.encode("cp1252"), 'text/html; charset="ISO-8859-1"', "windows-1252"),
        (GERMAN.encode("utf-16"), "text/html; charset=utf-8", "utf-16-le"),
        (b"\xfe\xff" + GERMAN.encode("utf-16-be"), "", "utf-16-be"),
        (b"\xef\xbb\xbf" + GERMAN.encode(), "text/html; charset=latin1", "utf-8"),
        (GERMAN.encode("utf-16-le"), "text/html; charset=UTF-16", "utf-16-le"),
        (b'<meta charset="gb2312">' + "水车".encode("gb18030") * 9, "", "gb18030"),
        (
            b"<meta http-equiv=x content='text/html; charset=koi8-r'>" + RUSSIAN.encode("koi8-r"),
            "text/html",
            "koi8-r",
        ),
        (b"<?xml version='1.0' encoding='shift_jis'?>" + "水車は回る".encode("cp932"), "", "cp932"),
        (b"<meta charset=utf-16>" + GERMAN.encode(), "", "utf-8"),
        (RUSSIAN.encode("cp1251"), "text/html; charset=none-such", "windows-1251"),
        (b"caf\xe9", "text/html; charset=utf-8", "windows-1252"),
        (b"<p>l'\xe9t\xe9 dernier, le caf\xe9 \xe0 c\xf4t\xe9", "", "windows-1252"),
        (b"", "", "utf-8"),
    ],
)
def test_the_codec_that_fits(body, type, codec):
    assert detect(body, type) == codec


def test_a_broken_letter_does_not_make_it_another_encoding():
    body = (GERMAN * 20).encode() + b"\xff" + (GERMAN * 20).encode()
    assert detect(body, "text/html") == "utf-8"
    assert decode(body, "utf-8").count("\ufffd") == 1


def test_a_sample_may_end_within_a_letter():
    body = b"a" + ("水车日夜不停地转动着" * 9_000).encode("gb18030")
    assert detect(body, "text/html; charset=gbk") == "gb18030"


@given(st.text(), st.sampled_from(["utf-8", "latin1", "gbk", "x", ""]))
def test_utf_8_is_read_as_such_whatever_is_declared(text, said):
    body = text.encode()
    if not body.isascii() and not text.startswith("\ufeff"):
        assert decode(body, detect(body, f"text/html; charset={said}")) == text


@given(st.binary(max_size=200), st.text(max_size=30))
def test_any_bytes_have_a_codec_that_keeps_what_is_ascii(body, type):
    letters = b"plain " + bytes(each for each in body if 0x20 <= each < 0x7F)
    found = detect(body, type)
    assert isinstance(decode(body, found), str)
    assert codecs.lookup(found).name
    assert "plain " in decode(letters, detect(letters, "text/html"))

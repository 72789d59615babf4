"""Fetching: which character encoding a body is in. Pure.

Labels are read as the Encoding standard says (`latin1` is windows-1252, `gb2312` is gb18030). What
a server or a page declares counts only where the bytes bear it out: declarations are often wrong,
and UTF-8 proves itself.
"""

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, getincrementaldecoder
from typing import Final

from charset_normalizer import from_bytes

_META: Final = re.compile(
    rb"<meta[^>]{0,400}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.+-]{2,40})", re.I
)
_XML: Final = re.compile(
    rb"^\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9_:.+-]{2,40})", re.I
)
_HEADER: Final = re.compile(r"charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.+-]{2,40})", re.I)
_HEAD: Final = 4096
_SAMPLE: Final = 65_536
_HIGH: Final = bytes(range(0x80, 0x100))
_TOLERATED: Final = 0.05
"""The share of non-ASCII bytes that may be broken in a body of a declared encoding."""

_ON_THE_WEB: Final = (
    *(f"cp125{n}" for n in range(9)),
    *("koi8_r", "cp866", "cp874", "cp932", "euc_jp", "gb18030", "big5hkscs", "cp949"),
)
"""What an undeclared page may be in. (Those of DOS suit almost any bytes.)"""

_SAME: Final = {
    "windows-1252": "iso-8859-1 latin1 l1 ascii us-ascii iso8859-1 cp1252 x-cp1252 x-user-defined",
    "gb18030": "gb2312 gbk x-gbk gb_2312-80 chinese csgb2312 cp936 euc-cn",
    "cp932": "shift_jis shift-jis sjis x-sjis ms_kanji windows-31j csshiftjis",
    "cp949": "euc-kr euckr ks_c_5601-1987 ks_c_5601-1989 korean windows-949 cp949",
    "windows-1254": "iso-8859-9 latin5 iso8859-9 cp1254",
    "cp874": "tis-620 iso-8859-11 windows-874 dos-874",
    "big5hkscs": "big5 big5-hkscs cn-big5 x-x-big5",
    "euc_jp": "euc-jp x-euc-jp eucjp",
    "iso2022_jp": "iso-2022-jp csiso2022jp",
    "utf-8": "utf-8 utf8 unicode-1-1-utf-8 x-unicode20utf8",
    "utf-16-le": "utf-16 utf-16le unicode ucs-2 iso-10646-ucs-2 csunicode",
    "utf-16-be": "utf-16be unicodefffe",
    "koi8-r": "koi8-r koi koi8 koi8_r",
    "koi8-u": "koi8-u koi8-ru",
    "mac-roman": "macintosh mac x-mac-roman",
    "mac-cyrillic": "x-mac-cyrillic x-mac-ukrainian",
    "cp866": "ibm866 866 cp866",
    "iso-8859-8": "iso-8859-8 iso-8859-8-i logical visual",
}
_CODECS: Final = {
    **{label: codec for codec, labels in _SAME.items() for label in labels.split()},
    **{f"iso-8859-{n}": f"iso-8859-{n}" for n in (2, 3, 4, 5, 6, 7, 10, 13, 14, 15, 16)},
    **{f"iso8859-{n}": f"iso-8859-{n}" for n in (2, 3, 4, 5, 6, 7, 10, 13, 14, 15, 16)},
    **{f"latin{n}": f"iso-8859-{n}" for n in (2, 3, 4)},
    **{f"{p}125{n}": f"windows-125{n}" for n in range(9) for p in ("windows-", "cp", "x-cp")},
}


def codec(label: str) -> str | None:
    """The Python codec for a declared label; None where the label is unknown."""
    return _CODECS.get(label.strip().lower())


def detect(body: bytes, content_type: str = "") -> str:
    """The codec that fits a body: a byte order mark; UTF-8 that proves itself; what the header
    declares, then the page, where the bytes bear it out; what the letters look like; windows-1252.
    """
    found = declared(body, content_type)
    return found if found is not None else looks_like(body)


def declared(body: bytes, content_type: str = "") -> str | None:
    """The first steps of `detect`, which are quick; None where only the letters can tell."""
    marked = _marked(body)
    if marked is not None:
        return marked
    ascii_only = body.isascii()
    if not ascii_only and _is_utf8(body):
        return "utf-8"
    for label in _labels(body, content_type):
        found = codec(label)
        if found is not None and (ascii_only or _bears_out(body, found)):
            return found
    return "utf-8" if ascii_only or _bears_out(body, "utf-8") else None


def decode(body: bytes, encoding: str) -> str:
    """The body as text, without a byte order mark; what does not fit is U+FFFD."""
    return body.decode(encoding, "replace").removeprefix("\ufeff")


def _marked(body: bytes) -> str | None:
    if body.startswith(BOM_UTF8):
        return "utf-8"
    if body.startswith(BOM_UTF16_LE):
        return "utf-16-le"
    return "utf-16-be" if body.startswith(BOM_UTF16_BE) else None


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _labels(body: bytes, content_type: str) -> list[str]:
    labels = [found[1] for found in _HEADER.finditer(content_type)]
    head = body[:_HEAD]
    for pattern in (_XML, _META):
        found = pattern.search(head)
        if found is not None:
            label = found[1].decode("ascii")
            # a page that can be read this far is not in UTF-16 (Encoding standard)
            labels.append("utf-8" if label.lower().startswith("utf-16") else label)
    return labels


def _bears_out(body: bytes, name: str) -> bool:
    sample = body[:_SAMPLE]
    strange = len(sample) - len(sample.translate(None, _HIGH))
    decoder = getincrementaldecoder(name)("replace")  # the sample may end within a letter
    broken = decoder.decode(sample, final=len(body) <= _SAMPLE).count("\ufffd")
    return broken <= strange * _TOLERATED


def looks_like(body: bytes) -> str:
    """The codec that the letters suggest: the last step of `detect`, which may take a while. Where
    several suit equally well, windows-1252, which is the most frequent by far."""
    found = list(from_bytes(body[:_SAMPLE], cp_isolation=list(_ON_THE_WEB), threshold=0.4))
    if not found:
        return "windows-1252"
    best = found[0]
    equal = [m for m in found if m.chaos <= best.chaos and m.coherence >= best.coherence]
    if any("cp1252" in match.could_be_from_charset for match in equal):
        return "windows-1252"
    return codec(best.encoding.replace("_", "-")) or best.encoding

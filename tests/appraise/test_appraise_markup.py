"""Safe HTML: whatever text comes in, the page that goes out runs nothing and says it as it was."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream_apps.appraise.markup import NEVER, Html, clip, join, tag

NASTY = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            '"><img src=x onerror=alert(1)>',
            "' onmouseover='alert(1)",
            "javascript:alert(1)",
            "]]>--><svg/onload=alert(1)>",
            "&lt;script&gt;",
            "</style><script>",
        ]
    ),
)


class Reader(HTMLParser):
    """What a browser would make of it: elements, attributes, text."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements, self.attributes, self.said = [], [], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.said += data


def runs_nothing(html):
    """Fails where a page could do anything but be looked at."""
    seen = Reader(html)
    assert not NEVER & set(seen.elements)
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    for name, value in seen.attributes:
        if name in ("src", "href"):
            assert value.startswith(("https://", "http://", "/", "data:image/"))
    return seen


@given(NASTY, NASTY)
def test_text_and_attributes_come_out_as_they_went_in(said, title):
    html = tag("p", said, tag("b", "x"), title=title)
    seen = runs_nothing(html)
    assert seen.elements == ["p", "b"]
    assert seen.said.replace("\r\n", "\n") == f"{said}x".replace("\r\n", "\n")
    assert seen.attributes == [("title", title)]


@pytest.mark.parametrize(
    "make",
    [
        lambda: tag("script", "alert(1)"),
        lambda: tag("p", onclick="alert(1)"),
        lambda: tag("a", href="javascript:alert(1)"),
        lambda: tag("a", href=" javascript:alert(1)"),
        lambda: tag("iframe", src="data:text/html,<script>"),
        lambda: tag("img", src="data:image/svg+xml;base64,PHN2Zz4="),
    ],
)
def test_what_could_run_is_refused(make):
    with pytest.raises(ValueError, match="safe page"):
        make()


def test_children_are_flattened_and_none_is_left_out():
    assert join(["a", None, [tag("br"), ["<"]], Html("<i></i>")]) == "a<br>&lt;<i></i>"


@given(st.text(max_size=30), st.integers(1, 20))
def test_clipped_text_is_no_longer_than_asked(said, most):
    assert len(clip(said, most)) <= most
    assert clip(said, max(len(said), 1)) == said

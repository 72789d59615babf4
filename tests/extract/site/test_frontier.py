"""The frontier alone: whatever order pages answer in, and wherever a crawl is cut off, it visits
the same pages. No network."""

from collections import deque

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from millstream import StepError
from millstream_apps.extract.site.frontier import Frontier
from millstream_apps.extract.site.models import Candidate, Record, SitePage
from millstream_apps.extract.site.urls import Scope, normalised

START = "http://s.test/0"


def scope(start=START, *, same_host=True, include=(), exclude=()) -> Scope:
    return Scope.of(start, same_host=same_host, include=include, exclude=exclude)


def url(number: int) -> str:
    return f"http://s.test/{number}"


def record(asked: Candidate, links=(), final: str | None = None) -> Record:
    found = SitePage(
        url=asked.url,
        final_url=final or asked.url,
        depth=asked.depth,
        parent=asked.parent,
        status=200,
        content_type="text/html",
        from_cache=False,
        links=len(links),
        elapsed_ms=1.0,
    )
    return Record(asked, links=tuple(links), page=found, final=final or asked.url)


graphs = st.integers(2, 9).flatmap(
    lambda size: st.lists(
        st.lists(st.integers(0, size - 1), max_size=4), min_size=size, max_size=size
    )
)


def distances(graph: list[list[int]]) -> dict[str, int]:
    """How many links each page is from page 0, by the plainest means."""
    found, waiting = {0: 0}, deque([0])
    while waiting:
        here = waiting.popleft()
        for there in graph[here]:
            if there not in found:
                found[there] = found[here] + 1
                waiting.append(there)
    return {url(number): far for number, far in found.items()}


class Walk:
    """A crawl of a graph whose pages answer in an order that is drawn."""

    def __init__(self, graph, depth: int, max_pages: int, records=()) -> None:
        self.graph = graph
        self.frontier = Frontier(START, scope(), depth=depth, max_pages=max_pages)
        self.records: list[Record] = list(records)
        for each in records:
            self.frontier.apply(each)
        self.under_way: list[Candidate] = []

    def turn(self, choose, at_a_time: int) -> bool:
        """Set off what may, and let one answer; False when nothing is left."""
        while len(self.under_way) < at_a_time and (taken := self.frontier.take()) is not None:
            self.under_way.append(taken)
        if not self.under_way:
            return False
        asked = self.under_way.pop(choose(len(self.under_way)))
        number = int(asked.url.rpartition("/")[2])
        links = self.frontier.links([f"/{there}" for there in self.graph[number]], asked.url)
        done = record(asked, links)
        self.frontier.apply(done)
        self.records.append(done)
        return True

    def visited(self) -> list[str]:
        return [each.asked.url for each in self.records]


@given(graphs, st.integers(0, 5), st.integers(1, 4), st.data())
def test_any_order_and_any_cut_visit_the_same_pages(graph, depth, at_a_time, data):
    """Exactly the pages within so many links, each once, however often it is cut off."""

    def choose(many: int) -> int:
        return data.draw(st.integers(0, many - 1))

    walk = Walk(graph, depth, 1000)
    while walk.turn(choose, at_a_time):
        if data.draw(st.booleans(), label="cut"):
            walk = Walk(graph, depth, 1000, walk.records)  # what was under way is lost
    wanted = {page for page, far in distances(graph).items() if far <= depth}
    assert sorted(walk.visited()) == sorted(wanted)


@given(graphs, st.integers(1, 9), st.integers(1, 4), st.data())
def test_no_more_pages_than_asked_for(graph, max_pages, at_a_time, data):
    walk = Walk(graph, 9, max_pages)
    while walk.turn(lambda many: data.draw(st.integers(0, many - 1)), at_a_time):
        if data.draw(st.booleans(), label="cut"):
            walk = Walk(graph, 9, max_pages, walk.records)
    assert len(walk.visited()) == len(set(walk.visited()))
    assert len(walk.visited()) == min(max_pages, len(distances(graph)))


def test_nearer_pages_come_first():
    graph = [[1, 2], [3], [], [4], []]
    walk = Walk(graph, 9, 9)
    while walk.turn(lambda _: 0, 1):
        pass
    assert walk.visited() == [url(n) for n in range(5)]


def test_a_page_known_by_two_urls_is_told_once():
    frontier = Frontier(START, scope(), depth=3, max_pages=9)
    start = frontier.take()
    assert start is not None
    frontier.apply(record(start, [url(1), url(2)]))
    one, two = frontier.take(), frontier.take()
    assert one is not None
    assert two is not None
    assert frontier.is_new(url(3))
    frontier.apply(record(one, [], final=url(3)))
    assert not frontier.is_new(url(3))
    frontier.apply(Record(two, page=None, final=url(3)))
    assert frontier.take() is None
    assert frontier.statistics().visited == 2


def test_a_start_that_leads_to_another_host_is_at_home_there():
    frontier = Frontier(START, scope(), depth=3, max_pages=9)
    start = frontier.take()
    assert start is not None
    assert frontier.at_home(start, "https://new.test/")
    frontier.apply(record(start, final="https://new.test/"))
    assert frontier.links(["/x", "http://other.test/y"], "https://new.test/") == [
        "https://new.test/x"
    ]


# --- URLs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_", "one"),
    [
        ("HTTP://S.test:80/a/../b/./c#d", "http://s.test/b/c"),
        ("https://s.test:443", "https://s.test/"),
        ("http://s.test:8080/", "http://s.test:8080/"),
        ("http://s.test/%7euser/%41%2f%e4", "http://s.test/~user/A%2F%E4"),
        ("http://s.test/a b?q=ä&utm_source=x&fbclid=1", "http://s.test/a%20b?q=%C3%A4"),
        ("http://s.test/?utm_source=x", "http://s.test/"),
        ("http://s.test/100%", "http://s.test/100%25"),
        ("http://s.test./", "http://s.test/"),
        ("http://s.test/a//b/", "http://s.test/a//b/"),
        ("http://[::1]:80/", "http://[::1]/"),
        ("http://u@s.test/", None),
        ("mailto:a@s.test", None),
        ("javascript:void(0)", None),
        ("http://", None),
        ("http://[x/", None),
        ("http://s.test:99999/", None),
        ("http://s.test/" + "a/" * 30, None),
        ("http://s.test/" + "a" * 2100, None),
    ],
)
def test_one_form_of_each_url(given_, one):
    assert normalised(given_) == one


@given(st.text(max_size=30), st.sampled_from(["", "http://h.test/", "http://h.test/?", "../"]))
@example("%2e%2E/x", "http://h.test/a/b/")
@example("%%41", "http://h.test/")
def test_normalising_is_done_once(text, head):
    found = normalised(head + text, "http://b.test/x/y")
    if found is not None:
        assert normalised(found) == found
        assert found.isascii()


@pytest.mark.parametrize(
    ("include", "exclude", "path", "taken"),
    [
        ([], [], "/a", True),
        ([], [], "/a.pdf", False),
        ([], [], "/a.PNG?x=1", False),
        (["/blog/*"], [], "/blog/1", True),
        (["/blog/*"], [], "/shop/1", False),
        (["/blog/*"], ["*/draft*"], "/blog/draft-1", False),
        ([], ["*?page=*"], "/a?page=2", False),
        (["http://s.test/a*"], [], "/a1", True),
        (["https://s.test/a*"], [], "/a1", False),
    ],
)
def test_patterns(include, exclude, path, taken):
    made = scope(include=include, exclude=exclude)
    assert made.takes(f"http://s.test{path}") is taken


def test_hosts():
    assert scope().takes("https://www.s.test/x")
    assert not scope().takes("http://sub.s.test/x")
    assert not scope().takes("http://s.test:8080/x")
    assert scope(same_host=False).takes("http://elsewhere.test/")


def test_an_empty_pattern_is_an_error():
    with pytest.raises(StepError, match="include"):
        scope(include=[""])

"""Which item is which: numbers that a log gives back, and what was made of what."""

from hypothesis import given
from hypothesis import strategies as st

from millstream.annotations import Each
from millstream.core.lineage import Lineage, Numbering
from millstream.pipeline import Pipeline

PLACES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=40)


@given(PLACES)
def test_an_inner_element_has_one_number_and_keeps_it(places):
    numbering = Numbering(outermost=False)
    numbers = [numbering.number(*place) for place in places]
    assert [numbering.number(*place) for place in places] == numbers
    assert sorted(set(numbers)) == list(range(len(set(places))))


@given(PLACES)
def test_a_log_read_again_gives_the_same_numbers(places):
    once, again = Numbering(outermost=False), Numbering(outermost=False)
    assert [once.number(*p) for p in places] == [again.number(*p) for p in places]


@given(st.integers(0, 100))
def test_outermost_the_number_is_the_index(index):
    assert Numbering(outermost=True).number(None, index) == index


def test_numbers_that_are_asked_for_once_are_forgotten():
    numbering = Numbering(outermost=False, keeps=False)
    assert [numbering.number(0, n) for n in range(1000)] == list(range(1000))
    assert numbering._numbers == {}
    recovered = Numbering(outermost=False)
    for n in range(3):
        recovered.number(7, n)
    recovered.keeps = False
    assert [recovered.number(7, n) for n in (0, 1, 2, 3)] == [0, 1, 2, 3]
    assert recovered._numbers == {}


def lineage() -> Lineage:
    pipeline = Pipeline("p")

    @pipeline.step
    async def links(urls: Each[str]) -> list[str]:
        return [urls]

    @pipeline.step
    async def page(links: Each[str]) -> str:
        return links

    @pipeline.step
    async def site(page: list[str]) -> str:
        return ""

    @pipeline.step
    async def words(site: list[str]) -> list[str]:
        return []

    @pipeline.step
    async def word(words: Each[str]) -> str:
        return words

    found = Lineage(pipeline.build())
    for parent, index in ((0, 0), (1, 0), (0, 1), (1, 1)):
        found.note("links", parent, index)
    return found


def test_what_was_made_of_an_item():
    found = lineage()
    assert [found.place("links", n) for n in range(4)] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    made = [n for n in range(4) if found.made_of("links", 0, ("page", n))]
    assert made == [0, 2]
    assert [n for n in range(2) if found.made_of("links", 0, ("site", n))] == [0]
    assert not found.made_of("links", 0, ("links", 0))
    assert not found.made_of("page", 0, ("links", 0))


def test_what_was_made_of_one_element():
    found = lineage()
    assert [n for n in range(4) if found.made_of_element("links", 1, 1, ("page", n))] == [3]
    assert [n for n in range(2) if found.made_of_element("links", 1, 1, ("site", n))] == [0, 1]


def test_what_left_the_map_through_a_collector_was_made_of_all_items():
    found = lineage()
    for item in (0, 1):
        assert found.made_of("links", item, ("words", None))
        assert all(found.made_of("links", item, ("word", n)) for n in range(3))

"""The page cache: bounded, by use; outlives the process; begins anew when damaged."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream import PolicyError
from millstream.testing.clock import run_virtual
from millstream_apps.extract.fetching.cache import Head, Kept, PageCache


def page(body: bytes, at: float = 0.0) -> Kept:
    head = Head("http://s.test/", 200, {"etag": '"1"'}, "text/html", "utf-8", ("http://a/",), at)
    return Kept(head, body)


SIZE = 2_000
moves = st.lists(
    st.tuples(st.sampled_from(["put", "get", "drop"]), st.integers(0, 7), st.integers(1, 700)),
    max_size=40,
)


@settings(max_examples=40, deadline=None)
@given(moves)
def test_it_keeps_what_was_put_and_never_too_much(steps):
    """Against a plain dictionary: what it gives is what was put last, or nothing."""

    async def main():
        cache, model = PageCache(max_bytes=SIZE, max_entries=4), {}
        for now, (move, key, size) in enumerate(steps):
            name = str(key)
            if move == "put":
                model[name] = page(bytes([key]) * size, float(now))
                await cache.put(name, model[name], now)
            elif move == "drop":
                model.pop(name, None)
                await cache.drop(name)
            else:
                found = await cache.get(name, now)
                assert found is None or found == model[name]
            state = await cache.statistics()
            assert state.size <= SIZE
            assert state.entries <= 4
        await cache.aclose()

    run_virtual(main())


async def test_the_one_used_longest_ago_goes_first():
    cache = PageCache(max_bytes=10**6, max_entries=10)
    for n in range(10):
        await cache.put(str(n), page(b"x"), n)
    await cache.get("0", 100)
    await cache.put("10", page(b"x"), 101)
    assert await cache.get("0", 102) is not None
    assert await cache.get("1", 102) is None
    assert (await cache.statistics()).evicted == 2
    await cache.aclose()


async def test_what_is_too_large_is_not_kept():
    cache = PageCache(max_bytes=1_000)
    await cache.put("a", page(b"x" * 10), 0)
    await cache.put("a", page(b"x" * 900), 1)
    assert await cache.get("a", 2) is None  # and the older one is out of date
    await cache.aclose()


async def test_it_outlives_the_process_and_counts_on(tmp_path):
    path = tmp_path / "deep" / "pages.db"
    cache = PageCache(path)
    await cache.put("a", page(b"body"), 1)
    await cache.aclose()
    cache = PageCache(path)
    assert await cache.get("a", 2) == page(b"body")
    assert (await cache.statistics()).entries == 1
    await cache.aclose()


@pytest.mark.parametrize(
    "damage", [b"no database at all" * 100, b"SQLite format 3\0" + b"?" * 5000]
)
async def test_a_damaged_file_is_begun_anew(tmp_path, damage):
    path = tmp_path / "pages.db"
    path.write_bytes(damage)
    cache = PageCache(path)
    assert await cache.get("a", 0) is None
    await cache.put("a", page(b"body"), 0)
    assert await cache.get("a", 0) == page(b"body")
    await cache.aclose()


def test_bounds_are_checked():
    with pytest.raises(PolicyError, match="max_bytes"):
        PageCache(max_bytes=0)

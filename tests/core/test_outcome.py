"""A log folds into the run's document: the newest attempt counts, items stand in order."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from millstream import Each, Pipeline
from millstream.core.outcome import Fold
from millstream.core.recovery import INPUT_FAILED
from millstream.events import Event


def mapped():
    flow = Pipeline("mapped")

    @flow.step
    def links(urls: Each[str]) -> list[str]: ...

    @flow.step
    def page(links: Each[str]) -> str: ...

    return flow.build()


def single():
    flow = Pipeline("single")

    @flow.step
    def word(text: str) -> str: ...

    return flow.build()


def yielding():
    flow = Pipeline("yielding")

    @flow.step
    def words(text: str) -> Iterator[str]:
        yield text

    return flow.build()


def several():
    flow = Pipeline("several")

    @flow.step
    def words(text: str) -> Iterator[str]:
        yield text

    @flow.step
    def length(text: str) -> int: ...

    return flow.build()


def fold(graph, *events: tuple) -> Fold:
    """(type, step, fields) in order."""
    found = Fold(graph)
    for seq, (type, step, more) in enumerate(events, 1):
        found.apply(Event(run="r", seq=seq, type=type, step=step, time=f"t{seq}", **more))
    return found


def made(step, data, item=None, **more):
    return ("step.result", step, {"item": item, "data": data, **more})


def said(step, data, item=None, **more):
    return ("step.partial", step, {"item": item, "data": data, **more})


def broke(step, item=None, count=None, **data):
    told = {"code": "x", "message": "m", **data}
    return ("step.failed", step, {"item": item, "count": count, "data": told})


def test_the_states_of_a_run():
    events = [("run.queued", None, {}), ("run.started", None, {}), ("run.completed", None, {})]
    told = [fold(single(), *events[:n]) for n in range(4)]
    assert [f.state for f in told] == ["queued", "queued", "running", "completed"]
    assert (told[3].started, told[3].ended, told[3].seq) == ("t2", "t3", 3)


def test_a_run_that_goes_on_after_a_crash_keeps_its_beginning():
    found = fold(single(), ("run.started", None, {}), ("run.started", None, {}))
    assert found.started == "t1"


def test_how_a_run_failed():
    found = fold(single(), ("run.failed", None, {"data": {"code": "x"}}))
    assert (found.state, found.error) == ("failed", {"code": "x"})


def test_one_output_is_its_value_several_are_an_object():
    assert fold(single(), made("word", "a")).result() == "a"
    found = fold(several(), said("words", "a"))
    assert found.result() == {"words": ["a"], "length": None}


def test_an_app_event_and_a_step_that_is_gone_change_nothing():
    assert fold(single(), ("x.own", "word", {"data": 1}), made("gone", 3)).result() is None


@given(st.permutations(range(4)), st.sets(st.integers(0, 3)))
def test_items_stand_in_order_whenever_they_came(order, failed):
    events = [made("links", [f"l{n}"], n) for n in range(4)]
    events += [broke("page", n) if n in failed else made("page", f"p{n}", n) for n in order]
    found = fold(mapped(), *events)
    assert found.result() == [f"p{n}" for n in range(4) if n not in failed]
    assert found.missing == [
        {"step": "page", "code": "x", "message": "m", "item": n} for n in sorted(failed)
    ]


def test_the_newest_attempt_counts():
    found = fold(single(), made("word", "a"), made("word", "b", attempt=2))
    assert found.result() == "b"
    found = fold(single(), broke("word", will_retry=True), made("word", "a", attempt=2))
    assert (found.result(), found.missing) == ("a", [])


def test_a_failure_is_missing_until_a_result_comes_after_all():
    found = fold(single(), broke("word"))
    assert found.missing == [{"step": "word", "code": "x", "message": "m"}]
    found.apply(Event(run="r", seq=2, type="step.result", step="word", data="a"))
    assert (found.missing, found.result()) == ([], "a")


def test_a_skipped_item_is_not_told_twice():
    found = fold(single(), broke("word", code=INPUT_FAILED))
    assert found.missing == []


@given(st.lists(st.tuples(st.integers(0, 5), st.text(max_size=2)), max_size=12))
def test_partials_are_the_value_and_a_later_one_replaces_its_place(told):
    held: list[str] = []
    events = []
    for index, word in told:
        if index < len(held):
            held[index] = word
            events.append(said("words", word, index=index, attempt=2))
        else:
            held.append(word)
            events.append(said("words", word))
    assert fold(yielding(), *events).result() == (held or None)
    found = fold(yielding(), *events, made("words", None, count=len(held)))
    assert found.result() == held


def test_a_second_attempt_that_yields_less():
    found = fold(yielding(), said("words", "a"), said("words", "b"), made("words", None, count=1))
    assert found.result() == ["a"]
    found = fold(yielding(), said("words", "a"), said("words", "b"), broke("words", count=1))
    assert found.result() == ["a"]


def test_items_of_elements_that_are_no_more_do_not_count():
    before = [made("links", ["a", "b"], 0), made("page", "A", 0), made("page", "B", 1)]
    assert fold(mapped(), *before).result() == ["A", "B"]
    found = fold(mapped(), *before, made("links", ["a"], 0, attempt=2))
    assert found.result() == ["A"]


def test_what_failed_after_all_has_no_value_and_no_elements():
    found = fold(single(), made("word", "a"), broke("word", code=INPUT_FAILED))
    assert found.result() is None
    before = [made("links", ["a", "b"], 0), made("page", "A", 0), made("page", "B", 1)]
    assert fold(mapped(), *before, broke("links", 0)).result() == []


def test_what_the_run_says_at_its_end_is_what_counts():
    missing = [{"step": "word", "code": "late"}]
    told = {"partial": True, "missing": missing}
    found = fold(single(), broke("word"), ("run.completed", None, {"data": told}))
    assert (found.partial, found.missing) == (True, missing)

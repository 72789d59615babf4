"""What a log says of the work, at every point where a worker may have died."""

from collections.abc import Iterator

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from millstream import Each, Pipeline, Retry
from millstream.core.recovery import INPUT_FAILED, INTERRUPTED, Recovered, digest, elements
from millstream.events import Event, RawEvent, decode_raw, encode


def graph():
    flow = Pipeline("mill")

    @flow.step(retry=Retry(attempts=3))
    def words(text: str) -> Iterator[str]:
        yield text

    @flow.step
    def upper(words: Each[str]) -> str: ...

    @flow.step
    def letters(upper: str) -> list[str]: ...

    @flow.step
    def letter(letters: Each[str]) -> str: ...

    @flow.step
    def book(upper: list[str]) -> str: ...

    @flow.step(internal=True)
    def picture(upper: str) -> object: ...

    return flow.build()


GRAPH = graph()


def log(*events: tuple) -> list[RawEvent]:
    """(type, step, item, fields) as a log has them."""
    return [
        decode_raw(encode(Event(run="r", seq=n, type=type, step=step, item=item, **more)))
        for n, (type, step, item, more) in enumerate(events, 1)
    ]


def recovered(*events: tuple) -> Recovered:
    found = Recovered(GRAPH)
    found.apply_all(log(*events))
    return found


def began(step, item=None, **more):
    return ("step.started", step, item, more)


def made(step, item=None, data=None, **more):
    return ("step.result", step, item, {"data": data, **more})


def said(item, word, **more):
    return ("step.partial", "words", item, {"data": word, **more})


def broke(step, item=None, **data):
    return ("step.failed", step, item, {"data": {"code": "x", "message": "", **data}})


@st.composite
def logs(draw):
    """`upper` at work on several items at a time, each through some attempts."""
    queues = []
    for item in range(draw(st.integers(0, 4))):
        told = []
        for attempt in range(1, draw(st.integers(1, 3))):
            told += [began("upper", item, attempt=attempt), broke("upper", item, will_retry=True)]
        last = len(told) // 2 + 1
        told.append(began("upper", item, attempt=last))
        ends = [made("upper", item, f"w{item}"), broke("upper", item)]
        told += draw(st.sampled_from([[], *([end] for end in ends)]))
        queues.append(told)
    whole = [("run.queued", None, None, {}), ("run.started", None, None, {})]
    while any(queues):
        whole.append(draw(st.sampled_from([q for q in queues if q])).pop(0))
    return whole


@given(logs(), st.integers(0, 40))
def test_every_prefix_says_what_is_done_and_what_was_lost(events, length):
    prefix = events[:length]
    found = recovered(*prefix)
    found.settle()
    assert found.seq == len(prefix)
    assert found.started == (len(prefix) > 1)
    state: dict[int, str] = {}
    failures: dict[int, int] = {}
    for type, _, item, more in prefix[2:]:
        state[item] = type
        if type == "step.failed":
            failures[item] = failures.get(item, 0) + 1
            if not more["data"].get("will_retry"):
                state[item] = "over"
    done = {item for item, at in state.items() if at in ("step.result", "over")}
    assert found.outcomes.keys() == {("upper", item) for item in done}
    for item, at in state.items():
        outcome, trace = found.outcomes.get(("upper", item)), found.trace("upper", item)
        assert trace.lost == (at == "step.started")
        assert trace.failures == failures.get(item, 0)
        assert not trace.open
        if outcome is not None:
            assert outcome.failed == (at == "over")
            assert outcome.failed or msgspec.json.decode(outcome.raw) == f"w{item}"


@given(logs(), st.integers(0, 40))
def test_reading_a_log_in_two_parts_is_reading_it_whole(events, length):
    whole, parts = recovered(*events), Recovered(GRAPH)
    told = log(*events)
    parts.apply_all(told[:length])
    parts.apply_all(told[length:])
    assert (parts.outcomes, parts.traces) == (whole.outcomes, whole.traces)


def test_nothing_is_known_of_a_step_that_was_not_begun():
    trace = Recovered(GRAPH).trace("upper", 3)
    assert (trace.attempt, trace.lost, trace.digests) == (0, 0, [])


def test_a_worker_that_died_several_times_in_one_step():
    found = recovered(began("upper", 0), began("upper", 0), began("upper", 0))
    assert found.trace("upper", 0).lost == 2
    found.settle()
    found.settle()
    assert found.trace("upper", 0).lost == 3


def test_a_run_handed_back_is_no_failure_of_the_step():
    found = recovered(began("upper", 0), broke("upper", 0, code=INTERRUPTED, will_retry=True))
    found.settle()
    trace = found.trace("upper", 0)
    assert (trace.failures, trace.lost, found.outcomes) == (0, 0, {})


def test_a_fallback_is_still_due():
    found = recovered(began("upper", 0), broke("upper", 0, fallback=True))
    assert found.trace("upper", 0).fallback_due
    assert not found.outcomes


def test_a_yielding_steps_values_are_its_partials():
    found = recovered(began("words"), said(None, "a"), said(None, "b"), made("words", count=2))
    assert found.outcomes["words", None].values == [b'"a"', b'"b"']
    assert found.trace("words", None).digests == [digest(b'"a"'), digest(b'"b"')]


def test_a_second_attempt_that_yields_less():
    found = recovered(
        began("words"),
        said(None, "a"),
        said(None, "b"),
        broke("words", will_retry=True),
        began("words", attempt=2),
        made("words", data=["a"], attempt=2),
    )
    assert found.outcomes["words", None].values == [b'"a"']


def test_a_different_value_undoes_what_was_made_of_it_and_nothing_else():
    before = [
        began("words"),
        said(None, "a"),
        said(None, "b"),
        made("upper", 0, "A"),
        made("upper", 1, "B"),
        made("letters", 0, ["x"]),
        made("letters", 1, ["y"]),
        made("letter", 0, "X"),
        made("letter", 1, "Y"),
        made("book", None, "AB"),
        began("words", attempt=2),
    ]
    same = recovered(*before)
    assert len(same.outcomes) == 7
    changed = recovered(*before, said(None, "c", index=1, attempt=2))
    assert changed.outcomes.keys() == {("upper", 0), ("letters", 0), ("letter", 0)}
    assert changed.trace("words", None).values == [b'"a"', b'"c"']


def test_a_finished_step_that_is_begun_anew_undoes_what_was_made_of_it():
    found = recovered(
        made("upper", 0, "A"),
        made("upper", 1, "B"),
        made("letters", 0, ["x"]),
        made("letter", 0, "X"),
        made("book", None, "AB"),
        began("upper", 0, attempt=2),
    )
    assert found.outcomes.keys() == {("upper", 1)}


def test_an_item_that_is_skipped_has_failed():
    found = recovered(began("upper", 0), broke("upper", 0, code=INPUT_FAILED))
    assert found.outcomes["upper", 0].code == INPUT_FAILED


def test_an_internal_steps_value_was_not_kept():
    found = recovered(began("picture", 0), made("picture", 0))
    assert not found.outcomes
    assert found.trace("picture", 0).finished


def test_an_internal_step_is_unfinished_again_when_what_it_was_made_of_is_superseded():
    found = recovered(
        made("upper", 0, "A"),
        made("upper", 1, "B"),
        began("picture", 0),
        made("picture", 0),
        began("picture", 1),
        made("picture", 1),
        began("upper", 0, attempt=2),
    )
    assert [found.trace("picture", item).finished for item in (0, 1)] == [False, True]


def test_a_step_that_yields_something_new_each_time_is_not_what_kills_its_worker():
    told = []
    for attempt in range(1, 9):
        told += [began("words", attempt=attempt), said(None, f"word {attempt}")]
    found = recovered(*told)
    found.settle()
    assert found.trace("words", None).lost == 1
    found = recovered(*told, *(began("words", attempt=attempt) for attempt in (9, 10)))
    found.settle()
    assert found.trace("words", None).lost == 3


def test_what_nobody_reads_is_not_held():
    found = recovered(made("book", None, "x" * 1000))
    assert found.outcomes["book", None].raw == b"null"


def test_steps_that_the_graph_no_longer_has_are_passed_over():
    found = recovered(began("gone", 0), made("gone", 0, "x"), ("x.own", "gone", 0, {}))
    assert (found.seq, found.outcomes, found.traces) == (3, {}, {})


@given(st.lists(st.none() | st.integers() | st.text() | st.lists(st.text())))
def test_elements_stay_encoded(values):
    assert [msgspec.json.decode(each) for each in elements(encode(values))] == values


def test_what_is_no_list_has_no_elements():
    assert [elements(raw) for raw in (b"null", b"3", b'{"a":[1]}')] == [[], [], []]

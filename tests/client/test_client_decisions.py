"""The client's pure parts: lines, places, patience, and what a refusal says."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.client.errors import LogBroken, refusal
from millstream.client.lines import Lines
from millstream.client.patience import CALM, Patience, Trouble, decide
from millstream.client.place import Place
from millstream.events import Event, encode, notice

contents = st.binary(min_size=1, max_size=40).map(lambda b: b.translate(None, b"\r\n") or b"x")


@given(st.lists(contents), contents, st.lists(st.integers(0, 400)))
def test_lines_are_the_same_however_the_bytes_are_cut(lines, rest, places):
    data = b"".join(line + b"\n" for line in lines) + rest
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    parser = Lines()
    found = [line for a, b in pairwise(edges) for line in parser.feed(data[a:b])]
    assert found == lines
    assert repr(parser) == f"<Lines, {len(rest)} bytes waiting>"


def test_empty_lines_and_carriage_returns_mean_nothing():
    parser = Lines()
    assert parser.feed(b"\n\r\na\r") == []
    assert parser.feed(b"\n\nb\n") == [b"a", b"b"]


def line(seq, type="step.result", run="r"):
    return encode(Event(run=run, seq=seq, type=type))


def test_a_place_takes_a_whole_log():
    place = Place()
    told = notice("r", "log.merged", 2, 4, "")
    for each in [line(1), told, line(5), line(6, "run.completed")]:
        place.take(each)
    assert (place.run, place.cursor, place.ended) == ("r", 6, True)
    assert repr(place) == "<Place in run r at 6 (end)>"


@pytest.mark.parametrize(
    ("after", "wrong", "said"),
    [
        (0, line(2), "position 2 came, and nothing was said"),
        (3, line(3), "position 3 came again"),
        (3, line(2), "position 2 came again"),
        (3, notice("r", "log.gap", 5, 7, ""), "position 5 came"),
        (3, notice("r", "log.gap", 3, 7, ""), "position 3 came"),
        (3, notice("r", "log.gap", 4, 2, ""), "does not say what it covers"),
        (3, encode(Event(run="r", seq=4, type="log.gap")), "does not say what it covers"),
        (3, line(4, run="another"), "an event of run another came"),
        (3, b"<html>", "a line is no event"),
        (3, b'{"run":"r","seq":4', "a line is no event"),
        (3, b"\xff\xfe", "a line is no event"),
    ],
)
def test_what_does_not_continue_the_log_is_refused(after, wrong, said):
    place = Place("r", after)
    with pytest.raises(LogBroken, match=said) as caught:
        place.take(wrong)
    assert (caught.value.run, caught.value.cursor, place.cursor) == ("r", after, after)


def test_nothing_may_follow_the_end():
    place = Place()
    place.take(line(1, "run.failed"))
    with pytest.raises(LogBroken, match="behind the end"):
        place.take(line(2))


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data):
    place, parser = Place(), Lines()
    try:
        for each in parser.feed(data + b"\n"):
            place.take(each)
    except LogBroken:
        pass


# --- patience ------------------------------------------------------------------------------------

PATIENCE = Patience(give_up_after=60, base=0.2, cap=10)


@given(st.integers(0, 2000), st.floats(0, 1), st.floats(0, 59))
def test_pauses_grow_and_stay_under_the_cap(failures, chance, elapsed):
    trouble = Trouble(failures, since=100.0) if failures else CALM
    worse, seconds = decide(PATIENCE, trouble, now=100.0 + elapsed, chance=chance)
    assert worse.failures == failures + 1
    assert seconds is not None
    assert 0 <= seconds <= min(10, 0.2 * 2 ** min(failures, 30))


def test_patience_ends_in_time():
    trouble, now, tries = CALM, 0.0, 0
    while True:
        trouble, seconds = decide(PATIENCE, trouble, now=now, chance=1.0)
        if seconds is None:
            break
        now += seconds
        tries += 1
    assert now == pytest.approx(60)
    assert 8 < tries < 14


def test_the_server_is_taken_at_its_word():
    assert decide(PATIENCE, CALM, now=0, chance=0, at_least=7)[1] == 7
    assert decide(PATIENCE, CALM, now=0, chance=0, at_least=61)[1] is None


def test_no_patience_means_one_try():
    assert decide(Patience(give_up_after=0), CALM, now=5, chance=0.5)[1] is None


# --- refusals ------------------------------------------------------------------------------------


def test_a_problem_document_is_read():
    body = {"detail": "text: is missing", "code": "input_invalid", "retryable": False}
    faults = [{"field": "text", "message": "is missing"}]
    error = refusal(422, {}, json.dumps({**body, "errors": faults}).encode())
    assert (error.code, error.status, error.detail) == ("input_invalid", 422, "text: is missing")
    assert error.errors == faults
    assert error.details() == {"errors": faults}
    assert not error.retryable


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[1]", b'{"errors": 3, "retryable": "?"}', b"\xff"]
)
def test_any_other_body_is_an_error_by_its_status(body):
    error = refusal(502, {"retry-after": "3"}, body)
    assert (error.code, error.retry_after, error.errors) == ("http_502", 3.0, [])
    assert error.detail == "the server answered 502 Bad Gateway"
    assert refusal(799, {"retry-after": "Fri, 20 Nov 2026 08:00:00 GMT"}, body).retry_after is None


@pytest.mark.parametrize(
    ("status", "retryable", "starting", "resuming"),
    [
        (404, None, False, False),
        (422, True, False, False),
        (429, None, True, True),
        (500, False, False, True),
        (500, None, True, True),
        (501, None, False, False),
        (503, False, True, True),
    ],
)
def test_which_refusals_are_worth_another_try(status, retryable, starting, resuming):
    body = json.dumps({} if retryable is None else {"retryable": retryable}).encode()
    error = refusal(status, {}, body)
    assert error.worth_trying_again(resuming=False) is starting
    assert error.worth_trying_again(resuming=True) is resuming

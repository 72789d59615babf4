"""The circuit breaker: its table, and what holds whatever happens."""

from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.core.breaker import TRANSITIONS, Circuit
from millstream.policy import Breaker

POLICY = Breaker(failures=3, per=10, open_for=5)


def test_every_state_knows_what_success_and_failure_mean():
    states = {state for state, _ in TRANSITIONS} | set(TRANSITIONS.values())
    assert {(s, h) for s in states for h in ("success", "failure")} <= TRANSITIONS.keys()


def test_its_life():
    circuit = Circuit(POLICY)
    assert [circuit.failed(at) for at in (0, 9, 10.5, 11)] == [False, False, False, True]
    assert not circuit.allows(15.9)
    assert circuit.reopens(15) == 1
    assert circuit.allows(16)  # the trial
    assert not circuit.allows(16)  # one at a time
    assert circuit.failed(16.5)
    assert not circuit.allows(21)
    assert circuit.allows(21.5)
    assert circuit.succeeded()
    assert circuit.state == "closed"
    assert circuit.allows(21.6)
    assert not circuit.failed(21.7)  # the earlier failures are forgotten


def test_a_trial_that_was_broken_off_makes_way_for_another():
    circuit = Circuit(Breaker(failures=1, per=1, open_for=1))
    circuit.failed(0)
    assert circuit.allows(1)
    circuit.left()
    assert circuit.allows(1)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 4), st.booleans()), max_size=80))
def test_open_lets_nothing_through_and_always_tries_again(calls):
    circuit, now, opened = Circuit(POLICY), 0.0, None
    for pause, well in calls:
        now += pause
        if opened is not None:
            assert circuit.allows(now) == (now - opened >= 5)
            if now - opened < 5:
                continue
        else:
            assert circuit.allows(now)
        if well:
            assert circuit.succeeded() == (opened is not None)
            opened = None
        elif circuit.failed(now):
            opened = now
        assert (circuit.state == "closed") == (opened is None)

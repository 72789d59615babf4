"""Again, and when: the decision, the pauses and the budget."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.core.retry import Again, Budget, GiveUp, decide, pause
from millstream.errors import StepError
from millstream.policy import Retry

POLICIES = st.builds(
    Retry,
    attempts=st.integers(1, 10),
    base=st.floats(0, 10),
    factor=st.floats(1, 5),
    cap=st.floats(0, 100),
    jitter=st.floats(0, 1),
)


@given(POLICIES, st.integers(1, 200), st.floats(0, 1, exclude_max=True))
def test_a_pause_stays_between_the_unjittered_part_and_the_cap(policy, failures, chance):
    found = pause(policy, failures, chance)
    ceiling = min(policy.cap, policy.base * policy.factor ** min(failures - 1, 64))
    assert ceiling * (1 - policy.jitter) - 1e-9 <= found <= ceiling


@given(POLICIES, st.integers(1, 100), st.floats(0, 1, exclude_max=True))
def test_pauses_never_get_shorter(policy, failures, chance):
    assert pause(policy, failures + 1, chance) >= pause(policy, failures, chance) - 1e-9


def test_full_jitter_is_uniform_from_nothing_to_the_ceiling():
    policy = Retry(base=1, factor=2, cap=30, jitter=1)
    assert [pause(policy, 3, chance) for chance in (0.0, 0.5, 0.75)] == [4, 2, 1]


@given(POLICIES, st.integers(1, 20), st.floats(0, 1, exclude_max=True))
def test_it_tries_again_as_long_as_there_are_attempts(policy, failures, chance):
    found = decide(
        policy,
        failures=failures,
        error=ValueError(),
        budget=None,
        chance=chance,
        remaining=None,
    )
    assert isinstance(found, Again) == (failures < policy.attempts)


def choose(policy: Retry | None = None, **changes):
    given = {
        "failures": 1,
        "error": ValueError(),
        "budget": None,
        "chance": 0.0,
        "remaining": None,
        **changes,
    }
    return decide(policy or Retry(attempts=3, base=1, jitter=0), **given)


def test_what_is_not_tried_again():
    assert choose() == Again(1.0)
    assert decide(
        None, failures=1, error=ValueError(), budget=None, chance=0, remaining=None
    ) == GiveUp("no attempts left")
    assert choose(error=StepError("no", retryable=False)) == GiveUp("not retryable")
    only = Retry(attempts=3, base=1, jitter=0, on=(ConnectionError,))
    assert choose(only) == GiveUp("not retryable")
    assert choose(only, error=ConnectionResetError()) == Again(1.0)


@pytest.mark.parametrize(("remaining", "again"), [(1.001, True), (1.0, False), (0.0, False)])
def test_a_pause_that_would_outlast_the_deadline_is_not_begun(remaining, again):
    assert isinstance(choose(remaining=remaining), Again) == again


@given(st.floats(0, 5), st.floats(0, 20), st.lists(st.booleans(), max_size=200))
def test_a_budget_never_allows_more_than_it_was_given(deposit, reserve, moves):
    policy = Retry(budget=deposit, reserve=reserve)
    budget = Budget(policy)
    calls = retries = 0
    for call in moves:
        if call:
            budget.deposit()
            calls += 1
        else:
            retries += budget.withdraw()
        assert 0 <= budget.tokens <= max(1.0, reserve) * 10
        assert retries <= reserve + deposit * calls + 1e-6


def test_an_empty_budget_ends_it_and_keeps_the_token_for_others():
    budget = Budget(Retry(budget=0, reserve=1))
    assert choose(budget=budget) == Again(1.0)
    assert choose(budget=budget) == GiveUp("the retry budget is used up")
    fresh = Budget(Retry(budget=0, reserve=1))
    choose(budget=fresh, error=StepError("no", retryable=False))
    choose(budget=fresh, remaining=0.0)
    assert fresh.tokens == 1  # what is not tried again costs nothing

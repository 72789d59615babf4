"""What is done to single messages: map, filter, split, switch, merge; throttle, sample, debounce;
join; alerts; outputs."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream import NOTHING, In, Out, StepError
from millstream_apps.nodeflow.nodes.alerts import RANKS, AlertConfig, Level, level_of
from millstream_apps.nodeflow.nodes.joining import JoinConfig, Joining
from millstream_apps.nodeflow.nodes.outputs import Entry, Item
from tests.nodeflow.nodes import EPOCH, called, seconds, transformed, values


def now(*messages):
    return [(0.0, message) for message in messages]


def test_map_filter_merge():
    assert values(called("map", {"to": "value * 2"}, now(1, 2))) == [2, 4]
    assert values(called("filter", {"keep": "value % 2"}, now(1, 2, 3))) == [1, NOTHING, 3]
    assert values(called("merge", {}, now(1, "a"))) == [1, "a"]


def test_split_gives_each_element():
    assert values(called("split", {"into": "value.xs"}, now({"xs": [1, 2]}, {"xs": []}))) == [1, 2]
    with pytest.raises(StepError, match="needs a list, not a int"):
        called("split", {}, now(3))


def test_switch_takes_the_first_case_that_holds():
    config = {
        "cases": [{"port": "hot", "when": "value > 30"}, {"port": "warm", "when": "value > 20"}],
        "otherwise": "cold",
    }
    told = values(called("switch", config, now(35, 25, 5)))
    assert told == [Out("hot", 35), Out("warm", 25), Out("cold", 5)]
    with pytest.raises(ValueError, match="a name of its own"):
        called("switch", config | {"otherwise": "hot"}, [])


@pytest.mark.parametrize(
    ("kind", "config"),
    [("map", {"to": "value."}), ("filter", {"keep": "import os"}), ("split", {"into": "x"}),
     ("switch", {"cases": [{"port": "a", "when": "("}]}), ("alert", {"of": "_", "warning": 1}),
     ("chart", {"show": "lambda: 1"}), ("join", {"left_key": "__name__"}),
     ("aggregate", {"of": "[x for x in y]"}), ("log", {"message": "exec('1')"})],
)  # fmt: skip
def test_a_bad_expression_is_refused_with_the_config(kind, config):
    with pytest.raises(ValueError, match="expression"):
        called(kind, config, [])


# --- by time --------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1.5), max_size=40), st.integers(1, 5), st.sampled_from([0.5, 2.0]))
def test_throttle_lets_no_more_than_its_share_through(gaps, count, per):
    moments = [sum(gaps[: at + 1]) for at in range(len(gaps))]
    told = called("throttle", {"count": count, "seconds": per}, [(t, t) for t in moments])
    passed = [t for t, value in told if value is not NOTHING]
    for at, first in enumerate(passed):
        for last in range(at, len(passed)):
            took = passed[last] - first
            assert last - at + 1 <= count + took * count / per + 1e-6
    if moments:
        assert told[0][1] is not NOTHING


def test_sample_by_number_time_and_chance():
    came = [(n / 10, n) for n in range(100)]

    def passed(config):
        return [value for value in values(called("sample", config, came)) if value is not NOTHING]

    assert passed({"every": 25}) == [0, 25, 50, 75]
    assert passed({"by": "time", "seconds": 3}) == [0, 30, 60, 90]
    drawn = passed({"by": "chance", "chance": 0.3, "seed": 1})
    assert drawn == passed({"by": "chance", "chance": 0.3, "seed": 1})
    assert 15 <= len(drawn) <= 45


def test_debounce_gives_the_last_of_each_unrest():
    came = [(0.0, 1), (0.1, 2), (0.2, 3), (2.0, 4), (2.1, 5)]
    assert transformed("debounce", {"seconds": 0.5}, came, end=9) == [(0.7, 3), (2.6, 5)]


def test_debounce_does_not_wait_for_ever_and_loses_nothing_at_the_end():
    came = [(n * 0.2, n) for n in range(10)]
    told = transformed("debounce", {"seconds": 0.5, "most": 1.0}, came)
    assert told[0][0] == pytest.approx(1.0)
    assert values(told)[-1] == 9


# --- join -----------------------------------------------------------------------------------------


def joined(config, *messages):
    told = called("join", config, [(t, In(side, value)) for t, side, value in messages], "inbox")
    return values(told)


def test_join_pairs_by_key():
    left, right = {"key": "a", "x": 1}, {"key": "a", "y": 2}
    told = joined({}, (0, "left", left), (1, "right", {"key": "b"}), (2, "right", right))
    assert told == [Out("out", {"key": "a", "left": left, "right": right})]


def test_newest_serves_again_and_once_does_not():
    messages = [(0, "left", 10), (1, "right", 11), (2, "right", 12)]
    keys = {"left_key": "0", "right_key": "0"}
    newest = joined(keys, *messages)
    assert newest == [
        Out("out", {"key": 0, "left": 10, "right": 11}),
        Out("out", {"key": 0, "left": 10, "right": 12}),
    ]
    assert joined(keys | {"mode": "once"}, *messages) == newest[:1]


def test_who_waits_too_long_leaves_without_partner():
    keys = {"left_key": "value", "right_key": "value", "within": 5}
    told = joined(keys, (0, "left", 1), (3, "left", 2), (6, "right", 1), (7, "right", 2))
    assert told == [
        Out("unmatched", {"key": 1, "left": 1}),
        Out("out", {"key": 2, "left": 2, "right": 2}),
    ]


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.sampled_from(["left", "right"]), st.integers(0, 6)), max_size=60),
    st.integers(1, 4),
    st.floats(0.5, 20),
)
def test_a_join_used_once_keeps_account_of_every_message(messages, keys, within):
    state = Joining(JoinConfig(mode="once", keys=keys, within=within))
    ends: dict[tuple[str, int], int] = {}
    for number, (side, key) in enumerate(messages):
        for out in state.push(side, key, number, float(number)):
            for name in ("left", "right"):
                if name in out.value:
                    ends[name, out.value[name]] = ends.get((name, out.value[name]), 0) + 1
        assert len(state) <= keys
    waiting = {
        (side, value) for sides in state._waiting.values() for side, (_, value) in sides.items()
    }
    assert set(ends.values()) <= {1}
    assert set(ends) | waiting == {(side, number) for number, (side, _) in enumerate(messages)}
    assert not set(ends) & waiting


# --- alerts ---------------------------------------------------------------------------------------


def test_an_alert_is_told_once_and_clears_with_hysteresis():
    config = {"name": "heat", "warning": 30, "critical": 40, "hysteresis": 2}
    told = called("alert", config, [(n, v) for n, v in enumerate([20, 31, 29, 32, 41, 39, 37, 20])])
    changes = [(t, a.previous, a.level, a.value, a.threshold) for t, a in told if a is not NOTHING]
    assert changes == [
        (1, "ok", "warning", 31, 30),
        (4, "warning", "critical", 41, 40),
        (6, "critical", "warning", 37, 40),
        (7, "warning", "ok", 20, 30),
    ]
    assert told[1][1].time == EPOCH + 1


@given(
    st.lists(st.floats(-100, 100)),
    st.floats(-50, 50),
    st.floats(0, 20),
    st.floats(0, 30),
    st.sampled_from([1, -1]),
)
def test_levels_are_those_of_the_thresholds_and_never_milder_with_hysteresis(
    numbers, warning, apart, hysteresis, sign
):
    when, critical = "above" if sign > 0 else "below", warning + sign * apart
    plain = AlertConfig(when=when, warning=warning, critical=critical)
    calm = AlertConfig(when=when, warning=warning, critical=critical, hysteresis=hysteresis)
    level: Level = "ok"
    for number in numbers:
        beyond = [sign * (number - each) >= 0 for each in (critical, warning)]
        said = "critical" if beyond[0] else "warning" if beyond[1] else "ok"
        assert {level_of(plain, number, before) for before in RANKS} == {said}
        level = level_of(calm, number, level)
        assert RANKS[level] >= RANKS[said]


@given(st.lists(st.floats(-100, 100)), st.floats(-50, 50), st.floats(0, 30))
def test_hysteresis_never_makes_more_alerts(numbers, warning, hysteresis):
    changes = []
    for config in (AlertConfig(warning=warning, hysteresis=h) for h in (0.0, hysteresis)):
        levels: list[Level] = ["ok"]
        for number in numbers:
            levels.append(level_of(config, number, levels[-1]))
        changes.append(sum(a != b for a, b in pairwise(levels)))
    assert changes[1] <= changes[0]


def test_an_alert_wants_numbers_and_a_threshold():
    with pytest.raises(ValueError, match="at least one threshold"):
        called("alert", {}, [])
    with pytest.raises(ValueError, match="comes before warning"):
        called("alert", {"warning": 5, "critical": 3}, [])
    with pytest.raises(StepError, match="not a str"):
        called("alert", {"warning": 5}, now("x"))


# --- outputs --------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(st.lists(st.floats(0, 0.05), max_size=60), st.sampled_from([16, 100]), st.integers(3, 50))
def test_a_widget_gets_every_message_in_batches_that_are_apart(gaps, interval, most):
    moments = [sum(gaps[: at + 1]) for at in range(len(gaps))]
    came = list(zip(moments, range(len(gaps)), strict=True))
    told = transformed("chart", {"interval": interval, "most": most}, came, end=1)
    items = [item for batch in values(told) for item in batch]
    assert [item.value for item in items] == list(range(len(gaps)))
    for item, moment in zip(items, moments, strict=True):
        assert item.timestamp == pytest.approx((EPOCH + moment) * 1000, abs=0.2)
    for (earlier, _), (later, batch) in pairwise(told):
        assert later - earlier >= interval / 1000 - 1e-5 or len(batch) == most
    assert all(len(batch) <= most for batch in values(told))


def test_a_lone_message_does_not_wait():
    assert seconds(transformed("chart", {}, [(5.0, 1)], end=1)) == [5.0]


def test_tables_get_rows_and_charts_numbers():
    ((_, (row,)),) = transformed("table", {}, now(7))
    assert row.value == {"value": 7}
    ((_, (row,)),) = transformed("table", {"show": "value.a"}, now({"a": {"b": 1}}))
    assert row.value == {"b": 1}
    ((_, (bad,)), (_, (good,))) = transformed("chart", {}, [(0, "x"), (1, {"a": 2.5})])
    assert (bad.value, "needs numbers, not a str" in bad.metadata["error"]) == (None, True)
    assert good.value == {"a": 2.5}


def test_log_views_show_lines_with_levels():
    messages = now("plain", {"level": "warn", "message": "hm", "details": {"a": 1}}, {"x": 1})
    batches = values(transformed("log-view", {"level": "debug"}, messages))
    entries = [item.value for batch in batches for item in batch]
    assert entries == [
        Entry("debug", "plain"),
        Entry("warn", "hm", {"a": 1}),
        Entry("debug", "{'x': 1}"),
    ]
    assert all(isinstance(item, Item) for batch in batches for item in batch)


def test_log_writes_what_it_is_told_to():
    told = called("log", {"level": "error", "message": "f'{value.a} is bad'"}, now({"a": 3}))
    assert values(told) == [Entry("error", "3 is bad")]

"""Alerts: a pure fold over snapshots, called directly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from millstream.errors import PolicyError
from millstream.observe.debugger.alerts import AlertRules, Threshold, judge
from millstream.observe.debugger.snapshots import (
    Connection,
    Metrics,
    Snapshot,
    SystemMetrics,
)

RULES = AlertRules()


def shown(now=0.0, memory=None, **connections):
    """A snapshot; each connection by its metrics."""
    made = tuple(Connection(id, Metrics(**metrics)) for id, metrics in connections.items())
    return Snapshot(now, made, SystemMetrics(memory_usage=memory))


def folded(snapshots, rules=RULES):
    """What each snapshot changed, as (fired, cleared) names; and what is open at the end."""
    open_, told = {}, []
    for now, each in enumerate(snapshots):
        judged = judge(rules, each, open_, float(now))
        open_ = judged.open
        told.append(
            (
                [(a.type, a.severity) for a in judged.fired],
                [(a.type, a.severity) for a in judged.cleared],
            )
        )
    return told, open_


def full(fill):
    return shown(a={"buffer_utilization": fill})


def test_the_documented_thresholds():
    assert RULES.latency == Threshold(100, 500)
    assert RULES.error_rate == Threshold(0.05, 0.15)
    assert RULES.backpressure == Threshold(0.7, 0.9)


@pytest.mark.parametrize(
    ("metrics", "type"),
    [
        ({"average_latency": 100.0, "latency_count": 1}, "high_latency"),
        ({"error_rate": 0.05}, "high_error_rate"),
        ({"buffer_utilization": 0.7}, "backpressure"),
    ],
)
def test_each_kind_fires_at_its_threshold_and_clears(metrics, type):
    told, open_ = folded([shown(a={}), shown(a=metrics), shown(a=metrics), shown(a={})])
    assert told == [([], []), ([(type, "warning")], []), ([], []), ([], [(type, "warning")])]
    assert open_ == {}


def test_memory_is_of_the_process():
    told, open_ = folded([shown(memory=0.81), shown(memory=0.96)])
    assert told == [([("memory_usage", "warning")], []), ([("memory_usage", "critical")], [])]
    (alert,) = open_.values()
    assert alert.connection_id is None
    assert alert.since == 0.0 < alert.timestamp


def test_it_grows_critical_falls_back_and_clears_well_below_the_warning():
    told, _ = folded([full(x) for x in (0.75, 0.95, 0.85, 0.8, 0.65, 0.62)])
    name = "backpressure"
    assert told == [
        ([(name, "warning")], []),
        ([(name, "critical")], []),
        ([], []),  # above 0.9 of its threshold: still critical
        ([(name, "warning")], []),
        ([], []),
        ([], [(name, "warning")]),
    ]


def test_what_is_not_known_changes_nothing():
    slow = {"average_latency": 600.0, "latency_count": 3}
    stands = {"waiting_messages": 10}  # nobody took any: no latency was measured
    told, open_ = folded([shown(a=slow), shown(a=stands), shown(a={})])
    assert told[1] == ([], [])
    assert told[2] == ([], [("high_latency", "critical")])
    assert not open_


def test_a_connection_that_is_gone_clears_its_alerts():
    told, open_ = folded([full(1.0), shown()])
    assert told[1] == ([], [("backpressure", "critical")])
    assert not open_


def test_an_alert_says_where_what_and_from_where_on():
    judged = judge(RULES, full(0.95), {}, 5.0)
    (alert,) = judged.fired
    assert alert.connection_id == "a"
    assert (alert.value, alert.threshold, alert.timestamp) == (0.95, 0.9, 5.0)
    assert alert.message == "a: the buffer is 95% full, from 90% on critical"
    (cleared,) = judge(RULES, full(0.0), judged.open, 6.0).cleared
    assert (cleared.cleared, cleared.since) == (6.0, 5.0)


@given(st.lists(st.floats(0, 1), max_size=30), st.floats(0.1, 1))
def test_any_course_of_values(fills, ease):
    """Fired and cleared alternate; what is open is what the values say, by the rules."""
    rules = AlertRules(ease=ease)
    open_, level = {}, None
    for now, fill in enumerate(fills):
        judged = judge(rules, full(fill), open_, float(now))
        assert len(judged.fired) + len(judged.cleared) <= 1
        for alert in judged.fired:
            assert alert.severity != level
            assert alert.cleared is UNSET
            level = alert.severity
        for alert in judged.cleared:
            assert alert.severity == level
            level = None
        open_ = judged.open
        assert [a.severity for a in open_.values()] == ([] if level is None else [level])
        if fill >= 0.9:
            assert level == "critical"
        if fill >= 0.7:
            assert level is not None
        if fill < 0.7 * ease:
            assert level is None


@pytest.mark.parametrize("wrong", [(0, 1), (2, 1), (-1, 0)])
def test_thresholds_are_checked(wrong):
    with pytest.raises(PolicyError, match="0 < warning <= critical"):
        Threshold(*wrong)
    with pytest.raises(PolicyError, match="ease"):
        AlertRules(ease=0)

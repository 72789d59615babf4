"""Records: once a run, whatever is tried twice; each to its owner; the later word counts."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from millstream import NotFound
from millstream_apps.appraise.records import STATES, Entry, Records, pin_of
from millstream_apps.appraise.tables import engine_of, metadata


def entry(run, **more):
    values = {
        "session_id": "261120080000",
        "reference": "star",
        "name": "Star of the North",
        "characters": "Ada",
        "verdict": "authentic",
        "authentic": True,
        "rating": 91.5,
        "confidence": 0.93,
        "note": None,
        "parts": {"pricing": {"summary": None}, "failed": []},
    }
    return Entry(run=run, **(values | more))


@pytest.fixture
def records(tmp_path):
    return Records(f"sqlite:///{tmp_path}/appraise.db")


def test_many_workers_write_one_record(records):
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda _: records.write(entry("r1")), range(40)))
    assert len(set(numbers)) == 1
    assert records.count() == 1
    found = records.get(numbers[0])
    assert (found.request_id, found.name, found.authenticity_rating) == (
        "r1",
        "Star of the North",
        91.5,
    )
    assert found.parts["failed"] == []
    assert found.state == "provisional"


def test_no_verdict_is_kept_as_none(records):
    number = records.write(entry("r2", verdict="undetermined", authentic=None, rating=None))
    found = records.get(number)
    assert (found.verdict, found.authentic, found.authenticity_rating) == (
        "undetermined",
        None,
        None,
    )


def test_everybody_sees_only_their_own(records):
    mine = records.write(entry("mine"), owner="ada")
    theirs = records.write(entry("theirs"), owner="bob")
    assert [each.id for each in records.list(owner="ada")] == [mine]
    assert {each.id for each in records.list()} == {mine, theirs}
    for act in (
        lambda: records.get(theirs, owner="ada"),
        lambda: records.confirm(theirs, "agree", "", owner="ada"),
        lambda: records.say(theirs, "agree", "", owner="ada"),
        lambda: records.said(theirs, owner="ada"),
    ):
        with pytest.raises(NotFound, match=str(theirs)):
            act()
    records.say(theirs, "disagree", "no", owner="bob")
    assert list(records.said(owner="ada")) == []


def test_pages_are_there_before_the_record_and_replace_each_other(records):
    records.put_pages("r3", {"front": "<p>1", "back": "<p>2"})
    records.put_pages("r3", {"front": "<p>3"})
    assert (records.page("r3", "front"), records.page("r3", "back")) == ("<p>3", None)
    assert records.page("other", "front") is None


def test_the_tables_are_postgresqls_too():
    for table in metadata.sorted_tables:
        said = str(CreateTable(table).compile(dialect=postgresql.dialect()))
        assert f"CREATE TABLE {table.name}" in said


class Model(RuleBasedStateMachine):
    """What is kept against what a plain dictionary says."""

    @initialize()
    def begin(self):
        engine_of.cache_clear()
        self.records = Records("sqlite://")
        self.runs, self.states, self.said = {}, {}, {}

    @rule(run=st.sampled_from("abcdef"))
    def write(self, run):
        number = self.records.write(entry(run))
        assert self.runs.setdefault(run, number) == number
        self.states.setdefault(number, "provisional")
        self.said.setdefault(number, [])

    @rule(at=st.integers(0, 5), word=st.sampled_from(["agree", "disagree"]), again=st.booleans())
    def speak(self, at, word, again):
        if not self.states:
            return
        number = sorted(self.states)[at % len(self.states)]
        if again:
            self.records.confirm(number, word, "sure")
            self.states[number] = STATES[word]
            mine = [s for s in self.said[number] if s[0] != "confirm"]
            self.said[number] = [*mine, ("confirm", word)]
        else:
            self.records.say(number, word, "hm")
            self.said[number].append(("feedback", word))

    @invariant()
    def agrees(self):
        if not hasattr(self, "records"):
            return
        found = {each.id: each.state for each in self.records.list()}
        assert found == self.states
        for state in set(self.states.values()):
            listed = {each.id for each in self.records.list(state=state)}
            assert listed == {number for number, s in self.states.items() if s == state}
        for number, said in self.said.items():
            kept = [(s.source, s.user_agreement) for s in self.records.said(number)]
            assert kept[::-1] == said
            assert all(s.pin_id == pin_of(number) for s in self.records.said(number))


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)

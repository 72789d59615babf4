"""Pages and fragments: whatever the catalogue says, they are safe, and say what was found."""

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from millstream_apps.appraise import fragments
from millstream_apps.appraise.engine import verdict
from millstream_apps.appraise.models import Card, Identified, Pictures, Pricing, Verdict
from millstream_apps.appraise.page import along, page
from millstream_apps.appraise.prices import comparable, summarise
from millstream_apps.appraise.recognition.models import (
    VIEWS,
    Abstention,
    Authenticity,
    Candidate,
    Evidence,
    Match,
)
from tests.appraise.conftest import sales
from tests.appraise.eyes import EVIDENCE, GEOMETRY, SEEN, UNSEEN, VERDICT, picture
from tests.appraise.test_appraise_markup import NASTY, runs_nothing

cards = st.builds(Card, NASTY, NASTY, st.lists(NASTY, max_size=4).map(tuple), NASTY, NASTY, NASTY)
candidates = st.lists(
    st.builds(Candidate, st.sampled_from(["a", "b", "<c>"]), st.floats(0, 1), st.integers(0, 99)),
    max_size=8,
).map(tuple)
matches = st.builds(
    lambda card, others: Identified(
        Match(card.id, 0.9, others, (GEOMETRY,)), card, {"a": "<script>x</script>"}
    ),
    cards,
    candidates,
)
abstentions = st.builds(
    lambda reason, said, others: Identified(Abstention(reason, said, others), None, {}),
    st.sampled_from(["no_match", "close_candidates", "unreadable"]),
    NASTY,
    candidates,
)
evidence = st.lists(
    st.builds(
        Evidence,
        NASTY,
        NASTY,
        st.sampled_from(VIEWS),
        st.floats(-1e6, 1e6),
        NASTY,
        st.floats(-1e6, 1e6),
        st.sampled_from(["agrees", "doubtful", "differs"]),
        NASTY,
    ),
    max_size=9,
).map(tuple)
WEBP = picture("WEBP")
SHOWN = Pictures("front", picture(), 60, 45, GEOMETRY.outline, WEBP, WEBP)


def priced() -> Pricing:
    found = comparable(sales())
    summary = summarise(found)
    return Pricing(fragments.pricing(summary, found), summary, found)


@given(matches | abstentions, evidence, NASTY, st.sampled_from(VIEWS))
@settings(deadline=None)
def test_a_page_is_safe_and_marks_each_piece_of_evidence(identified, found, note, view):
    told = replace(VERDICT, evidence=found, note=note)
    seen = runs_nothing(page(view, identified, told, replace(SHOWN, view=view), priced()))
    mine = [each for each in found if each.view == view]
    marks = [value for name, value in seen.attributes if name == "class" and "mark " in value]
    assert marks == [f"mark {each.reading}" for each in mine]
    for each in mine:
        assert f"{each.value:.4g}" in seen.said
        assert f"limit {each.threshold:.4g}" in seen.said
    assert ("Median" in seen.said) == (view == "front")


@given(matches | abstentions)
def test_fragments_are_safe_and_small_enough_for_a_packet(identified):
    for make in (fragments.identification, fragments.details):
        html = make(identified)
        runs_nothing(html)
        assert type(html) is str
    assert len(fragments.characters(identified)) <= 400
    runs_nothing(fragments.failure("Pricing", "<script>"))


def test_usual_fragments_stay_far_below_a_packet():
    parts = [fragments.identification(SEEN), fragments.details(SEEN), priced().pricing]
    assert sum(map(len, parts)) < 4000


def test_nothing_is_made_up_where_there_is_nothing():
    told = Verdict("undetermined", None, None, 0.0, "none", "No verdict: too dark", "unreadable")
    seen = runs_nothing(page("front", UNSEEN, told, None, None))
    assert "No verdict" in seen.said
    assert "too dark" in seen.said
    assert "rating" not in seen.said
    assert "The price could not be determined." in seen.said
    assert "The pictures could not be shown." in seen.said
    no_sales = runs_nothing(
        page("front", SEEN, VERDICT, SHOWN, Pricing(fragments.pricing(None, ())))
    )
    assert "No price: the catalogue has no sales" in no_sales.said


def test_what_was_not_measured_is_no_verdict():
    found = verdict(Authenticity(True, 50.0, 0.5, (), "full"))
    assert (found.verdict, found.authentic, found.authenticity_rating, found.confidence) == (
        "undetermined",
        None,
        None,
        0,
    )
    assert found.reason == "no_evidence"
    unclear = verdict(Authenticity(None, 45.0, 0.55, EVIDENCE, "full", "too soft"))
    assert (unclear.verdict, unclear.authentic, unclear.authenticity_rating) == (
        "undetermined",
        None,
        None,
    )
    assert (unclear.reason, unclear.note) == ("unclear", "No verdict: too soft")
    assert unclear.evidence == EVIDENCE  # what was measured is shown all the same
    measured = verdict(Authenticity(False, 12.345, 0.87655, EVIDENCE, "quick"))
    assert (measured.verdict, measured.authentic) == ("not_authentic", False)
    assert (measured.authenticity_rating, measured.confidence) == (12.3, 0.8766)
    assert measured.note


@given(st.integers(0, 20))
def test_marks_lie_on_the_outline(count):
    square = [(0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0)]
    places = along(square, count)
    assert len(set(places)) == count
    for x, y in places:
        assert x in (0, 10) or y in (0, 10)
        assert 0 <= x <= 10
        assert 0 <= y <= 10
    assert along([], count) == []

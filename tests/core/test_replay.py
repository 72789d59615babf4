"""What a reader gets next, and what a lagging one is spared."""

from hypothesis import given
from hypothesis import strategies as st

from millstream.core.replay import Edge, decide, gap, merge, take
from millstream.events import LOG_GAP, LOG_MERGED, STEP_PROGRESS, Event, Segment, decode, encode

POSITIONS = st.integers(0, 30)


@st.composite
def edges(draw):
    last = draw(st.integers(1, 30))
    first = draw(st.integers(1, last))
    held = draw(st.integers(first, last + 1))
    return Edge(first=first, last=last, held=held, ended=draw(st.booleans()))


@given(POSITIONS, edges())
def test_every_cursor_has_one_next_move(cursor, edge):
    found = decide(cursor, edge)
    if cursor >= edge.last:
        assert found == ("end" if edge.ended else "wait")
    elif cursor + 1 < edge.first:
        assert found == "gap"
    elif cursor + 1 >= edge.held:
        assert found == "tail"
    else:
        assert found == "store"


@given(POSITIONS, edges())
def test_following_the_moves_leads_to_the_end_without_a_seam(cursor, edge):
    told = min(cursor, edge.last)
    cursor = told
    for _ in range(100):
        match decide(cursor, edge):
            case "gap":
                notice = decode(gap("r", cursor, edge.first, "t"))
                assert (notice.type, notice.value["from"]) == (LOG_GAP, cursor + 1)
                assert notice.seq == notice.value["to"] == edge.first - 1
                cursor = notice.seq
            case "store":
                cursor = min(edge.held - 1, edge.last)
            case "tail":
                cursor = edge.last
            case _:
                break
    assert cursor == edge.last


EVENTS = st.lists(
    st.tuples(
        st.sampled_from([STEP_PROGRESS, STEP_PROGRESS, "step.partial", "step.failed", "x.own"]),
        st.sampled_from(["a", "b"]),
        st.none() | st.integers(0, 1),
        st.sampled_from(["", STEP_PROGRESS, "long" * 50]),
    ),
    max_size=40,
)


def lines(events, first):
    return [
        encode(Event(run="r", seq=first + n, type=type, step=step, item=item, data={"t": text}))
        for n, (type, step, item, text) in enumerate(events)
    ]


@given(EVENTS, st.integers(1, 1000))
def test_merging_covers_every_position_and_drops_only_superseded_progress(events, first):
    original = lines(events, first)
    merged = merge("r", original, first, "t")
    cursor = first - 1
    kept = []
    for line in merged:
        event = decode(line)
        if event.type == LOG_MERGED:
            start, end = event.value["from"], event.value["to"]
            assert event.seq == end
            for seq in range(start, end + 1):
                assert decode(original[seq - first]).type == STEP_PROGRESS
        else:
            start = event.seq
            assert line == original[event.seq - first]
            kept.append(event)
        assert start == cursor + 1
        cursor = event.seq
    assert cursor == first + len(original) - 1
    everything = [decode(line) for line in original]
    assert [e for e in kept if e.type != STEP_PROGRESS] == [
        e for e in everything if e.type != STEP_PROGRESS
    ]
    newest = {(e.step, e.item): e.seq for e in everything if e.type == STEP_PROGRESS}
    assert [e.seq for e in kept if e.type == STEP_PROGRESS] == sorted(newest.values())


@given(EVENTS)
def test_nothing_to_merge_is_left_as_it_is(events):
    original = lines([e for e in events if e[0] != STEP_PROGRESS], 1)
    assert merge("r", original, 1, "t") == original


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(0, 40))
def test_taking_what_is_behind_a_cursor(sizes, cursor):
    segments, first = [], 1
    for size in sizes:
        segments.append(Segment(first, tuple(b"%d" % n for n in range(first, first + size))))
        first += size
    found = [int(line) for segment in take(segments, cursor) for line in segment.events]
    assert found == [n for n in range(1, first) if n > cursor]

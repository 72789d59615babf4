"""From a scan to the response and on to other tools' texts, without any picture."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream_apps.decklists.assemble import assemble, join_lines, section_of
from millstream_apps.decklists.cards import CardTable
from millstream_apps.decklists.export import parse_text, to_csv, to_text
from millstream_apps.decklists.matching import Matcher, plain_line
from millstream_apps.decklists.models import SECTIONS, DecklistResponse
from millstream_apps.decklists.recogniser import ctc_probability
from millstream_apps.decklists.scan import Cell, Scan, ScanRow

TABLE = CardTable.load()
MATCHER = Matcher(TABLE)
EMPTY = Scan("0" * 64, 1080, 4000, (), (), (), None, ())
UNITS = [name for name, card in TABLE.by_name.items() if card.type_en == "Unit"]


def cell(text: str, quantity: int | None = 1, **flags: bool) -> Cell:
    return Cell(tuple(plain_line(part) for part in text.split(", ") if part), quantity, **flags)


def row(*cells: Cell, heading: str | None = None, follows: bool | None = None) -> ScanRow:
    line = plain_line(heading) if heading else None
    return ScanRow(cells, line, heading is None if follows is None else follows)


def built(*rows: ScanRow, **fields: object) -> DecklistResponse:
    return assemble(replace(EMPTY, rows=rows, **fields), MATCHER)


def shown(response: DecklistResponse) -> dict[str, list[tuple[str, int]]]:
    return {
        name: [(entry.name_cn, entry.quantity) for entry in response.section(name)]
        for name in SECTIONS
        if response.section(name)
    }


def test_an_empty_scan_is_an_empty_deck() -> None:
    response = assemble(EMPTY, TABLE)
    assert shown(response) == {}
    assert response.stats.model_dump() == {"total_cards": 0, "matched_cards": 0, "accuracy": 0.0}
    assert set(response.metadata.model_dump().values()) == {None}
    assert to_text(response) == ""


def test_copies_are_counted_not_boxes() -> None:
    response = built(row(cell("闪现", 3), cell("无此牌名", 1), heading="主牌组"))
    assert response.stats.model_dump() == {"total_cards": 4, "matched_cards": 3, "accuracy": 75.0}
    (left,) = response.unmatched
    assert left.model_dump() == {"name_cn": "无此牌名", "section": "main_deck", "quantity": 1}


def test_a_rune_in_two_boxes_is_summed_and_others_are_not() -> None:
    response = built(
        row(cell("摧破符文", 1), cell("摧破符文", 6), heading="符文牌"),
        row(cell("序理符文", 5)),
        row(cell("闪现", 1), cell("闪现", 1), heading="备牌"),
    )
    assert shown(response) == {
        "runes": [("摧破符文", 7), ("序理符文", 5)],
        "side_deck": [("闪现", 1), ("闪现", 1)],
    }


def test_a_sum_beyond_twelve_is_left_as_two_boxes() -> None:
    response = built(row(cell("摧破符文", 8), cell("摧破符文", 6), heading="符文牌"))
    assert shown(response) == {"runes": [("摧破符文", 8), ("摧破符文", 6)]}


def test_a_quantity_that_cannot_be_told_is_not_made_up() -> None:
    response = built(row(cell("闪现", None), cell("焚烧", 2), heading="主牌组"))
    assert shown(response) == {"main_deck": [("焚烧", 2)]}
    assert [entry.name_cn for entry in response.unmatched] == ["闪现"]


@pytest.mark.parametrize(("text", "section"), [
    ("传奇牌", "legend"), ("主牌组", "main_deck"), ("战场牌", "battlefields"),
    ("符文牌", "runes"), ("备牌", "side_deck"), ("主脾组", "main_deck"), ("符文", "runes"),
    ("各牌", "side_deck"), ("牌", "side_deck"), ("设置", None), ("", None),
])  # fmt: skip
def test_headings(text: str, section: str | None) -> None:
    assert section_of(plain_line(text)) == section


def test_without_headings_the_types_tell_the_sections() -> None:
    response = built(
        row(cell("腕豪"), follows=False),
        row(cell("闪现", 2), follows=False),
        row(cell("圣化之墓"), follows=False),
        row(cell("摧破符文", 12), follows=False),
    )
    assert list(shown(response)) == ["legend", "main_deck", "battlefields", "runes"]


def test_a_seam_at_the_usual_distance_is_known_by_the_cards() -> None:
    main = (row(cell("闪现", 2), cell("焚烧", 3), heading="主牌组"), row(cell("烈火风暴")))
    runes = (row(cell("摧破符文", 12), heading="符文牌"),)
    response = built(*main, *runes, main[1], *runes)
    assert shown(response) == shown(built(*main, *runes))
    assert response.unmatched == []


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.sampled_from(UNITS), min_size=4, max_size=20, unique=True),
    st.data(),
)
def test_an_overlap_of_two_screens_counts_once(names: list[str], data: st.DataObject) -> None:
    cells = [cell(name, 1 + at % 3) for at, name in enumerate(names)]
    rows = [row(*cells[at : at + 2]) for at in range(0, len(cells), 2)]
    rows[0] = replace(rows[0], heading=plain_line("主牌组"), follows=False)
    upto = data.draw(st.integers(1, len(rows)))
    again = data.draw(st.integers(0, upto - 1))
    second = [replace(rows[again], follows=False), *rows[again + 1 :]]
    assert shown(built(*rows[:upto], *second)) == shown(built(*rows))


@given(st.lists(st.sampled_from(UNITS), min_size=2, max_size=2, unique=True))
def test_equal_boxes_in_different_rows_stay(names: list[str]) -> None:
    one, two = names
    rows = (row(cell(one), cell(two), heading="主牌组"), row(cell("闪现"), cell(two)))
    assert shown(built(*rows))["main_deck"] == [(one, 1), (two, 1), ("闪现", 1), (two, 1)]


def test_of_a_cut_and_a_whole_copy_the_whole_one_counts() -> None:
    cut = cell("闪现", 1, whole_quantity=False)
    rows = (row(cell("焚烧", 2), heading="主牌组"), row(cut), row(cell("闪现", 3), follows=False))
    assert shown(built(*rows)) == {"main_deck": [("焚烧", 2), ("闪现", 3)]}
    assert built(*rows).unmatched == []


@pytest.mark.parametrize(("details", "event", "date"), [
    (("第一赛季区域公开赛-杭州赛区", "2025-09-13"), "第一赛季区域公开赛-杭州赛区", "2025-09-13"),
    (("门店赛 2025.9.3",), "门店赛", "2025-09-03"),
    (("2025年1月31日",), None, "2025-01-31"),
    (("年度总决赛暨邀", "请赛", "2024-02-29"), "年度总决赛暨邀请赛", "2024-02-29"),
    (("Open", "Cup"), "Open Cup", None),
    (("2025-13-41",), None, None),
    (("成都赛区 (决赛)",), "成都赛区（决赛）", None),
    ((), None, None),
])  # fmt: skip
def test_event_and_date(details: tuple[str, ...], event: str | None, date: str | None) -> None:
    metadata = built(details=tuple(map(plain_line, details))).metadata
    assert (metadata.event, metadata.date) == (event, date)


def test_wrapped_lines_are_joined_as_their_script_wants() -> None:
    assert join_lines(["一二", "三四"]) == "一二三四"
    assert join_lines(["mid", "range"]) == "mid range"
    assert join_lines(["版本", "t0", ""]) == "版本t0"


decks = st.lists(
    st.tuples(st.sampled_from(sorted(TABLE.by_name)), st.integers(1, 12)), max_size=12, unique=True
)


@settings(max_examples=80, deadline=None)
@given(decks)
def test_exports_tell_what_the_decklist_holds(cards: list[tuple[str, int]]) -> None:
    rows = [row(cell(name, copies), follows=False) for name, copies in cards]
    response = built(*rows)
    told = parse_text(to_text(response))
    assert told == {
        name: [(entry.quantity, entry.name_en) for entry in response.section(name)]
        for name in SECTIONS
        if response.section(name)
    }
    lines = list(csv.DictReader(io.StringIO(to_csv(response))))
    assert sum(int(line["Normal"]) for line in lines) == response.stats.matched_cards
    assert len({line["Card ID"] for line in lines}) == len(lines)
    assert {line["Foil"] for line in lines} <= {"0"}


def test_the_text_export_to_the_letter() -> None:
    response = built(
        row(cell("腕豪"), heading="传奇牌"),
        row(cell("闪现", 3), cell("无此牌名", 2), heading="主牌组"),
    )
    assert to_text(response) == (
        "Legend:\n1 The Boss\n\nMain Deck:\n3 Flash\n\n# Unmatched:\n# 2 无此牌名\n"
    )
    assert to_csv(response) == "Card ID,Normal,Foil\nOGN·269/298,1,0\nOGS·011/024,3,0\n"


def test_a_text_that_is_no_export_is_refused_by_its_line() -> None:
    with pytest.raises(ValueError, match="line 2"):
        parse_text("Runes:\nseven Body Rune\n")


def test_ctc_probability_by_counting_paths() -> None:
    posterior = np.array([[0.6, 0.4], [0.3, 0.7]], np.float32)
    # Over two frames "a" is a-, -a and aa; nothing is --; "aa" would need a blank between.
    paths = 0.4 * 0.3 + 0.6 * 0.7 + 0.4 * 0.7
    assert ctc_probability(posterior, [1]) == pytest.approx(paths)
    assert ctc_probability(posterior, [1, 1]) == 0

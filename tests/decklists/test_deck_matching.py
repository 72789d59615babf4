"""Which card a text means: by direct calls, and properties over the whole table."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream_apps.decklists.cards import CardTable
from millstream_apps.decklists.matching import Matcher, fold, plain_line, reading_cost
from millstream_apps.decklists.models import Section
from millstream_apps.decklists.reading import Glyph, Line

TABLE = CardTable.load()
MATCHER = Matcher(TABLE)
NAMES = sorted(TABLE.by_name)
FOLDED = {fold(name) for name in NAMES}
CHARACTERS = sorted({c for name in NAMES for c in name if c.isalnum()})


def doubtful(text: str, at: int, *alternatives: tuple[str, float]) -> Line:
    glyphs: list[Glyph] = [((c, 1.0),) for c in text]
    glyphs[at] = alternatives
    return Line("".join(g[0][0] for g in glyphs), 0.9, tuple(glyphs))


@pytest.mark.parametrize("name", NAMES)
def test_every_name_of_the_table_means_itself(name: str) -> None:
    match = MATCHER.match_text(name)
    assert match is not None
    assert match.card is TABLE.by_name[name]
    assert (match.type, match.score, match.printed) == ("exact_full", 100.0, name)


@pytest.mark.parametrize(("text", "name", "kind"), [
    ("瑟提，铁拳", "瑟提, 铁拳", "exact_full"),
    ("瑟提铁拳", "瑟提, 铁拳", "comma_inserted"),
    ("瑟提 , 魁首", "瑟提, 魁首", "exact_full"),
    ("\"敲\"诈", "“敲”诈", "exact_full"),
    ("秘奥义! 慈悲度魂落", "秘奥义！慈悲度魂落", "exact_full"),
    ("秘奥义！慈悲度, 魂落", "秘奥义！慈悲度魂落", "exact_full"),
    ("菲奧娜, 所向披靡", "菲奥娜, 所向披靡", "fuzzy_full"),
    ("薇恩", "薇恩, 追猎者", "base_name"),
])  # fmt: skip
def test_ways_of_writing(text: str, name: str, kind: str) -> None:
    match = MATCHER.match_text(text)
    assert match is not None
    assert (match.card.name_cn, match.type) == (name, kind)


def test_a_starter_legends_subtitle_is_printed_though_the_table_lacks_it() -> None:
    match = MATCHER.match_text("无极剑圣, 入门", "legend")
    assert match is not None
    assert match.card.card_number == "OGS·019/024"
    assert (match.type, match.printed) == ("base_name", "无极剑圣, 入门")
    assert 0 < match.score < 100


@pytest.mark.parametrize("text", [
    "薇恩, 暗夜猎手",  # the only Vayne of the table has another subtitle
    "瑟提, 腕豪之王", "瑟提",  # two cards of this base name
    "提伯斯, 小熊",  # no legend: a new card, not the old one
    "蒙多医生, 主任大夫",  # one letter off, but clearly read
    "完全不同的名字", "", "，", "x3", "入门",
])  # fmt: skip
def test_what_is_not_sure_is_not_matched(text: str) -> None:
    assert MATCHER.match_text(text) is None


def test_an_unreadable_subtitle_leaves_the_only_card_of_its_name() -> None:
    blurred = Line("目口", 0.2, ((("目", 0.2),), (("口", 0.2),)))
    match = MATCHER.match([plain_line("薇恩"), blurred])
    assert match is not None
    assert (match.card.name_cn, match.type) == ("薇恩, 追猎者", "base_name")
    assert MATCHER.match([plain_line("瑟提"), blurred]) is None


@pytest.mark.parametrize(("text", "section", "found"), [
    ("摧破符文", "runes", True), ("摧破符文", "main_deck", False),
    ("腕豪", "legend", True), ("腕豪", "battlefields", False),
    ("圣化之墓", "battlefields", True), ("圣化之墓", "side_deck", False),
    ("闪现", "side_deck", True), ("闪现", "runes", False), ("闪现", None, True),
])  # fmt: skip
def test_a_section_limits_the_type(text: str, section: Section | None, found: bool) -> None:
    assert (MATCHER.match_text(text, section) is not None) is found


def test_the_section_decides_between_names_one_letter_apart() -> None:
    assert MATCHER.match_text("诺克萨斯口手") is None
    doubt = doubtful("诺克萨斯口手", 4, ("口", 0.5), ("之", 0.2), ("鼓", 0.2))
    legend = MATCHER.match([doubt], "legend")
    unit = MATCHER.match([doubt], "main_deck")
    assert legend is not None
    assert unit is not None
    assert (legend.card.name_cn, unit.card.name_cn) == ("诺克萨斯之手", "诺克萨斯鼓手")


def test_alternatives_make_a_doubtful_letter_readable() -> None:
    assert MATCHER.match([plain_line("蔓视")]) is None
    match = MATCHER.match([doubtful("蔓视", 0, ("蔓", 0.6), ("蔑", 0.35))])
    assert match is not None
    assert match.card.name_cn == "蔑视"
    assert 85 <= match.score < 100


@pytest.mark.parametrize(("name", "number"), [
    ("摧破符文", "OGN·126/298"), ("腕豪", "OGN·269/298"), ("奥术先驱", "OGN·265/298"),
    ("提莫, 斥候", "OGN·197/298"), ("班德尔树", "OGN·278/298"), ("迅捷斥候", "OGN·263/298"),
    ("金克丝, 反抗者", "OGN·202/298"),
])  # fmt: skip
def test_of_several_printings_the_base_one_is_chosen(name: str, number: str) -> None:
    assert TABLE.by_name[name].card_number == number


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([name for name in NAMES if len(fold(name)) >= 4]),
    st.sampled_from(CHARACTERS),
    st.randoms(use_true_random=False),
)
def test_one_wrong_character_never_makes_another_card(
    name: str, character: str, rng: random.Random
) -> None:
    places = [at for at, c in enumerate(name) if c.isalnum()]
    at = rng.choice(places)
    kind = rng.choice(("replace", "drop", "add"))
    middle = {"replace": character, "drop": "", "add": character + name[at]}[kind]
    text = name[:at] + middle + name[at + 1 :]
    if fold(text) in FOLDED:
        return  # the error made another card's very name
    match = MATCHER.match_text(text)
    assert match is None or match.card.name_cn == name


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(NAMES),
    st.sampled_from(CHARACTERS),
    st.floats(0.05, 0.45),
    st.randoms(use_true_random=False),
)
def test_a_name_whose_letter_is_the_second_guess_is_found_or_left(
    name: str, character: str, second: float, rng: random.Random
) -> None:
    parts = name.split(", ")
    part = rng.randrange(len(parts))
    letters = [at for at, c in enumerate(parts[part]) if c.isalnum()]
    at = rng.choice(letters)
    lines = [plain_line(text) for text in parts]
    lines[part] = doubtful(parts[part], at, (character, 0.5), (parts[part][at], second))
    if fold("".join(line.text for line in lines)) in FOLDED:
        return
    match = MATCHER.match(lines)
    assert match is None or match.card.name_cn == name
    if len(fold(name)) >= 4 and match is None:
        rivals = [other for other in FOLDED if other != fold(name)]
        glyphs = [g for line in lines for g in line.glyphs if g[0][0].isalnum()]
        assert min(reading_cost(glyphs, other) for other in rivals) < 1.1


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=12))
def test_any_text_is_matched_or_not_without_an_error(text: str) -> None:
    match = MATCHER.match_text(text)
    assert match is None or 85 <= match.score <= 100


@given(st.sampled_from(NAMES), st.sampled_from(NAMES))
def test_the_cost_of_a_full_reading_is_an_edit_distance(one: str, other: str) -> None:
    a, b = fold(one), fold(other)
    cost = reading_cost(plain_line(a).glyphs, b)
    assert (cost == 0) == (a == b)
    assert cost <= max(len(a), len(b))

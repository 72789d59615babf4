"""The card table's file, and what it says when something in it is wrong."""

from pathlib import Path

import pytest

from millstream_apps.decklists.cards import COLUMNS, CardTable, CardTableError

HEAD = ",".join(COLUMNS)
ROW = (
    '"易, 禅心大道","Yi, Meditative",OGS·004/024,Calm,5,英雄单位,Champion Unit,Rare,https://x/y.png'
)


def written(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "table.csv"
    path.write_text(text, encoding=encoding)
    return path


def test_the_shipped_table() -> None:
    table = CardTable.load()
    assert repr(table) == "CardTable(399 printings, 322 names)"
    assert len(table.base_names) < len(table.by_name) < len(table)
    assert {card.cost for card in table if card.type_en == "Legend"} == {None}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_table_from_a_path_with_or_without_a_mark(tmp_path: Path, encoding: str) -> None:
    (card,) = CardTable.load(written(tmp_path, f"{HEAD}\n{ROW}\n", encoding))
    assert (card.name_cn, card.cost) == ("易, 禅心大道", 5)
    assert card.parts == ("易", "禅心大道")


@pytest.mark.parametrize(("text", "said"), [
    (HEAD.replace("card_number", "number") + "\n" + ROW, "row 1: column 'card_number' is missing"),
    ("", "row 1: column 'name_cn' is missing"),
    (HEAD + "\n", "row 2: no cards"),
    (f"{HEAD}\n{ROW}\n" + ROW.replace("OGS·004/024", ""), "row 3: column 'card_number' is empty"),
    (f"{HEAD}\n" + ROW.replace(",5,", ",five,"), "row 2: column 'cost' is 'five'"),
    (f"{HEAD}\n易", "row 2: column 'name_en' is empty"),
])  # fmt: skip
def test_a_wrong_table_is_told_by_file_row_and_column(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(CardTableError) as caught:
        CardTable.load(written(tmp_path, text))
    assert str(caught.value).startswith(str(tmp_path / "table.csv"))
    assert said in str(caught.value)


def test_a_table_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(CardTableError, match="cannot be read"):
        CardTable.load(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(CardTableError, match="cannot be read"):
        CardTable.load(tmp_path / "binary.csv")

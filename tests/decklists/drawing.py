"""Draws screenshots of the mini-program's deck page from a description, for tests and demo.

Run as a script it renews the samples in examples/decks (fixed seed). Needs a font with
Simplified Chinese; `find_fonts` says where it looks. Lengths are pixels on a screen 1080 wide.
"""

import io
import json
import random
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from millstream_apps.decklists.cards import Card, CardTable

SAMPLES = Path(__file__).resolve().parents[2] / "examples" / "decks"
HEADINGS = {
    "legend": "传奇牌",
    "main_deck": "主牌组",
    "battlefields": "战场牌",
    "runes": "符文牌",
    "side_deck": "备牌",
}
PANELS = (("legend", "main_deck"), ("battlefields",), ("runes",), ("side_deck",))
FONT_PACKAGES = ("zhplot", "mplfonts")
FONT_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "/Library/Fonts", "~/.fonts",
                "~/.local/share/fonts", "/System/Library/Fonts")  # fmt: skip
REGULAR = ("NotoSansCJK-Regular.ttc", "NotoSansCJKsc-Regular.otf", "NotoSansSC-Regular.*",
           "SourceHanSansSC-Regular.otf", "wqy-microhei.ttc", "DroidSansFallback*.ttf",
           "PingFang.ttc")  # fmt: skip
BOLD = ("NotoSansCJK-Bold.ttc", "NotoSansCJKsc-Bold.otf", "NotoSansSC-Bold.*",
        "SourceHanSansSC-Bold.otf")  # fmt: skip

HEADER, PAGE, FILL, BORDER = (30, 48, 68), (1, 57, 80), (27, 78, 99), (64, 103, 120)
THIN, RIBBON, GOLD, TEXT = (20, 72, 93), (0, 82, 128), (243, 196, 124), (214, 216, 216)
DOMAINS = {"Fury": (176, 44, 36), "Calm": (70, 128, 48), "Mind": (0, 96, 156),
           "Body": (226, 96, 8), "Chaos": (100, 56, 140), "Order": (204, 164, 8)}  # fmt: skip


@dataclass(frozen=True)
class Style:
    """How a screenshot differs from the usual one."""

    width: int = 1080
    quality: int = 85
    brightness: float = 1.0
    tint: tuple[int, int, int] = (0, 0, 0)
    status_bar: int = 100
    cut_top: int = 0
    cut_bottom: int = 0
    stitch: tuple[int, int] | None = None
    blur: float = 0.0
    format: str = "JPEG"


@dataclass(frozen=True)
class Deck:
    """A deck in words. Sections hold (name as in the table, copies)."""

    metadata: dict[str, Any]
    sections: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    title_lines: tuple[str, ...] = ()
    event_lines: tuple[str, ...] = ()
    domains: tuple[str, ...] = ("Body", "Calm")


def find_fonts() -> tuple[Path, Path] | None:
    """A regular and a bold font with Simplified Chinese (the same file if there is no bold)."""
    folders = [Path(folder).expanduser() for folder in FONT_FOLDERS]
    for package in FONT_PACKAGES:
        spec = find_spec(package)
        folders[:0] = [Path(place) for place in (spec and spec.submodule_search_locations) or ()]
    regular = _first(folders, REGULAR)
    return (regular, _first(folders, BOLD) or regular) if regular else None


def _first(folders: Iterable[Path], patterns: Iterable[str]) -> Path | None:
    present = [folder for folder in folders if folder.is_dir()]
    files = (sorted(folder.rglob(pattern)) for pattern in patterns for folder in present)
    return next((found[0] for found in files if found), None)


@cache
def _font(bold: bool, size: int) -> ImageFont.FreeTypeFont:
    fonts = find_fonts()
    if fonts is None:
        raise RuntimeError("no font with Simplified Chinese was found: see find_fonts()")
    path = fonts[bold]
    # The collections' faces are JP, KR, SC, TC, HK.
    index = 2 if path.name.startswith("Noto") and path.suffix == ".ttc" else 0
    return ImageFont.truetype(str(path), size, index=index)


class Canvas:
    """Draws in 1080-wide pixels onto a picture of any width."""

    def __init__(self, width: int, height: float) -> None:
        self.k = width / 1080
        self.image = Image.new("RGB", (width, round(height * self.k)), PAGE)
        self.draw = ImageDraw.Draw(self.image)

    def at(self, *values: float) -> list[int]:
        return [round(value * self.k) for value in values]

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: tuple[int, ...]) -> None:
        a, b, c, d = self.at(x0, y0, x1, y1)
        self.draw.rectangle((a, b, c - 1, d - 1), fill=colour)

    def disc(self, x: float, y: float, radius: float, colour: tuple[int, ...]) -> None:
        self.draw.ellipse(self.at(x - radius, y - radius, x + radius, y + radius), fill=colour)

    def polygon(self, points: Iterable[tuple[float, float]], colour: tuple[int, ...]) -> None:
        self.draw.polygon([(x * self.k, y * self.k) for x, y in points], fill=colour)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float,
        colour: tuple[int, ...] = TEXT,
        bold: bool = False,
        anchor: str = "lm",
    ) -> float:
        """Write around the middle line y; return where the text ends."""
        font = _font(bold, max(6, round(size * self.k)))
        self.draw.text((x * self.k, y * self.k), text, fill=colour, font=font, anchor=anchor)
        return x + font.getlength(text) / self.k


def draw(deck: Deck, style: Style | None = None, seed: int = 0) -> bytes:
    """A screenshot as encoded bytes. The same arguments and font give the same bytes."""
    style = style or Style()
    titles = deck.title_lines or ((deck.metadata["deck_name"] or ""),)
    events = deck.event_lines or tuple(filter(None, (deck.metadata["event"],)))
    edge = 657 + style.status_bar + 70 * (len(titles) - 1) + 42 * max(0, len(events) - 1)
    canvas = Canvas(style.width, edge + _list_height(deck))
    _header(canvas, deck, style, edge, titles, events)
    _sections(canvas, deck, edge, random.Random(seed))
    return _encoded(_worn(canvas.image, style), style)


def _list_height(deck: Deck) -> float:
    height = 43.0
    for panel in PANELS:
        shown = [name for name in panel if deck.sections.get(name)]
        rows = sum((len(deck.sections[name]) + 1) // 2 for name in shown)
        height += (130 + 149 * len(shown) + 166 * rows + 34) if shown else 0
    return height + 90


def _header(
    canvas: Canvas,
    deck: Deck,
    style: Style,
    edge: float,
    titles: tuple[str, ...],
    events: tuple[str, ...],
) -> None:
    canvas.box(0, 0, 1080, edge, HEADER)
    bar = style.status_bar
    if bar:
        canvas.text(60, bar * 0.5, "9:41", 36, (8, 14, 24), bold=True)
        canvas.box(950, bar * 0.5 - 18, 1010, bar * 0.5 + 18, (8, 14, 24))
    canvas.polygon([(37, bar + 48), (68, bar + 16), (68, bar + 80)], (220, 176, 110))
    canvas.text(540, bar + 50, "卡组详情", 50, (186, 146, 78), anchor="mm")
    canvas.draw.rounded_rectangle(
        canvas.at(786, bar + 4, 1055, bar + 92), round(44 * canvas.k), fill=(166, 172, 180)
    )
    for row, line in enumerate(reversed(titles)):
        event_top = edge - 370 - 42 * max(0, len(events) - 1)
        canvas.text(48, event_top - 71 - 70 * row, line, 50, (255, 255, 255), bold=True)
    if deck.metadata["placement"] is not None:
        top = edge - 487 - 70 * (len(titles) - 1) - 42 * max(0, len(events) - 1)
        _badge(canvas, top, deck.metadata["placement"])
    _details(canvas, edge - 355, events, deck.metadata["date"])
    for place, domain in enumerate(deck.domains):
        canvas.disc(79 + 90 * place, edge - 256, 31, (170, 134, 80))
        canvas.disc(79 + 90 * place, edge - 256, 25, DOMAINS.get(domain, (90, 90, 90)))
    canvas.box(868, edge - 270, 905, edge - 234, (140, 146, 152))
    canvas.box(977, edge - 276, 1018, edge - 234, (140, 146, 152))
    canvas.box(48, edge - 180, 1032, edge - 178, (43, 59, 75))
    _player(canvas, edge - 88, deck.metadata["player"])


def _badge(canvas: Canvas, top: float, placement: int) -> None:
    canvas.box(915, top, 1013, top + 96, GOLD)
    canvas.polygon(
        [(915, top + 80), (964, top + 112), (1013, top + 80), (1013, top + 102), (915, top + 102)],
        (212, 164, 62),
    )
    canvas.text(964, top + 36, str(placement), 38, (14, 24, 34), anchor="mm")
    canvas.text(964, top + 88, "排名", 32, (14, 24, 34), anchor="mm")


def _details(canvas: Canvas, y: float, events: tuple[str, ...], date: str | None) -> None:
    middle = y - 21 * max(0, len(events) - 1)
    canvas.polygon(
        [(48, middle - 16), (76, middle - 16), (76, middle + 8), (62, middle + 16),
         (48, middle + 8)],
        (146, 150, 156),
    )  # fmt: skip
    ends = [
        canvas.text(93, y - 42 * row, line, 31, (200, 204, 208))
        for row, line in enumerate(reversed(events))
    ]
    if date:
        x = max(ends, default=93) + 35
        canvas.box(x, middle - 16, x + 2, middle + 17, (74, 86, 102))
        canvas.disc(x + 44, middle, 15, (146, 150, 156))
        canvas.text(x + 75, middle, date, 31, (200, 204, 208))


def _player(canvas: Canvas, y: float, name: str | None) -> None:
    canvas.disc(92, y, 45, (150, 120, 70))
    canvas.disc(92, y, 42, (196, 120, 150))
    canvas.disc(80, y - 8, 14, (70, 40, 90))
    canvas.text(160, y + 1, name or "", 36, TEXT)
    canvas.draw.rounded_rectangle(
        canvas.at(796, y - 37, 1032, y + 37), round(37 * canvas.k), outline=(150, 156, 164), width=2
    )
    canvas.draw.rounded_rectangle(
        canvas.at(914, y - 32, 1027, y + 32), round(32 * canvas.k), fill=(255, 255, 255)
    )
    canvas.text(856, y, "图片", 34, (150, 156, 164), anchor="mm")
    canvas.text(970, y, "列表", 34, HEADER, anchor="mm")


def _sections(canvas: Canvas, deck: Deck, edge: float, rng: random.Random) -> None:
    top = edge + 43
    for panel in PANELS:
        shown = [name for name in panel if deck.sections.get(name)]
        if not shown:
            continue
        rows = sum((len(deck.sections[name]) + 1) // 2 for name in shown)
        height = 65 + sum(111 for _ in shown) + 166 * rows - 28 * len(shown) + 40 * (len(shown) - 1)
        _panel(canvas, top, top + height + 65)
        y = top + 65
        for name in shown:
            y = _section(canvas, y, HEADINGS[name], deck.sections[name], rng) + 40
        top += height + 65 + 62


def _panel(canvas: Canvas, y0: float, y1: float) -> None:
    for x0, x1, inset, colour, thick in ((42, 1038, 0, BORDER, 8), (65, 1015, 22, THIN, 2)):
        canvas.draw.rounded_rectangle(
            canvas.at(x0, y0 + inset, x1, y1 - inset),
            round((34 - inset / 2) * canvas.k),
            outline=colour,
            width=max(1, round(thick * canvas.k)),
        )


def _section(
    canvas: Canvas, y: float, heading: str, cards: list[tuple[str, int]], rng: random.Random
) -> float:
    """Draw from the ribbon's top; return where the last row ends."""
    canvas.box(96, y, 380, y + 82, RIBBON)
    for _ in range(1500):
        x = 330 + 620 * rng.random() ** 1.8
        colour = PAGE if x < 380 else RIBBON
        spot = y + 80 * rng.random()
        canvas.box(x, spot, x + 2, spot + 2, colour)
    for radius, colour in ((21, PAGE), (11, RIBBON)):
        canvas.polygon(
            [(95 - radius, y + 41), (95, y + 41 - radius), (95 + radius, y + 41),
             (95, y + 41 + radius)],
            colour,
        )  # fmt: skip
    canvas.text(137, y + 39, heading, 43, (255, 255, 255), bold=True)
    top = y + 111
    for place, (name, copies) in enumerate(cards):
        _card(canvas, 94 + 453 * (place % 2), top + 166 * (place // 2), name, copies)
    return top + 166 * ((len(cards) + 1) // 2) - 28


def _card(canvas: Canvas, x: float, y: float, name: str, copies: int) -> None:
    canvas.box(x, y, x + 439, y + 138, FILL)
    canvas.disc(x + 65, y + 69, 42, PAGE)
    canvas.polygon(
        [(x + 42, y + 50), (x + 65, y + 40), (x + 88, y + 50), (x + 80, y + 96), (x + 65, y + 80),
         (x + 50, y + 96)],
        (206, 208, 208),
    )  # fmt: skip
    base, _, subtitle = name.partition(", ")
    if subtitle:
        canvas.text(x + 122, y + 42, base, 36, bold=True)
        canvas.text(x + 122, y + 100, subtitle, 30, (200, 204, 206))
    elif len(base) > 8:
        canvas.text(x + 122, y + 46, base[:8], 36, bold=True)
        canvas.text(x + 122, y + 94, base[8:], 36, bold=True)
    else:
        canvas.text(x + 122, y + 70, base, 36, bold=True)
    if copies > 1:
        start = canvas.draw.textlength(str(copies), _font(False, round(36 * canvas.k))) / canvas.k
        canvas.text(x + 427 - start - 16, y + 114, "x", 27)
        canvas.text(x + 427 - start, y + 110, str(copies), 36)


def _worn(image: Image.Image, style: Style) -> Image.Image:
    k = style.width / 1080
    bottom = image.height - round(style.cut_bottom * k)
    image = image.crop((0, round(style.cut_top * k), image.width, bottom))
    if style.stitch:
        # Two screens one above the other: the first up to one place, the second from another.
        upto, again = (round(value * k) for value in style.stitch)
        joined = Image.new("RGB", (image.width, upto + image.height - again))
        joined.paste(image.crop((0, 0, image.width, upto)), (0, 0))
        joined.paste(image.crop((0, again, image.width, image.height)), (0, upto))
        image = joined
    if style.blur:
        image = image.filter(ImageFilter.GaussianBlur(style.blur))
    if style.brightness != 1 or any(style.tint):
        pixels = np.asarray(image, np.float32) * style.brightness + np.array(style.tint)
        image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    return image


def _encoded(image: Image.Image, style: Style) -> bytes:
    out = io.BytesIO()
    image.save(out, style.format, quality=style.quality)
    return out.getvalue()


def row_top(deck: Deck, section: str, row: int, style: Style | None = None) -> int:
    """The y at which a row of boxes starts in the uncut picture; for placing cuts and seams."""
    style = style or Style()
    titles, events = max(1, len(deck.title_lines)), max(1, len(deck.event_lines))
    y = 657 + style.status_bar + 70 * (titles - 1) + 42 * (events - 1) + 43
    for panel in PANELS:
        shown = [name for name in panel if deck.sections.get(name)]
        y += 65 if shown else 0
        for name in shown:
            if name == section:
                return y + 111 + 166 * row
            y += 111 + 166 * ((len(deck.sections[name]) + 1) // 2) - 28 + 40
        y += 65 - 40 + 62 if shown else 0
    raise KeyError(section)


def random_deck(rng: random.Random, table: CardTable, **metadata: Any) -> Deck:
    """A deck that the game's rules would roughly allow, with a header."""
    kinds: dict[str, list[str]] = {}
    for name, card in table.by_name.items():
        kinds.setdefault(kind_of(card), []).append(name)
    main = rng.sample(kinds["main"], rng.randint(13, 18))
    runes = rng.randint(1, 11)
    first, second = rng.sample(kinds["Basic Rune"], 2)
    cut = rng.randint(11, len(main) - 1)
    return Deck(
        metadata={"deck_name": "测试卡组", "placement": rng.randint(1, 128),
                  "event": "第二赛季区域公开赛-上海赛区", "date": "2025-10-18",
                  "player": "Player-01", **metadata},
        sections={
            "legend": [(rng.choice(kinds["Legend"]), 1)],
            "main_deck": [(name, rng.randint(1, 3)) for name in main[:cut]],
            "battlefields": [(name, 1) for name in rng.sample(kinds["Battlefield"], 3)],
            "runes": [(first, runes), (second, 12 - runes)],
            "side_deck": [(name, rng.randint(1, 3)) for name in main[cut:]],
        },
        domains=tuple(rng.sample(sorted(DOMAINS), 2)),
    )  # fmt: skip


def kind_of(card: Card) -> str:
    """The section-deciding type of a card, or "main" for all that goes into the main deck."""
    special = ("Legend", "Battlefield", "Basic Rune", "Token Unit")
    return card.type_en if card.type_en in special else "main"


def truth(deck: Deck, table: CardTable) -> dict[str, Any]:
    """What reading the drawn deck must give, in the shape of the response."""
    return {
        "metadata": deck.metadata,
        **{
            name: [
                {"name_cn": card, "quantity": copies, "name_en": table.by_name[card].name_en,
                 "card_number": table.by_name[card].card_number}
                for card, copies in deck.sections.get(name, [])
            ]
            for name in HEADINGS
        },
    }  # fmt: skip


def samples(table: CardTable) -> dict[str, tuple[Deck, Style]]:
    """The shipped samples: file name -> what is drawn and how."""
    rng = random.Random(20251106)
    decks = [random_deck(rng, table) for _ in range(10)]
    heads: list[dict[str, Any]] = [
        {"deck_name": "疾风快攻", "player": "Windrunner", "placement": 1},
        {"deck_name": "Order 控制 v2", "player": "小鱼干", "placement": 12},
        {"deck_name": "bo3", "player": "Kiki_99", "placement": 128},
        {"deck_name": "混沌之夜", "player": "さくら", "placement": None},
        {"deck_name": "一个名字特别长的卡组它需要换到第二行才能写完", "player": "Léo-牌手"},
        {"deck_name": "灵光 Midrange", "player": "GOAT", "date": None},
        {"deck_name": "序理中速", "player": "老王.Deck"},
        {"deck_name": "铁拳", "player": "a-b-c", "placement": 3},
        {"deck_name": "无备牌套路", "player": "Mika", "placement": 64},
        {"deck_name": "十二符文", "player": "Rune12", "placement": 7},
    ]
    decks = [replace(d, metadata={**d.metadata, **h}) for d, h in zip(decks, heads, strict=True)]
    decks[4] = replace(decks[4], title_lines=("一个名字特别长的卡组它需要换到", "第二行才能写完"))
    event = "第二赛季全国公开赛总决赛暨年度冠军邀请赛-广州赛区"
    decks[6] = replace(
        decks[6],
        metadata={**decks[6].metadata, "event": event},
        event_lines=(event[:16], event[16:]),
    )
    decks[8] = replace(decks[8], sections={**decks[8].sections, "side_deck": []})
    rune = decks[9].sections["runes"][0][0]
    decks[9] = replace(decks[9], sections={**decks[9].sections, "runes": [(rune, 12)]})
    styles = [
        Style(quality=75), Style(width=1170, status_bar=130, quality=65),
        Style(width=720, quality=80), Style(quality=60), Style(quality=70),
        Style(width=1284, status_bar=140, quality=60), Style(quality=72),
        Style(width=828, quality=80), Style(brightness=0.9, quality=75), Style(width=750),
    ]  # fmt: skip
    pairs = zip(decks, styles, strict=True)
    return {f"deck-{number:02}.jpg": pair for number, pair in enumerate(pairs, start=1)}


def write_samples(folder: Path = SAMPLES) -> None:
    """Renew the shipped samples and their truth."""
    table = CardTable.load()
    folder.mkdir(parents=True, exist_ok=True)
    truths = {}
    for name, (deck, style) in samples(table).items():
        (folder / name).write_bytes(draw(deck, style))
        truths[name] = truth(deck, table)
    text = json.dumps(truths, ensure_ascii=False, indent=1) + "\n"
    (folder / "truth.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_samples()

"""`python -m examples.pins FOLDER`: draw a catalogue of pins, and photos of some to try it with.

FOLDER gets `catalogue.csv`, the pictures that it names, and `photos/`: genuine pins, a recoloured
and a blurred copy, a pin that is not in the catalogue. Names, editions, sales are drawn by lot.
"""

import argparse
import csv
import datetime
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from examples.pins.drawing import Pin, Rgba, draw, draw_back, pin, recoloured
from examples.pins.photographs import EASY, blurred, photograph

COLUMNS: tuple[str, ...] = (
    "id",
    "name",
    "characters",
    "series",
    "edition",
    "notes",
    "front",
    "back",
    "sales",
)
SERIES = ("Harbour", "Orchard", "Night sky", "Workshop")
MAKERS = len(SERIES)
FIRST_DAY = datetime.date(2025, 1, 6)


def write_catalogue(folder: Path, count: int) -> Path:
    """Pictures and catalogue.csv; the path of the latter. The same count gives the same files."""
    folder.mkdir(parents=True, exist_ok=True)
    for maker in range(MAKERS):
        _save(folder / f"back-{maker}.png", draw_back(maker))
    path = folder / "catalogue.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for number in range(count):
            _save(folder / f"pin-{number:03}.png", draw(number))
            writer.writerow(_row(number))
    return path


def write_photos(folder: Path, count: int) -> None:
    """A few photos to try the catalogue with."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(min(count, 4)):
        (folder / f"genuine-{number:03}.jpg").write_bytes(photograph(draw(number), number, EASY))
        back = photograph(draw_back(number % MAKERS), 100 + number, EASY)
        (folder / f"genuine-{number:03}-back.jpg").write_bytes(back)
    (folder / "recoloured-001.jpg").write_bytes(photograph(recoloured(1), 21, EASY))
    (folder / "blurred-002.jpg").write_bytes(photograph(blurred(draw(2), 5.0), 22, EASY))
    (folder / "unknown.jpg").write_bytes(photograph(draw(count + 1000), 23, EASY))


def _row(number: int) -> dict[str, str]:
    what = pin(number)
    rng = np.random.default_rng((3, number))
    return {
        "id": f"demo-{number:03}",
        "name": _name(what, number),
        "characters": what.emblem.capitalize(),
        "series": SERIES[number % MAKERS],
        "edition": str(rng.choice(["open", "limited to 500", "limited to 1000"])),
        "notes": f"A drawn {what.shape} with a {what.field} field; part of the demonstration.",
        "front": f"pin-{number:03}.png",
        "back": f"back-{number % MAKERS}.png",
        "sales": _sales(rng),
    }


def _name(what: Pin, number: int) -> str:
    word = f" {what.letters}" if len(what.letters) > 1 else ""
    return f"{what.emblem.capitalize()}{word} {number:03}"


def _sales(rng: np.random.Generator) -> str:
    """Between none and nine sales around one price."""
    middle = float(rng.uniform(6, 60))
    sold = []
    for _ in range(int(rng.integers(0, 10))):
        day = FIRST_DAY + datetime.timedelta(days=int(rng.integers(0, 600)))
        sold.append(f"{day} {middle * float(rng.uniform(0.75, 1.3)):.2f} USD demonstration")
    return "; ".join(sorted(sold))


def _save(path: Path, picture: Rgba) -> None:
    Image.fromarray(picture).quantize(128).save(path, optimize=True)


def main() -> int:
    words = argparse.ArgumentParser(prog="examples.pins", description=__doc__)
    words.add_argument("folder", type=Path)
    words.add_argument("--count", type=int, default=24)
    given = words.parse_args()
    path = write_catalogue(given.folder, given.count)
    write_photos(given.folder / "photos", given.count)
    print(f"{given.count} pins in {path}; photos to try in {given.folder / 'photos'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""How well articles are found: 4-gram shingle F1 over pages whose article is known, beside
trafilatura by its own defaults on the same pages. Prints a table.

    python -m bench.extraction [FOLDER]

FOLDER holds `ground_truth.json` ({name: {"articleBody", "url"}}) and `html/<name>.html.gz`; where
it is not given, `../shared/data/articles`. The measure is that of the public
article-extraction-benchmark: shingles of four words, counted; precision and recall of each page,
their means over the pages, and F1 of these means. The mean of the pages' own F1 is shown too.
"""

import gzip
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean

import trafilatura
from msgspec import Struct
from trafilatura.utils import decode_file

from millstream_apps.extract.reading.document import read, warm_up
from millstream_apps.extract.reading.models import Ask

DEFAULT = Path(__file__).resolve().parents[2] / "shared" / "data" / "articles"
WORD = re.compile(r"\w+")
N = 4


class Known(Struct, frozen=True):
    """A page whose article is known."""

    url: str
    body: bytes
    article: str


class Score(Struct, frozen=True):
    """One page's, from 0 to 1."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        return harmonic(self.precision, self.recall)


def harmonic(precision: float, recall: float) -> float:
    """F1 of the two; 0 where both are."""
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def shingles(text: str) -> Counter[tuple[str, ...]]:
    """How often each four words stand next to each other; of fewer words, all of them."""
    words = WORD.findall(text)
    if len(words) < N:
        return Counter([tuple(words)] if words else [])
    return Counter(zip(*(words[start:] for start in range(N)), strict=False))


def score(truth: str, found: str) -> Score:
    """Precision and recall of a text's shingles. Nothing found where there is nothing: perfect."""
    wanted, got = shingles(truth), shingles(found)
    common, many, needed = (wanted & got).total(), got.total(), wanted.total()
    if many == needed == 0:
        return Score(1.0, 1.0)
    return Score(common / many if many else 0.0, common / needed if needed else 0.0)


def known(folder: Path) -> Iterator[Known]:
    """The pages of a folder."""
    truth = json.loads((folder / "ground_truth.json").read_text(encoding="utf-8"))
    for name, told in truth.items():
        body = gzip.decompress((folder / "html" / f"{name}.html.gz").read_bytes())
        yield Known(told["url"], body, told["articleBody"])


def by_defaults(page: Known) -> str:
    """Trafilatura alone."""
    return trafilatura.extract(page.body) or ""


def ours(page: Known) -> str:
    """The reading of this project's extract system, with all that it reads beside the text."""
    return read(decode_file(page.body), page.url, Ask()).document.text


READERS: dict[str, Callable[[Known], str]] = {"trafilatura": by_defaults, "extract": ours}


def measured(pages: list[Known]) -> Iterator[tuple[str, list[Score], float]]:
    """Each reader's scores, and its milliseconds of processor time a page."""
    warm_up()
    by_defaults(pages[0])
    for name, reader in READERS.items():
        began = time.process_time()
        texts = [reader(page) for page in pages]
        taken = (time.process_time() - began) / len(pages) * 1000
        yield name, [score(p.article, t) for p, t in zip(pages, texts, strict=True)], taken


def main(folder: Path) -> None:
    """Measure and print."""
    pages = list(known(folder))
    print(f"{len(pages)} pages, 4-gram shingles")
    print(f"{'':14}{'precision':>10}{'recall':>10}{'F1':>10}{'mean F1':>10}{'ms/page':>10}")
    for name, scores, taken in measured(pages):
        precision, recall = mean(s.precision for s in scores), mean(s.recall for s in scores)
        of_pages = mean(s.f1 for s in scores)
        figures = (precision, recall, harmonic(precision, recall), of_pages)
        print(f"{name:14}" + "".join(f"{each:10.4f}" for each in figures) + f"{taken:10.1f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT)

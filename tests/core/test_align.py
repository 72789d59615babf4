"""Joins by number: against a model that knows everything beforehand."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.core.align import Aligner

SENT = st.lists(st.sets(st.integers(1, 40)), min_size=2, max_size=4)


class Writer:
    """Sends some numbers in blocks, and says how far it has come."""

    def __init__(self, numbers: set[int], rng: random.Random) -> None:
        self.left, self.rng, self.passed = sorted(numbers), rng, 0
        self.waiting: list[list[int]] = []

    def write(self) -> None:
        count = self.rng.choice([0, 1, 2, 5])
        block, self.left = self.left[:count], self.left[count:]
        last = block[-1] if block else self.passed
        upto = self.left[0] - 1 if self.left else 40
        self.passed = self.rng.randint(last, max(last, upto))
        if block:
            self.waiting.append(block)


@settings(deadline=None)
@given(SENT, st.randoms(use_true_random=False))
def test_rows_are_the_numbers_that_all_have_sent(sent, rng):
    aligner, writers = Aligner(len(sent)), [Writer(numbers, rng) for numbers in sent]
    rows: list[int] = []
    while any(w.left or w.waiting for w in writers):
        rng.choice(writers).write()
        rows += step(aligner, writers)
    for writer in writers:
        writer.passed = 40
    rows += step(aligner, writers)
    meant = sorted(set.intersection(*sent))
    assert rows == meant
    assert aligner.holding == 0
    assert aligner.unmatched == sum(map(len, sent)) - len(meant) * len(sent)
    assert aligner.watermark == 40


def step(aligner: Aligner, writers: list[Writer]) -> list[int]:
    """Feed what there is; the numbers of the rows that come of it."""
    found: list[int] = []
    fed = True
    while fed:
        fed = False
        for line, writer in enumerate(writers):
            if aligner.empty(line) and writer.waiting:
                block = writer.waiting.pop(0)
                aligner.feed(line, (block, [(line, n) for n in block]))
                fed = True
            if not writer.waiting:
                aligner.passed(line, writer.passed)
        numbers, rows = aligner.rows()
        for number, row in zip(numbers, rows, strict=True):
            assert row == tuple((line, number) for line in range(len(writers)))
        found += numbers
        assert aligner.watermark >= (numbers[-1] if numbers else 0)
    return found


def test_a_watermark_alone_frees_the_others():
    aligner = Aligner(2)
    aligner.feed(0, ([1, 2, 5], "abc"))
    assert aligner.rows() == ([], [])
    aligner.passed(1, 4)
    assert aligner.rows() == ([], [])
    assert (aligner.unmatched, aligner.holding, aligner.watermark) == (2, 1, 4)
    aligner.feed(1, ([5], "x"))
    assert aligner.rows() == ([5], [("c", "x")])

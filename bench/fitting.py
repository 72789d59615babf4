"""Statistics for the calibration of recognition: logistic regression, ROC curves. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millstream_apps.appraise.recognition.calibration import Logistic

Rows = Sequence[dict[str, float]]
FALSE_ALARMS = (0.0, 0.02, 0.05, 0.1)


def fit_logistic(
    rows: Rows, truths: Sequence[bool], names: Sequence[str], ridge: float = 1.0
) -> Logistic:
    """By Newton's method on standardised values, weights held small by `ridge`."""
    x, y = table(rows, names), np.array(truths, float)
    middle, spread = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-6)
    design = np.column_stack([np.ones(len(x)), (x - middle) / spread])
    penalty = np.diag([0.0, *[ridge] * len(names)])
    weights = np.zeros(design.shape[1])
    for _ in range(60):
        chance = 1 / (1 + np.exp(-np.clip(design @ weights, -40, 40)))
        slope = design.T @ (y - chance) - penalty @ weights
        curve = (design * (chance * (1 - chance) + 1e-9)[:, None]).T @ design + penalty
        step = np.linalg.solve(curve + 1e-9 * np.eye(len(weights)), slope)
        weights = weights + step * min(1.0, 3.0 / max(float(np.abs(step).max()), 1e-9))
        if float(np.abs(step).max()) < 1e-8:
            break
    own = weights[1:] / spread
    bias = float(weights[0] - (own * middle).sum())
    return Logistic(
        round(bias, 5), {n: round(float(w), 5) for n, w in zip(names, own, strict=True)}
    )


def table(rows: Rows, names: Sequence[str]) -> NDArray[Any]:
    """(rows, names) of numbers."""
    return np.array([[row[name] for name in names] for row in rows])


@dataclass(frozen=True)
class Roc:
    """`auc`; and which share of the counterfeits is rated below all genuine ones but a share of
    FALSE_ALARMS, for each of these."""

    auc: float
    found: tuple[float, ...]


def roc(genuine: Sequence[float], counterfeit: Sequence[float]) -> Roc:
    """Of ratings, higher for the genuine."""
    good, bad = np.array(genuine), np.array(counterfeit)
    higher = (good[:, None] > bad[None]).mean() + 0.5 * (good[:, None] == bad[None]).mean()
    limits = np.quantile(good, FALSE_ALARMS, method="lower")
    return Roc(float(higher), tuple(float((bad < limit).mean()) for limit in limits))


def share(count: int, total: int) -> str:
    """A count as a share, with its 95 % interval (Wilson's score)."""
    if not total:
        return "-"
    z, p = 1.96, count / total
    middle = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z * np.sqrt(p * (1 - p) / total + z * z / (4 * total**2)) / (1 + z * z / total)
    low, high = 100 * (middle - half), 100 * (middle + half)
    return f"{count} of {total} ({100 * p:.1f} %, 95 % interval {low:.1f}-{high:.1f} %)"

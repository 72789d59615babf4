"""What measurements mean: the fitted numbers of calibration.json, and how they are applied.

The file is written by `bench/appraisal.py --calibrate`, which photographs drawn pins and icons and
fits what is here; nothing in it is set by hand. Knows no pictures.
"""

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files

from msgspec import Struct, convert


class Logistic(Struct, frozen=True):
    """A logistic model: the probability is 1 / (1 + exp(-(bias + sum of weights times values)))."""

    bias: float
    weights: dict[str, float]

    def probability(self, values: Mapping[str, float]) -> float:
        """0-1. Raises KeyError where a value is missing."""
        return 1 / (1 + math.exp(-max(min(self.log_odds(values), 60.0), -60.0)))

    def log_odds(self, values: Mapping[str, float]) -> float:
        """What the probability is made of. Raises KeyError where a value is missing."""
        return self.bias + sum(weight * values[name] for name, weight in self.weights.items())


class Calibration(Struct, frozen=True):
    """`same`: whether a photo shows a reference. `accept`: the probability from which that is said;
    `rival`: by how much in log-odds a second reference may be less likely than the first one and is
    still compared with it, and `nearer`: how much nearer to the first one the photo must then be
    (0.5 is halfway). `edges`, `colours`: whether a
    matched pin is genuine rather than a soft copy, and rather than one in other colours;
    `genuine_quick`: whether it is genuine, from the cheap part of the evidence. `sure`: the
    confidence from which either is said. `thresholds`: from which value on evidence differs, by its
    name, and `doubtful`: from which it is doubtful.
    """

    same: Logistic
    accept: float
    rival: float
    nearer: float
    edges: Logistic
    colours: Logistic
    genuine_quick: Logistic
    sure: float
    thresholds: dict[str, float]
    doubtful: dict[str, float]


@lru_cache(maxsize=1)
def shipped() -> Calibration:
    """The calibration that is part of the package."""
    package = files("millstream_apps.appraise.recognition")
    return convert(json.loads(package.joinpath("calibration.json").read_bytes()), Calibration)

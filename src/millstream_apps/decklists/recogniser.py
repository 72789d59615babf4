"""The recognition model: crops of pixels go in, what stands at each place comes out as odds.

It is the one inside the rapidocr wheel, run by onnxruntime itself, so that nothing is ever
downloaded and the whole posterior can be used, not just its best guess. Words are unknown here.
"""

import threading
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from millstream_apps.decklists.layout import Pixels

Posterior = NDArray[np.float32]  # (frames, classes), each frame sums to 1; class 0 is CTC's blank

HEIGHT = 48  # pixels of height the model was made for
WIDTH_STEP = 32  # crops are widened to a multiple of this, so that equal widths make a batch
BATCH = 4  # more is no faster on one core and takes more memory


class ModelMissing(RuntimeError):
    """The installed rapidocr has no recognition model inside; nothing is downloaded instead."""


class Recogniser:
    """The recognition network and its alphabet; class 0 is CTC's blank."""

    def __init__(self, path: Path) -> None:
        import onnxruntime  # takes a while and is needed by nobody who only matches text

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name
        characters = self._session.get_modelmeta().custom_metadata_map["character"].splitlines()
        self.characters = ("", *characters, " ")
        self.index = {character: at for at, character in enumerate(self.characters)}

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """(crops, 3, HEIGHT, width) of -1..1 -> (crops, frames, classes) of probabilities."""
        return self._session.run(None, {self._input: batch})[0]


_loading = threading.Lock()


@cache
def _load() -> Recogniser:
    spec = find_spec("rapidocr")
    places = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    models = sorted(model for place in places for model in place.glob("models/*rec*.onnx"))
    if not models:
        raise ModelMissing("rapidocr's wheel holds no models/*rec*.onnx: install rapidocr>=3.3")
    return Recogniser(models[-1])


def recogniser() -> Recogniser:
    """The process's one model, loaded at the first call. Raises ModelMissing."""
    # cache alone would let two threads load the model at once.
    with _loading:
        return _load()


def warm_up() -> None:
    """Load the model once for this process and run it once. Raises ModelMissing."""
    posteriors([np.zeros((HEIGHT, WIDTH_STEP, 3), np.uint8)])


def posteriors(crops: Sequence[Pixels]) -> list[Posterior]:
    """The model's posterior for each RGB crop (height, width, 3), in the crops' order."""
    model = recogniser()
    prepared = [_prepare(crop) for crop in crops]
    order = sorted(range(len(crops)), key=lambda at: prepared[at].shape[2])
    results: dict[int, Posterior] = {}
    while order:
        width = prepared[order[0]].shape[2]
        batch = [at for at in order[:BATCH] if prepared[at].shape[2] == width]
        order = order[len(batch) :]
        output = model(np.stack([prepared[at] for at in batch]))
        results.update(zip(batch, output, strict=True))
    return [results[at] for at in range(len(crops))]


def _prepare(crop: Pixels) -> NDArray[np.float32]:
    """RGB -> the model's input: BGR, height 48, -1..1, widened by its own last column."""
    height, width = crop.shape[:2]
    wide = max(8, round(width * HEIGHT / height))
    sized = cv2.resize(crop[:, :, ::-1], (wide, HEIGHT), interpolation=cv2.INTER_CUBIC)
    margin = -wide % WIDTH_STEP
    padded = cv2.copyMakeBorder(sized, 0, 0, 0, margin, cv2.BORDER_REPLICATE)
    scaled = padded.astype(np.float32).transpose(2, 0, 1) / 127.5 - 1
    return np.ascontiguousarray(scaled)


def ctc_probability(posterior: Posterior, label: Sequence[int]) -> float:
    """The probability that the posterior gives to a whole label (class numbers, no blanks).

    The forward algorithm over the label with blanks between: Graves et al., "Connectionist
    Temporal Classification", ICML 2006, equations 6 and 7.
    """
    path = np.zeros(2 * len(label) + 1, np.intp)
    path[1::2] = label
    skips = np.zeros(len(path), bool)
    skips[2:] = (path[2:] != 0) & (path[2:] != path[:-2])
    alpha = np.zeros(len(path))
    alpha[:2] = posterior[0, path[:2]]
    for frame in posterior[1:, path].astype(np.float64):
        shifted = np.concatenate(([0.0], alpha[:-1]))
        skipped = np.where(skips, np.concatenate(([0.0, 0.0], alpha[:-2])), 0.0)
        alpha = (alpha + shifted + skipped) * frame
    return float(alpha[-2:].sum())

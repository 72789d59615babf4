"""Pictures in and out of recognition: what the index keeps of a photo, a pin laid straight."""

import cv2
import numpy as np

from millstream_apps.appraise.recognition.align import laid, levels
from millstream_apps.appraise.recognition.authenticity import to_pixels
from millstream_apps.appraise.recognition.calibration import shipped
from millstream_apps.appraise.recognition.comparator import shipped_network
from millstream_apps.appraise.recognition.features import shipped_words
from millstream_apps.appraise.recognition.frame import frame_of
from millstream_apps.appraise.recognition.index import Compact, compact
from millstream_apps.appraise.recognition.models import Geometry
from millstream_apps.appraise.recognition.photo import decode


def warm_up() -> None:
    """Load vocabulary, network and calibration, and keep OpenCV to the caller's thread: for worker
    processes.
    """
    cv2.setNumThreads(1)
    shipped_words()
    shipped()
    shipped_network()


def compact_of(photo: bytes, field: str = "front") -> Compact:
    """What the index keeps of one catalogue picture. Raises PhotoError."""
    return compact(frame_of(decode(photo, field)))


def rectified(photo: bytes, geometry: Geometry, side: int = 320) -> bytes:
    """The pin of a photo laid into its reference's frame, `side` pixels square, as WebP.

    Raises PhotoError.
    """
    picture = decode(photo, geometry.view)
    seen = laid(levels(picture.rgb), to_pixels(geometry, picture), side)
    rgb = np.clip(seen, 0, 255).round().astype(np.uint8)
    return cv2.imencode(".webp", rgb[:, :, ::-1], [cv2.IMWRITE_WEBP_QUALITY, 85])[1].tobytes()

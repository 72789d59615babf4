"""Recognition: which reference pin a set of photos shows, and how near to it the pin is.

The room's public names. Nothing here knows of HTTP, of pipelines or of the catalogue's database:
photos are bytes, references are an `Index` that someone filled. Everything is deterministic and
runs in the caller's thread.

- `identify(front, back=None, angled=None, *, index) -> Match | Abstention`
- `authenticity(photos, match, *, index) -> Authenticity`, `quick_authenticity` of the same shape
- `rectified(photo, geometry) -> bytes`: the pin of a photo, laid straight, as WebP
- `compact_of(photo, field) -> Compact`: what the index keeps of one catalogue picture
- `warm_up()`: load what is loaded once, and keep OpenCV to one thread
"""

from millstream_apps.appraise.recognition.authenticity import authenticity, quick_authenticity
from millstream_apps.appraise.recognition.identify import identify
from millstream_apps.appraise.recognition.index import Compact, Index
from millstream_apps.appraise.recognition.models import (
    VIEWS,
    Abstention,
    Authenticity,
    Candidate,
    Evidence,
    Geometry,
    Identification,
    Match,
    PhotoSet,
    Reading,
    Reason,
    View,
)
from millstream_apps.appraise.recognition.photo import PhotoError
from millstream_apps.appraise.recognition.pictures import compact_of, rectified, warm_up

__all__ = [
    "VIEWS",
    "Abstention",
    "Authenticity",
    "Candidate",
    "Compact",
    "Evidence",
    "Geometry",
    "Identification",
    "Index",
    "Match",
    "PhotoError",
    "PhotoSet",
    "Reading",
    "Reason",
    "View",
    "authenticity",
    "compact_of",
    "identify",
    "quick_authenticity",
    "rectified",
    "warm_up",
]

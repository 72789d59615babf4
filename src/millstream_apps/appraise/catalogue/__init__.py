"""The catalogue of reference pins: what they are called, how they look, what they were sold for.

The room's public names. `Catalogue(url)` keeps it in a database and fills the recognition's
`Index`; `Catalogue.import_file` reads CSV and JSON (see `importing`). Knows nothing of HTTP or of
pipelines.
"""

from millstream_apps.appraise.catalogue.models import (
    CatalogueError,
    Imported,
    Photo,
    Reference,
    Sale,
    UnknownReference,
)
from millstream_apps.appraise.catalogue.store import Catalogue

__all__ = [
    "Catalogue",
    "CatalogueError",
    "Imported",
    "Photo",
    "Reference",
    "Sale",
    "UnknownReference",
]

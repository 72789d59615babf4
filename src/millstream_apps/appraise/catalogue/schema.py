"""The catalogue's tables (SQLAlchemy Core), the same on SQLite and PostgreSQL.

A picture is kept as what recognition needs: a small frame and its compact features. `change` says
which reference was touched at which version, so that an index in memory can follow.
"""

from typing import Any

import numpy as np
from sqlalchemy import (
    Column,
    Date,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

from millstream_apps.appraise.recognition import Compact
from millstream_apps.appraise.recognition.index import compact, decode_frame
from millstream_apps.appraise.recognition.inverted import ENTRY
from millstream_apps.appraise.recognition.whole import CHANNELS, HARMONICS, RINGS, Whole

FEATURES = 1  # raised when recognition finds other features: kept ones are then made again

metadata = MetaData()

references = Table(
    "appraise_reference",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("characters", Text, nullable=False),  # JSON list
    Column("series", Text, nullable=False),
    Column("edition", Text, nullable=False),
    Column("notes", Text, nullable=False),
)

_owner = "appraise_reference.id"

photos = Table(
    "appraise_photo",
    metadata,
    Column("reference", ForeignKey(_owner, ondelete="CASCADE"), primary_key=True),
    Column("view", String(8), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("features", Integer, nullable=False),
    Column("entries", LargeBinary, nullable=False),
    Column("upright", LargeBinary, nullable=False),
    Column("harmonics", LargeBinary, nullable=False),
    Column("thumbnail", LargeBinary, nullable=False),
)

sales = Table(
    "appraise_sale",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("reference", ForeignKey(_owner, ondelete="CASCADE"), nullable=False, index=True),
    Column("price", String(32), nullable=False),  # as text: SQLite has no decimals
    Column("currency", String(3), nullable=False),
    Column("date", Date, nullable=False),
    Column("source", Text, nullable=False),
)

changes = Table(
    "appraise_change",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("reference", String(64), nullable=False),
)

state = Table(
    "appraise_state",
    metadata,
    Column("only", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
)


def to_columns(kept: Compact) -> dict[str, Any]:
    """A Compact as columns of `photos`."""
    pin = kept.whole
    return {
        "features": FEATURES,
        "entries": kept.entries.tobytes(),
        "upright": b"" if pin is None else pin.upright.astype("<f8").tobytes(),
        "harmonics": b"" if pin is None else pin.harmonics.astype("<c8").tobytes(),
        "thumbnail": kept.thumbnail,
    }


def from_columns(row: Any) -> Compact:
    """The Compact that `to_columns` wrote; made anew where its features are older."""
    if row.features != FEATURES:
        return compact(decode_frame(row.thumbnail))
    pin = None
    if row.harmonics:
        shape = (CHANNELS * RINGS, HARMONICS)
        harmonics = np.frombuffer(row.harmonics, "<c8").reshape(shape)
        pin = Whole(harmonics, np.frombuffer(row.upright, "<f8").reshape(2, 3))
    return Compact(np.frombuffer(row.entries, ENTRY), pin, row.thumbnail)

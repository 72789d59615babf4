"""The appraise system for a process of its own, with eyes that see the same pin in every photo.

Where APPRAISE_TEST_MARK names a file that is not there yet, the process dies once, right after it
has written a record.
"""

import os
from pathlib import Path

from millstream import Millstream
from millstream_apps.appraise import pipeline
from millstream_apps.appraise.records import Entry, Records
from millstream_apps.appraise.system import system_of
from tests.appraise.eyes import Told

MARK = os.environ.get("APPRAISE_TEST_MARK")


class Fatal(Records):
    """Dies where it hurts most: the row is there, and the log does not know of it yet."""

    def write(self, entry: Entry, *, owner: str | None = None) -> int:
        number = super().write(entry, owner=owner)
        if MARK and not Path(MARK).exists():
            Path(MARK).touch()
            os._exit(9)
        return number


pipeline.Records = Fatal  # type: ignore[misc]
app = Millstream(system_of(pipeline.build(Told().eyes())))

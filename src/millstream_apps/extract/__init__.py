"""extract: pages at URLs become clean documents, each as it is done.

`millstream serve millstream_apps.extract:app` serves it alone.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """Make `app` when it is asked for, so that a child process need not load a web server."""
    if name == "app":
        from millstream import Millstream
        from millstream_apps.extract.system import system

        return Millstream(system)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

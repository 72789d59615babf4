"""appraise: photos of a pin become a verdict, who is on it, its price and a page to look at.

`millstream serve millstream_apps.appraise:app` serves it alone; `millstream appraise catalogue`
manages the references that it compares with.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """Make `app` when it is asked for, so that a child process need not load a web server."""
    if name == "app":
        from millstream import Millstream
        from millstream_apps.appraise.system import system

        return Millstream(system)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

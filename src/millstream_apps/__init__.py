"""The five systems, each a thin user of Millstream's public API; `app` serves all of them."""

from typing import Any


def __getattr__(name: str) -> Any:
    """Make `app` when it is asked for: each system loads only what it needs."""
    if name == "app":
        from millstream_apps.together import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

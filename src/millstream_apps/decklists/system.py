"""The system as the application serves it: pipeline, routes, and its part of what is shared."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from millstream import Millstream, System, __version__
from millstream_apps.decklists.pipeline import pipeline, table
from millstream_apps.decklists.routes import routes
from millstream_apps.decklists.settings import settings

STATIC = Path(__file__).with_name("static")


def health(_: Millstream) -> Mapping[str, Any]:
    """The fields of `GET /health`."""
    return {
        "status": "healthy" if table() is not None else "degraded",
        "service": "decklists",
        "version": __version__,
        "timestamp": datetime.now(UTC).isoformat(),
    }


system = System(
    name="decklists",
    pipelines=(pipeline,),
    routes=routes,
    health=health,
    settings={"host": settings().service_host, "port": settings().service_port},
    assets={path.name: path for path in STATIC.iterdir()},
)

"""The system as the application serves it: pipeline, routes, and its part of what is shared."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from millstream import Millstream, Pipeline, System
from millstream_apps.appraise.companions import health_of
from millstream_apps.appraise.pipeline import pipeline
from millstream_apps.appraise.routes import routes_of

STATIC = Path(__file__).with_name("static")
ENDPOINTS = {
    "mobileUpload": "POST /mobile-upload",
    "analyze": "POST /api/analyze",
    "verifyPin": "POST /api/mobile/verify-pin",
    "confirmPin": "POST /api/mobile/confirm-pin",
    "provisionalPins": "GET /api/mobile/provisional-pins",
    "feedback": "POST /api/feedback",
    "pins": "GET /api/pins/all",
    "catalogue": "GET /api/catalogue",
    "config": "GET /api/config",
    "health": "GET /health",
}


def health(app: Millstream) -> Mapping[str, Any]:
    """The fields of `GET /health`."""
    return health_of(app.settings.port)


def root(app: Millstream) -> Mapping[str, Any]:
    """The fields of `GET /`. Beside others, the service is not this system alone."""
    alone = {"service": "appraise"} if len(app.systems) == 1 else {}
    return {
        **alone,
        "status": "running",
        "timestamp": datetime.now(UTC).isoformat(),
        "endpoints": ENDPOINTS,
    }


def system_of(pipeline: Pipeline) -> System:
    """The system over this pipeline."""
    return System(
        name="appraise",
        pipelines=(pipeline,),
        routes=routes_of(pipeline.name),
        health=health,
        root=root,
        assets={path.name: path for path in STATIC.iterdir()},
        authenticates=True,
    )


system = system_of(pipeline)

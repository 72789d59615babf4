"""Logging: one line an event, for people on a terminal, as JSON elsewhere. No payloads, ever."""

import logging
import sys

import structlog


def configure(*, json: bool | None = None, level: str = "info") -> None:
    """Set structlog up for a server process. `json` None: by whether stderr is a terminal."""
    plain = sys.stderr.isatty() if json is None else not json
    renderer = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if plain
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )

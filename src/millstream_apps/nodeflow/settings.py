"""The system's settings, from the environment."""

from functools import lru_cache
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class NodeflowSettings(BaseSettings):
    """Read from the environment, once.

    `files` (NODEFLOW_FILES) is the folder that file nodes may read in; without one they refuse.
    `allow` (NODEFLOW_ALLOW, a JSON list) names addresses inside of the network that nodes may
    reach all the same: `["10.1.2.3:8080"]`. `keep_events` and `keep_seconds` say how much of a
    flow's log is kept.
    """

    model_config = SettingsConfigDict(frozen=True, env_prefix="NODEFLOW_", extra="ignore")

    host: str = "127.0.0.1"
    port: int = 8003
    files: Path | None = None
    allow: tuple[str, ...] = ()
    keep_events: int = Field(default=10_000, ge=100)
    keep_seconds: float = Field(default=86_400.0, gt=0)


@lru_cache(maxsize=1)
def settings() -> NodeflowSettings:
    """The settings of this process."""
    return NodeflowSettings()

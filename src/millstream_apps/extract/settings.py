"""The system's settings, by the environment names that its deployments use already."""

from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, Field, HttpUrl, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Names = Annotated[tuple[str, ...], NoDecode]


class ExtractSettings(BaseSettings):
    """Read from the environment, once. Sizes are bytes or, where the name says buffer, messages;
    durations seconds.

    The `stream_buffer_*` settings are told to clients, and bound nothing here: a slow client costs
    a cursor, and no result is ever dropped. `extract_data` is the folder for fetched pages and the
    journals of sites; `extract_allow` are exceptions to the addresses that are refused.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", populate_by_name=True, env_ignore_empty=True
    )

    extract_host: str = "127.0.0.1"
    extract_port: int = Field(default=8080, validation_alias=AliasChoices("EXTRACT_PORT", "PORT"))
    api_keys: Names = ()
    require_auth: bool = False
    stream_buffer_size: int = Field(default=256, ge=1)
    stream_buffer_max_size: int = Field(default=2048, ge=1)
    stream_max_concurrent: int = Field(default=1000, ge=1)
    stream_default_timeout: float = Field(default=600.0, gt=0)
    stream_rate_limit_enabled: bool = True
    stream_rate_limit_rps: float = Field(default=10.0, gt=0)
    stream_rate_limit_burst: int = Field(default=20, ge=1)
    sse_keepalive_interval: float = Field(default=30.0, gt=0)
    ws_max_message_size: int = Field(default=16 * 2**20, ge=1024)
    ws_ping_interval: float = Field(default=30.0, gt=0)
    gate_hi_threshold: float = Field(default=0.7, ge=0, le=1)
    gate_lo_threshold: float = Field(default=0.3, ge=0, le=1)
    extract_workers: int | None = Field(default=None, ge=1)
    extract_data: Path = Path(".millstream/extract")
    extract_cache_ttl: float = Field(default=3600.0, gt=0)
    extract_user_agent: str | None = None
    extract_allow: Names = ()
    extract_per_host: int = Field(default=16, ge=1)
    extract_max_bytes: int = Field(default=10 * 2**20, ge=1024)
    extract_chromium: Path | None = None
    extract_chromium_flags: Names = ()
    search_provider: str = Field(default="auto", pattern="^(auto|serper|searxng)$")
    serper_api_key: str | None = None
    serper_url: HttpUrl = HttpUrl("https://google.serper.dev/search")
    searxng_url: HttpUrl | None = None
    search_timeout: float = Field(default=15.0, gt=0)

    @field_validator("api_keys", "extract_allow", "extract_chromium_flags", mode="before")
    @classmethod
    def _by_commas(cls, said: object) -> object:
        if isinstance(said, str):
            return tuple(each.strip() for each in said.split(",") if each.strip())
        return said


@lru_cache(maxsize=1)
def settings() -> ExtractSettings:
    """The settings of this process."""
    return ExtractSettings()

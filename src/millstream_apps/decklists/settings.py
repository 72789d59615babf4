"""The system's settings, by the environment names that its deployments use already."""

from functools import lru_cache
from pathlib import Path

from pydantic import AliasChoices, Field, HttpUrl
from pydantic_settings import BaseSettings, SettingsConfigDict


class DecklistSettings(BaseSettings):
    """Read from the environment, once. Sizes in MB are of 1024 kB of 1024 bytes.

    `use_gpu` is accepted and reported; reading needs none. `max_workers` is how many processes
    read pictures.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    service_host: str = "127.0.0.1"
    service_port: int = Field(default=8002, validation_alias=AliasChoices("SERVICE_PORT", "PORT"))
    debug: bool = False
    use_gpu: bool = False
    enable_logging: bool = True
    main_api_url: HttpUrl | None = None
    main_api_key: str | None = None
    max_file_size_mb: int = Field(default=10, ge=1)
    max_batch_size: int = Field(default=10, ge=1)
    enable_parallel: bool = False
    max_workers: int = Field(default=2, ge=1)
    card_mapping_path: Path | None = None

    @property
    def max_file_bytes(self) -> int:
        """The largest picture, in bytes."""
        return self.max_file_size_mb * 2**20


@lru_cache(maxsize=1)
def settings() -> DecklistSettings:
    """The settings of this process."""
    return DecklistSettings()

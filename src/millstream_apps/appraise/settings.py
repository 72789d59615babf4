"""The system's settings, from the environment (`APPRAISE_TIMEOUT=60`): limits, and the database."""

from functools import lru_cache
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from millstream import Settings

DATABASE = "appraise.db"


class AppraiseSettings(BaseSettings):
    """Read once a process. Sizes in MB are of 1024 kB of 1024 bytes, durations are seconds.

    `database_url`: any SQLAlchemy URL; a SQLite file beside the store where not given.
    `public_url`: how phones reach this server, where that differs from what their requests say.
    `workers`: how many processes look at photos; each holds the index.
    """

    model_config = SettingsConfigDict(env_prefix="APPRAISE_", frozen=True, extra="ignore")

    database_url: str | None = None
    public_url: str | None = None
    workers: int = Field(default=2, ge=1)
    timeout: float = Field(default=90.0, gt=0)
    max_file_size_mb: int = Field(default=10, ge=1)
    max_body_size_mb: int = Field(default=100, ge=1)

    @property
    def max_file_bytes(self) -> int:
        """The largest photo, in bytes."""
        return self.max_file_size_mb * 2**20

    @property
    def max_body_bytes(self) -> int:
        """The largest request, in bytes."""
        return self.max_body_size_mb * 2**20

    def database(self) -> str:
        """The database's URL: of the analyses and of the catalogue."""
        return self.database_url or f"sqlite:///{beside_store(Settings.load().store)}"


def beside_store(store: str) -> Path:
    """The SQLite file in the folder of a store like `sqlite:///data/runs.db`; in `.millstream` for
    stores that have no folder."""
    path = store.removeprefix("sqlite:///")
    folder = Path(path).parent if path != store else Path(".millstream")
    return folder / DATABASE


@lru_cache(maxsize=1)
def settings() -> AppraiseSettings:
    """The settings of this process."""
    return AppraiseSettings()

"""Every setting, in one frozen object, validated once.

From arguments (they win), the environment (`MILLSTREAM_PORT=9000`), or a TOML file
(`millstream.toml`, or the one that `MILLSTREAM_CONFIG` names). An unknown name is refused.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from millstream.errors import SettingsError, did_you_mean

PREFIX = "MILLSTREAM_"
CONFIG = "millstream.toml"


class Settings(BaseSettings):
    """How a server runs. Sizes are bytes, durations seconds."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True
    )

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 picks a free one")
    store: str = Field(
        "sqlite:///.millstream/millstream.db",
        description="memory:// or sqlite:///PATH (four slashes for an absolute path)",
    )
    blobs: Path | None = Field(
        None, description="folder for uploads; beside the store's file where not given"
    )
    durability: Literal["full", "process"] = Field(
        "full", description="full: outlives a power cut; process: outlives the process's death"
    )
    open_to_network: bool = Field(
        False, description="listen on other addresses than loopback although no keys are configured"
    )
    api_keys: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        repr=False,
        description="keys that open the server, as KEY or OWNER:KEY; in the environment separated "
        "by commas",
    )
    keys_file: Path = Field(
        Path(".millstream/keys.json"),
        description="where `millstream keys` keeps the hashes of the keys that it makes",
    )
    rate_limit: str | None = Field(
        None,
        description="requests by each owner, or else client address, as 1200/minute; off: any "
        "number. Default: 1200/minute, but none for whoever asks from this machine without a key",
    )
    streams: int = Field(20_000, ge=1, description="most streams and sockets open at a time")
    owner_streams: int | None = Field(
        None,
        ge=1,
        description="of these, most by each owner, or else client address. Default: 1000, but any "
        "number for whoever asks from this machine without a key",
    )
    origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="further origins whose pages may open WebSockets, as https://example.org; "
        "in the environment separated by commas",
    )
    max_runs: int = Field(1000, ge=1, description="runs worked on at a time")
    threads: int = Field(32, ge=1, description="threads for steps in all")
    body_bytes: int = Field(128 * 2**20, ge=1, description="largest request body")
    file_bytes: int = Field(32 * 2**20, ge=1, description="largest uploaded file")
    json_bytes: int = Field(8 * 2**20, ge=1, description="largest JSON body")
    files: int = Field(100, ge=1, description="most files in a request")
    heartbeat: float = Field(15.0, gt=0, description="seconds of silence before a heartbeat")
    stall_timeout: float = Field(
        60.0, gt=0, description="a reader that takes nothing for so long is closed"
    )
    drain: float = Field(5.0, ge=0, description="how long runs may finish at shutdown")
    lease_ttl: float = Field(15.0, gt=0, description="a worker's lease on a run")
    keep: float | None = Field(
        7 * 86_400.0, ge=0, description="how long runs are kept after their end"
    )

    def __init__(self, **values: Any) -> None:
        _refuse_unknown(values, "argument")
        try:
            super().__init__(**values)
        except ValidationError as error:
            faults = (f"{e['loc'][0] if e['loc'] else '?'}: {e['msg']}" for e in error.errors())
            raise SettingsError("; ".join(faults)) from error

    @field_validator("origins", "api_keys", mode="before")
    @classmethod
    def _by_commas(cls, said: Any) -> Any:
        if isinstance(said, str):
            return [origin.strip() for origin in said.split(",") if origin.strip()]
        return said

    @classmethod
    def load(cls, defaults: Mapping[str, Any] | None = None, /, **arguments: Any) -> "Settings":
        """Arguments over environment over file over `defaults`. Arguments that are None count as
        not given.

        Raises SettingsError, naming the setting, where it came from, and the fix.
        """
        given = {name: value for name, value in arguments.items() if value is not None}
        _refuse_unknown(given, "argument")
        _refuse_unknown(_environment(), "environment variable", PREFIX)
        file = _file()
        environment = _environment()
        merged = {**(defaults or {}), **file, **given}
        for name in environment.keys() - given.keys():
            merged.pop(name, None)  # the environment is read by the base class
        return cls(**merged)


def _environment() -> dict[str, str]:
    """By setting. In any case, as the base class reads it; an empty one says nothing."""
    named = {
        name[len(PREFIX) :].lower(): value
        for name, value in os.environ.items()
        if name.upper().startswith(PREFIX) and value != ""
    }
    for theirs in ("config", "key"):  # the file's place; the key that the command line shows
        named.pop(theirs, None)
    return named


def _file() -> dict[str, Any]:
    named = os.environ.get(PREFIX + "CONFIG")
    path = Path(named or CONFIG)
    if not path.exists():
        if named:
            raise SettingsError(f"{PREFIX}CONFIG names {path}, which is not there")
        return {}
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {error}") from error
    _refuse_unknown(found, f"setting in {path}")
    return found


def _refuse_unknown(given: Mapping[str, Any], kind: str, prefix: str = "") -> None:
    for name in given:
        if name not in Settings.model_fields:
            shown = f"{prefix}{name.upper() if prefix else name}"
            near = did_you_mean(name, Settings.model_fields)
            raise SettingsError(f"{kind} {shown!r} is unknown{near}")

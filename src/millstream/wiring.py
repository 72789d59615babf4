"""Wiring: settings choose the adapters. The one place that names them.

Clock, chance and ids are the real ones here, injected once at the root.
"""

import os
import time
import uuid
from pathlib import Path
from urllib.parse import unquote, urlsplit

from millstream.blob_stores.disk import DiskBlobs
from millstream.blobs import BlobStore
from millstream.engine.engine import EngineOptions
from millstream.errors import SettingsError
from millstream.server.auth import Authenticator
from millstream.server.keys import ApiKeys, KeyFile
from millstream.settings import Settings
from millstream.store import Store
from millstream.stores.memory import MemoryStore
from millstream.stores.sqlite import SqliteStore


def new_id() -> str:
    """A UUID of version 7 (RFC 9562, section 5.7): sortable by time, 74 bits of chance."""
    stamp = time.time_ns() // 1_000_000
    chance = int.from_bytes(os.urandom(10), "big") >> 6
    value = (stamp & (1 << 48) - 1) << 80 | 0x7 << 76 | (chance >> 62) << 64
    value |= 0b10 << 62 | chance & (1 << 62) - 1
    digits = f"{value:032x}"  # by way of a UUID object it takes twice as long
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def make_store(settings: Settings) -> Store:
    """The store that `settings.store` names. Raises SettingsError."""
    url = urlsplit(settings.store)
    if url.scheme == "memory":
        return MemoryStore()
    if url.scheme == "sqlite":
        return SqliteStore(sqlite_path(settings.store), durability=settings.durability)
    raise SettingsError(
        f"store: {settings.store!r} is no store URL; use memory:// or sqlite:///PATH"
    )


def sqlite_path(url: str) -> Path:
    """`sqlite:///a/b.db` is a/b.db, `sqlite:////a/b.db` is /a/b.db."""
    path = unquote(url.removeprefix("sqlite://"))
    if not path.startswith("/") or len(path) < 2:
        raise SettingsError(f"store: {url!r} names no file; write sqlite:///PATH")
    return Path(path[1:])


def make_blobs(settings: Settings) -> BlobStore:
    """The blob store: a folder."""
    root = settings.blobs
    if root is None:
        url = urlsplit(settings.store)
        beside = sqlite_path(settings.store).parent if url.scheme == "sqlite" else None
        root = (beside or Path(".millstream")) / "blobs"
    return DiskBlobs(root, new_id=lambda: uuid.uuid4().hex, now=time.time)


def authenticators(settings: Settings) -> tuple[Authenticator, ...]:
    """Who is known: by the keys of the settings, and those of the file."""
    return ApiKeys.of(settings.api_keys), KeyFile(settings.keys_file, now=time.time)


def engine_options(settings: Settings) -> EngineOptions:
    """The engine's part of the settings."""
    return EngineOptions(
        max_runs=settings.max_runs,
        threads=settings.threads,
        drain=settings.drain,
        lease_ttl=settings.lease_ttl,
        keep=settings.keep,
    )

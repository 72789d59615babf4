"""API keys: making them, keeping their hashes, knowing them again.

A key is 256 bits of chance, so nobody finds it by trying, however fast a hash can be computed: what
slow hashes (bcrypt, Argon2) protect is passwords that people make up. So SHA-256 is enough, and
asking costs a microsecond. Hashes are compared in constant time.

Knows no route. The one file is read and written here; the clock comes in.
"""

import base64
import hashlib
import hmac
import os
import secrets
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from millstream.errors import Conflict, NotFound, SettingsError
from millstream.server.auth import Credentials, Principal

PREFIX: Final = "ms_"
"""By which a key is known for one when it turns up where it should not (secret scanners)."""

LOOK_AGAIN: Final = 1.0
"""Seconds after which the file is looked at again: a removed key opens nothing for longer."""


class Key(Struct, frozen=True):
    """A key as it is kept: never itself, only its SHA-256. `created` is seconds since the epoch."""

    name: str
    owner: str
    sha256: str
    created: float = 0.0


def new_key() -> str:
    """A fresh key: 43 characters of base64url (RFC 4648), 256 bits of chance."""
    return PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()


def hashed(key: str) -> str:
    """A key's SHA-256 as lower-case hex."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


class ApiKeys:
    """An authenticator over keys at hand."""

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self._keys: dict[str, list[Key]] = {}
        for key in keys:
            # By a part of the hash that nobody can steer; the whole is compared in constant time.
            self._keys.setdefault(key.sha256[:8], []).append(key)

    @classmethod
    def of(cls, plain: Iterable[str]) -> "ApiKeys":
        """Keys given in the clear, by whoever runs the server: `key`, or `owner:key`. Of one
        without an owner the owner is the key itself (its hash). Raises SettingsError."""
        made: list[Key] = []
        for number, said in enumerate(plain, 1):
            owner, _, key = said.strip().rpartition(":")
            if not key:
                raise SettingsError(f"api_keys: entry {number} has no key; write key or owner:key")
            digest = hashed(key)
            owner = owner.strip() or f"key-{digest[:12]}"
            made.append(Key(name=owner, owner=owner, sha256=digest))
        return cls(made)

    @property
    def configured(self) -> bool:
        """Whether there is any key."""
        return bool(self._keys)

    def principal(self, key: str) -> Principal | None:
        """Whose key this is."""
        digest = hashed(key)
        found: Key | None = None
        for known in self._keys.get(digest[:8], ()):
            if hmac.compare_digest(known.sha256, digest):
                found = known
        return found and Principal(owner=found.owner, name=found.name)

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        """Who brings one of these keys, in whichever header."""
        for key in (credentials.api_key, credentials.bearer):
            if key and (found := self.principal(key)) is not None:
                return found
        return None

    def __repr__(self) -> str:
        return f"<ApiKeys: {sum(map(len, self._keys.values()))}>"


class _Document(Struct):
    """The file's content."""

    keys: list[Key] = []


class KeyFile:
    """An authenticator over the keys of a file, which may change while it is in use."""

    def __init__(self, path: Path, *, now: Callable[[], float]) -> None:
        self._path, self._now = path, now
        self._looked = float("-inf")
        self._stamp: tuple[int, int] | None = None
        self._known = ApiKeys()

    @property
    def configured(self) -> bool:
        """Whether there is any key in it."""
        return self._current().configured

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        """Who brings one of its keys."""
        return await self._current().authenticate(credentials)

    def _current(self) -> ApiKeys:
        moment = self._now()
        if moment - self._looked >= LOOK_AGAIN:
            self._looked = moment
            stamp = _stamp(self._path)
            if stamp != self._stamp:
                self._known = ApiKeys(read(self._path))
                self._stamp = stamp
        return self._known

    def __repr__(self) -> str:
        return f"<KeyFile {self._path}: {self._known!r}>"


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino


# --- the file -------------------------------------------------------------------------------------


def read(path: Path) -> list[Key]:
    """The keys in a file; none where there is no such file. Raises SettingsError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Document).keys
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SettingsError(f"keys_file {path}: {error.strerror or error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"keys_file {path} does not hold keys ({error}); name another, or remove it and add "
            "the keys anew"
        ) from error


def add(path: Path, name: str, *, owner: str | None, now: float) -> str:
    """Make a key and keep its hash; returns the key, which nobody can tell again. Its owner is
    `name` where none is given. Raises Conflict where there is one of this name, SettingsError."""
    keys = read(path)
    if not name.strip():
        raise SettingsError("a key needs a name, by which it is listed and removed")
    if any(key.name == name for key in keys):
        raise Conflict(f"there is a key named {name!r} already; remove it first, or choose another")
    made = new_key()
    _write(path, [*keys, Key(name, owner or name, hashed(made), now)])
    return made


def remove(path: Path, name: str) -> Key:
    """Forget a key. A server that runs knows within a second. Raises NotFound, SettingsError."""
    keys = read(path)
    gone = next((key for key in keys if key.name == name), None)
    if gone is None:
        raise NotFound(f"there is no key named {name!r} in {path}")
    _write(path, [key for key in keys if key is not gone])
    return gone


def _write(path: Path, keys: list[Key]) -> None:
    """Whole or not at all; readable by its owner alone."""
    encoded = msgspec.json.format(msgspec.json.encode(_Document(keys)), indent=2)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # mode 0600
        with os.fdopen(file, "wb") as out:
            out.write(encoded + b"\n")
            out.flush()
            os.fsync(out.fileno())
        os.replace(draft, path)
    except OSError as error:
        raise SettingsError(f"keys_file {path}: {error.strerror or error}") from error

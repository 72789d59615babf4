"""Who asks: from a request's credentials to a principal, and from there to whose runs it sees.

An `Authenticator` knows one kind of credential; `Guard` asks all that are configured. What it found
stands in a context variable for the rest of the request, so that no route passes owners around.
Knows no store, and nothing of how an authenticator does its work.
"""

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Final, Protocol

from fastapi.requests import HTTPConnection
from msgspec import Struct

from millstream.errors import Unauthenticated
from millstream.server.request import header, query


class Principal(Struct, frozen=True):
    """Who asks. Runs that it starts belong to `owner`, and it sees no other owner's; with owner
    None (anonymous) those alone that belong to nobody. `name` is for logs."""

    owner: str | None
    name: str


ANONYMOUS: Final = Principal(owner=None, name="anonymous")


class Credentials(Struct, frozen=True):
    """What a request brings: `X-API-Key`, the token of `Authorization: Bearer`, or `?token=`."""

    api_key: str | None = None
    bearer: str | None = None

    def __bool__(self) -> bool:
        return bool(self.api_key or self.bearer)

    def __repr__(self) -> str:
        return f"<Credentials{' with a key' if self else ': none'}>"  # never the key itself


class Authenticator(Protocol):
    """One way to know somebody: API keys here; signed tokens may be another."""

    @property
    def configured(self) -> bool:
        """Whether there is anybody that it would know."""
        ...

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        """Who brings these; None where they are not of its kind, or nobody's."""
        ...


caller: ContextVar[Principal | None] = ContextVar("millstream_caller", default=None)
"""Who asks, in the request at hand. None: nobody had to say, or no request is at hand; then every
run may be seen."""


def credentials_of(connection: HTTPConnection) -> Credentials:
    """The credentials of a request or a WebSocket handshake.

    `?token=` counts for WebSockets and GET alone: a browser's WebSocket and EventSource cannot set
    headers. (Addresses end up in other programs' logs: where headers can be set, set them.)
    """
    scheme, _, token = (header(connection, "authorization") or "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    method = connection.scope.get("method", "GET")  # a handshake has none
    if not bearer and method in ("GET", "HEAD"):
        bearer = query(connection, "token") or ""
    return Credentials(header(connection, "x-api-key") or None, bearer or None)


class Guard:
    """Asks for credentials where anything is configured that could know them."""

    def __init__(self, authenticators: Sequence[Authenticator]) -> None:
        self._authenticators = tuple(authenticators)

    @property
    def configured(self) -> bool:
        """Whether anybody must say who they are."""
        return any(each.configured for each in self._authenticators)

    async def authenticate(
        self,
        connection: HTTPConnection,
        *,
        also: Authenticator | None = None,
        required: bool = True,
    ) -> Principal:
        """Who asks; from here on they are the caller of this request.

        Raises Unauthenticated for credentials that nobody knows, and, where `required`, for none.
        With nothing configured and nothing required everybody is anonymous, and sees every run.
        """
        asked = [*self._authenticators, *([also] if also is not None else [])]
        asked = [each for each in asked if each.configured]
        credentials = credentials_of(connection)
        if not asked and not required:
            return ANONYMOUS
        if not credentials:
            if required:
                raise Unauthenticated(
                    "who asks? Send a key as `X-API-Key: KEY` or `Authorization: Bearer KEY`"
                )
            caller.set(ANONYMOUS)
            return ANONYMOUS
        for authenticator in asked:
            principal = await authenticator.authenticate(credentials)
            if principal is not None:
                caller.set(principal)
                return principal
        raise Unauthenticated("this key is not known here; was it removed?", known=False)

    def __repr__(self) -> str:
        return f"<Guard {'asking' if self.configured else 'open'}: {self._authenticators!r}>"

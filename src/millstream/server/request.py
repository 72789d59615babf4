"""A request's head, in the server room: its fields and its query, read straight from the scope.

Every request is asked for a dozen fields, most of which it does not have; the framework's mappings
raise and catch an error for each of those.
"""

from fastapi.requests import HTTPConnection


def header(connection: HTTPConnection, name: str) -> str | None:
    """The first field of that name (given in lower case); None where there is none."""
    wanted = name.encode()
    for key, value in connection.scope["headers"]:
        if key == wanted:
            return value.decode("latin-1")
    return None


def headers(connection: HTTPConnection, name: str) -> list[str]:
    """All fields of that name (given in lower case)."""
    wanted = name.encode()
    return [value.decode("latin-1") for key, value in connection.scope["headers"] if key == wanted]


def query(connection: HTTPConnection, name: str) -> str | None:
    """A parameter of the query, the last of that name; None where there is none."""
    if not connection.scope["query_string"]:
        return None
    return connection.query_params.get(name)

"""Outgoing: is this a URL that we would ask, before any name is looked up? Pure.

A URL is read once, here, and strictly: what two parsers might read differently is refused, not
mended. Hosts that are numbers in disguise (`2130706433`, `0x7f.1`, `127.1`, full-width digits) are
refused whatever they mean. Knows nothing of connections.
"""

import re
import unicodedata
from typing import Final
from urllib.parse import urlsplit

import httpx
import idna
from msgspec import Struct

from millstream.outgoing.addresses import Address, Allowed, read
from millstream.outgoing.errors import OutgoingRefused

LONGEST: Final = 8192
PORTS: Final = {"http": 80, "https": 443}

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_AUTHORITY = re.compile(r"//([^/?#]*)")
_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
_PLAIN_REST = re.compile(r"(?:/(?!\.)[A-Za-z0-9._~@:,;=+-]*)+(?:\?[A-Za-z0-9._~/@:,;=&+-]*)?")
"""What may follow a host that no parser would change, or read in another way: most URLs."""
_DOTS = re.compile("[\u3002\uff0e\uff61]")
_INSIDE = ("localhost", "local", "internal", "localdomain", "home.arpa", "lan", "intranet", "corp")
"""Names that lead inside by convention (RFC 6761, 6762, 8375; private-use `internal`)."""

# Ports of other services, which an HTTP request could be made to speak to: the list of "bad ports"
# in the Fetch standard.
_BAD_PORTS = (
    "1 7 9 11 13 15 17 19 20 21 22 23 25 37 42 43 53 69 77 79 87 95 101 102 103 104 109 110 111 "
    "113 115 117 119 123 135 137 139 143 161 179 389 427 465 512 513 514 515 526 530 531 532 540 "
    "548 554 556 563 587 601 636 989 990 993 995 1719 1720 1723 2049 3659 4045 4190 5060 5061 "
    "6000 6566 6665 6666 6667 6668 6669 6679 6697 10080"
)
_OTHER_SERVICES = frozenset(map(int, _BAD_PORTS.split()))
# and those of databases and caches, which answer to plain lines
_DATABASES = frozenset({2375, 2376, 2379, 3306, 5432, 5984, 6379, 9042, 11211, 27017})


class Target(Struct, frozen=True):
    """A URL that may be asked if its host's addresses may. `address` where the host is one."""

    url: str
    scheme: str
    host: str
    port: int
    address: Address | None = None
    named: bool = False

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port."""
        return self.scheme, self.host, self.port


def target(text: str, allowed: Allowed) -> Target:
    """The URL in its one plain form. `named` says that the allow-list has this name.

    Raises OutgoingRefused, naming the host (or what is in its place) and the reason.
    """
    _check_characters(text)
    scheme = _scheme(text)
    found = _AUTHORITY.match(text, len(scheme) + 1)
    if found is None or not found[1]:
        raise _invalid(text, "it has no host; write https://host/path")
    authority = found[1]
    if "@" in authority:
        raise OutgoingRefused(
            f"{_shown(text)}: a URL with a user name or password before the host is refused; "
            f"the host would be {authority.rpartition('@')[2]!r}",
            code="userinfo_refused",
        )
    host, port = _split_port(text, authority, scheme)
    host, address = _host(text, host)
    named = allowed.name(host, port)
    exempt = named or (address is not None and allowed.address(address, port))
    if not exempt:
        _check_place(host, port, address, allowed)
    rest = text[found.end() :].partition("#")[0]
    url = _rebuild(text, scheme, host, port, address, rest)
    return Target(url, scheme, host, port, address, named)


def _check_characters(text: str) -> None:
    if len(text) > LONGEST:
        raise OutgoingRefused(
            f"a URL of {len(text)} characters; at most {LONGEST}", code="url_invalid"
        )
    if text.isascii() and text.isprintable() and " " not in text and "\\" not in text:
        return
    for each in text:
        if each == "\\" or each.isspace() or unicodedata.category(each) in ("Cc", "Cf", "Cs"):
            raise _invalid(text, f"it holds {each!r}, which programs read in different ways")


def _scheme(text: str) -> str:
    found = _SCHEME.match(text)
    if found is None:
        raise _invalid(text, "it has no scheme; write https://host/path")
    scheme = found[1].lower()
    if scheme not in PORTS:
        raise OutgoingRefused(
            f"{_shown(text)}: the scheme {scheme!r} is refused; only http and https are fetched",
            code="scheme_refused",
        )
    return scheme


def _split_port(text: str, authority: str, scheme: str) -> tuple[str, int]:
    host, colon, port = authority.rpartition(":")
    if not colon or "]" in port:
        host, port = authority, ""
    if not port:
        return host, PORTS[scheme]
    if not (port.isascii() and port.isdigit()) or len(port) > 5 or not 0 < int(port) < 65_536:
        raise _invalid(text, f"{port!r} is no port")
    return host, int(port)


def _host(text: str, host: str) -> tuple[str, Address | None]:
    """The host as it is asked for (ASCII, lower case, no last dot); its address if it is one."""
    if host.startswith("["):
        address = read(host[1:-1]) if host.endswith("]") else None
        if address is None or address.version != 6 or "%" in host:
            raise _invalid(text, f"{host!r} is no IPv6 address in its plain form")
        return str(address), address
    name = _ascii(text, host).removesuffix(".")
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        address = read(name)
        if address is None or name != host.removesuffix("."):
            raise OutgoingRefused(
                f"{host!r} is an IP address in disguise; write it as four decimal numbers",
                code="address_refused",
            )
        return name, address
    if len(name) > 253 or not _NAME.fullmatch(name):
        raise _invalid(text, f"{host!r} is no host name")
    return name, None


def _ascii(text: str, host: str) -> str:
    if host.isascii():
        return host.lower()
    plain = _DOTS.sub(".", unicodedata.normalize("NFKC", host)).lower()
    if plain.isascii():
        if _NUMBER.fullmatch(plain.removesuffix(".").rpartition(".")[2]):
            return plain
        raise _invalid(text, f"the host {host!r} is written in look-alike letters")
    try:
        return idna.encode(plain, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise _invalid(text, f"{host!r} is no host name ({error})") from error


def _check_place(host: str, port: int, address: Address | None, allowed: Allowed) -> None:
    """Refuse by name, by number and by port."""
    if address is not None:
        reason = allowed.refuses(address, port)
        if reason is not None:
            raise refusal(host, address, reason)
    elif any(host == name or host.endswith(f".{name}") for name in _INSIDE) or "." not in host:
        raise OutgoingRefused(
            f"{host!r} is refused: a name of the inside of a network", code="address_refused"
        )
    if port in _OTHER_SERVICES or port in _DATABASES:
        raise OutgoingRefused(
            f"port {port} of {host!r} is refused: it belongs to another service than the web",
            code="port_refused",
        )


def refusal(host: str, address: Address, reason: str) -> OutgoingRefused:
    """The error for an address that is not asked."""
    told = f"{host!r}" if host == str(address) else f"{host!r} leads to {address} and"
    return OutgoingRefused(
        f"{told} is refused: the address is {reason}; only public addresses are fetched",
        code="address_refused",
    )


def _rebuild(
    text: str, scheme: str, host: str, port: int, address: Address | None, rest: str
) -> str:
    """The URL anew from its parts; both parsers that follow must see the same host in it."""
    place = f"[{host}]" if address is not None and address.version == 6 else host
    if port != PORTS[scheme]:
        place = f"{place}:{port}"
    if not rest.startswith("/"):
        rest = "/" + rest
    if _PLAIN_REST.fullmatch(rest):
        return f"{scheme}://{place}{rest}"
    try:
        url = httpx.URL(f"{scheme}://{place}{rest}")
    except (httpx.InvalidURL, UnicodeError) as error:
        raise _invalid(text, str(error)) from error
    if url.raw_host.decode("ascii") != host or urlsplit(str(url)).hostname != host:
        raise _invalid(text, f"its host {host!r} is read in different ways")
    return str(url)


def _invalid(text: str, why: str) -> OutgoingRefused:
    return OutgoingRefused(
        f"{_shown(text)} is no URL that can be fetched: {why}", code="url_invalid"
    )


def _shown(text: str) -> str:
    """The URL in a message: short, on one line, and without a password."""
    short = text if len(text) <= 120 else text[:117] + "..."
    hidden = re.sub(r"//[^/?#@]*@", "//…@", short)
    return repr(hidden)

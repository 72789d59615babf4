"""Outgoing: which IP addresses may be asked. Pure: addresses in, a reason or None out.

The tables follow the IANA registries of special-purpose addresses (RFC 6890 and its updates).
Every form in which an IPv6 address carries an IPv4 one is refused whole: what is at the end of it
is decided by somebody else's translator, not here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from millstream.errors import PolicyError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_REFUSED = (
    # cloud metadata outside of the ranges below (the first is a public address by number)
    ("168.63.129.16/32", "a cloud's metadata service"),
    ("169.254.169.254/32", "a cloud's metadata service"),
    ("100.100.100.200/32", "a cloud's metadata service"),
    ("192.0.0.192/32", "a cloud's metadata service"),
    ("fd00:ec2::254/128", "a cloud's metadata service"),
    ("fd20:ce::254/128", "a cloud's metadata service"),
    # RFC 6890, table by table
    ("0.0.0.0/8", "this network"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "shared by a carrier's customers (CGNAT)"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "reserved for protocols"),
    ("192.0.2.0/24", "for documentation"),
    ("192.31.196.0/24", "for DNS service (AS112)"),
    ("192.52.193.0/24", "for multicast relays (AMT)"),
    ("192.88.99.0/24", "a 6to4 relay"),
    ("192.168.0.0/16", "private"),
    ("192.175.48.0/24", "for DNS service (AS112)"),
    ("198.18.0.0/15", "for benchmarks"),
    ("198.51.100.0/24", "for documentation"),
    ("203.0.113.0/24", "for documentation"),
    ("224.0.0.0/4", "multicast"),
    ("255.255.255.255/32", "broadcast"),
    ("240.0.0.0/4", "reserved"),
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("::ffff:0:0/96", "an IPv4 address in IPv6 form (mapped)"),
    ("::ffff:0:0:0/96", "an IPv4 address in IPv6 form (translated)"),
    ("::/96", "an IPv4 address in IPv6 form (compatible)"),
    ("64:ff9b::/96", "an IPv4 address behind a translator (NAT64)"),
    ("64:ff9b:1::/48", "an IPv4 address behind a translator (NAT64)"),
    ("100::/64", "discarded"),
    ("100:0:0:1::/64", "reserved for protocols"),
    ("2001::/32", "an IPv4 address in a tunnel (Teredo)"),
    ("2001:db8::/32", "for documentation"),
    ("2001::/23", "reserved for protocols"),
    ("2002::/16", "an IPv4 address in a tunnel (6to4)"),
    ("2620:4f:8000::/48", "for DNS service (AS112)"),
    ("3fff::/20", "for documentation"),
    ("5f00::/16", "a routing segment"),
    ("fc00::/7", "private (unique local)"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "private (site-local)"),
    ("ff00::/8", "multicast"),
)

_TABLES: dict[int, tuple[tuple[Network, str], ...]] = {
    version: tuple(
        (network, reason)
        for network, reason in ((ip_network(text), reason) for text, reason in _REFUSED)
        if network.version == version
    )
    for version in (4, 6)
}
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)


def why_refused(address: Address) -> str | None:
    """Why nothing is fetched from this address ("loopback", …); None where it is public."""
    for network, reason in _TABLES[address.version]:
        if address in network:
            return reason
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return "link-local"
        if address not in _GLOBAL_UNICAST:
            return "reserved"
        if (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP:  # RFC 5214, section 6.1
            return "an IPv4 address in a tunnel (ISATAP)"
    return None if address.is_global else "not public"


@dataclass(frozen=True)
class _Entry:
    """One permission: a network or a name, and a port or any."""

    network: Network | None
    name: str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> "_Entry":
        said = text.strip()
        network = _network(said)
        if network is not None:
            return cls(network, "", None)
        host, colon, port = said.rpartition(":")
        if not colon or "[" in port or "]" in port:
            host, port = said, ""
        if colon and port and not (port.isascii() and port.isdigit() and int(port) <= 65_535):
            raise _unreadable(text)
        number = int(port) if port else None
        network = _network(host.removeprefix("[").removesuffix("]"))
        if network is None and not _is_name(host):
            raise _unreadable(text)
        return cls(network, "" if network else host.lower().rstrip("."), number)

    def names(self, host: str, port: int) -> bool:
        return self.name == host and self.name != "" and self.port in (None, port)

    def covers(self, address: Address, port: int) -> bool:
        return self.network is not None and address in self.network and self.port in (None, port)


class Allowed:
    """The exceptions that an operator or a test makes: `"127.0.0.1:8000"`, `"[::1]:80"`,
    `"10.2.0.0/16"`, `"search.internal:8080"`; without a port, any.

    A name is allowed wherever it leads. Raises PolicyError where an entry cannot be read.
    """

    def __init__(self, entries: Iterable[str] = ()) -> None:
        self._entries = tuple(_Entry.parse(entry) for entry in entries)

    def name(self, host: str, port: int) -> bool:
        """Whether this very name is allowed."""
        return any(entry.names(host, port) for entry in self._entries)

    def address(self, address: Address, port: int) -> bool:
        """Whether this address is allowed at this port."""
        return any(entry.covers(address, port) for entry in self._entries)

    def refuses(self, address: Address, port: int) -> str | None:
        """Why nothing is fetched from there, exceptions considered."""
        reason = why_refused(address)
        return None if reason is None or self.address(address, port) else reason

    def __bool__(self) -> bool:
        return bool(self._entries)


def read(text: str) -> Address | None:
    """The address that this text is, in its one plain form; None where it is none."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def _network(text: str) -> Network | None:
    try:
        return ip_network(text)
    except ValueError:
        return None


def _is_name(text: str) -> bool:
    return bool(text) and text.isascii() and all(c.isalnum() or c in ".-_" for c in text)


def _unreadable(text: str) -> PolicyError:
    return PolicyError(
        f"allow: {text!r} is neither an address, a network nor a name; "
        "write 127.0.0.1:8000, [::1]:80, 10.2.0.0/16 or search.internal:8080"
    )

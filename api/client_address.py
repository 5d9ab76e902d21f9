"""Whose address a request comes from: the peer's, or what a proxy we trust says of it."""

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Scope

Networks = tuple[IPv4Network | IPv6Network, ...]

NOWHERE: Final = "0.0.0.0"  # noqa: S104  # stands for a peer without an address, such as a socket's
_MOST_HOPS: Final = 20


def read_networks(listed: str) -> Networks:
    """Return the networks of a comma-separated list; raises `ValueError`."""
    return tuple(ip_network(part.strip()) for part in listed.split(",") if part.strip())


def find_address(scope: Scope, trusted: Networks) -> str:
    """Return the caller's address.

    X-Forwarded-For is read from its end, as each proxy appends whom it heard from: the first one that is no
    proxy of ours is the caller. What stands before that anyone may have made up.
    """
    address = (scope.get("client") or (NOWHERE, 0))[0]
    if not _is_within(address, trusted):
        return address if _is_address(address) else NOWHERE
    said = ",".join(Headers(scope=scope).getlist("x-forwarded-for")).split(",")
    for hop in [part.strip() for part in said if part.strip()][: -_MOST_HOPS - 1 : -1]:
        if not _is_address(hop):
            break
        address = hop
        if not _is_within(hop, trusted):
            break
    return address


def group_address(address: str) -> str:
    """Return what is counted as one caller: the address, of IPv6 the /64 a site gives to one customer."""
    parsed = ip_address(address)
    if parsed.version == 4:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ip_network(f"{address.partition('%')[0]}/64", strict=False))


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text  # a zone is of this machine's interfaces


def _is_within(address: str, networks: Networks) -> bool:
    if not networks or not _is_address(address):
        return False
    parsed = ip_address(address)
    mapped = getattr(parsed, "ipv4_mapped", None) or parsed
    return any(mapped in network for network in networks)

"""Which addresses of the network a webhook may reach: public ones, checked where the connection is made."""

import asyncio
import ipaddress
import socket
from typing import Final

from core.errors import Forbidden, Unavailable

_CARRIERS: Final = tuple(
    ipaddress.ip_network(net) for net in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")
)
"""IPv6 ranges whose addresses carry an IPv4 address, which may be a private one (RFC 6052, 8215, 3056, 4380)."""


class AddressForbidden(Forbidden):
    """This host's address is not public, and webhooks reach public hosts only; correct the webhook's address."""


class HostUnknown(Unavailable):
    """This host's name can't be resolved; correct the webhook's address or its DNS record."""


def is_public(address: str) -> bool:
    """Tell whether anybody on the internet could be meant: not private, loopback, link-local, metadata or multicast."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif any(ip in net for net in _CARRIERS):
            return False
    return ip.is_global and not ip.is_multicast


async def resolve(host: str, port: int, *, allow_private: bool = False) -> str:
    """Return an address of the host to connect to; raises `AddressForbidden` where any of them is not public.

    Connect to what is returned, not to the name: a second look-up may answer otherwise (DNS rebinding).
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise HostUnknown from error
    addresses = [str(entry[4][0]) for entry in found]
    if not addresses:
        raise HostUnknown
    if not allow_private and not all(is_public(address) for address in addresses):
        raise AddressForbidden
    # the first is what the system prefers; most receivers without IPv6 have no such address
    return addresses[0]

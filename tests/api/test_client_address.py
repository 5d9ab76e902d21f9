"""Nobody chooses the address they are counted by."""

from typing import Any

import pytest

from api.client_address import NOWHERE, find_address, group_address, read_networks

PROXY = "10.0.0.1"


def scope(peer: str | None, *forwarded: str) -> dict[str, Any]:
    return {
        "type": "http",
        "client": (peer, 4711) if peer else None,
        "headers": [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded],
    }


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "expected"),
    [
        ("", "203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.0/8", "203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.0/8", PROXY, [], PROXY),
        ("10.0.0.0/8", PROXY, ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.0/8", PROXY, ["1.2.3.4, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.0/8", PROXY, ["1.2.3.4", "198.51.100.1, 10.2.3.4"], "198.51.100.1"),
        ("10.0.0.0/8", PROXY, ["1.2.3.4, nonsense"], PROXY),
        ("10.0.0.0/8", PROXY, ["1.2.3.4, nonsense, 10.2.3.4"], "10.2.3.4"),
        ("10.0.0.0/8", PROXY, ["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
        ("10.0.0.0/8", PROXY, [", ,,"], PROXY),
        ("10.0.0.0/8", PROXY, ["198.51.100.1:8080"], PROXY),
        ("10.0.0.0/8", PROXY, ["fe80::1%eth0"], PROXY),
        ("10.0.0.0/8", "::ffff:10.0.0.1", ["2001:db8::7"], "2001:db8::7"),
        ("2001:db8::/32", "2001:db8::1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.0/8, 192.0.2.1", "192.0.2.1", ["198.51.100.1, 10.0.0.9"], "198.51.100.1"),
        ("10.0.0.0/8", PROXY, ["9.9.9.9, " + "10.0.0.2, " * 30 + "10.0.0.3"], "10.0.0.2"),
        ("", None, [], NOWHERE),
        ("", "unix:socket", [], NOWHERE),
    ],
)
def test_the_caller_is_the_first_who_is_no_proxy(
    trusted: str, peer: str | None, forwarded: list[str], expected: str
) -> None:
    assert find_address(scope(peer, *forwarded), read_networks(trusted)) == expected


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("203.0.113.9", "203.0.113.9"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"), ("::ffff:203.0.113.9", "203.0.113.9"),
    ],
)  # fmt: skip
def test_a_customers_addresses_count_as_one(address: str, counted: str) -> None:
    assert group_address(address) == counted

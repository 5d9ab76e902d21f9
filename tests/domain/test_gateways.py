"""A gateway's signature holds near its time only, and for its own words and secret only."""

from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import pytest

from domain.gateways import TOLERANCE, CallbackNotSigned, check_signature, sign

SECRET = "whsec_b3VycyBhbG9uZQ=="
STAMP = 1_790_000_000
NEAR = int(TOLERANCE.total_seconds())


def check(*, now: int = STAMP, body: bytes = b"paid", **headers: str) -> None:
    given = {
        "webhook-id": "msg_1", "webhook-timestamp": str(STAMP),
        "webhook-signature": sign(SECRET, message_id="msg_1", stamp=STAMP, body=b"paid"),
    }  # fmt: skip
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    check_signature(SECRET, headers=given, body=body, now=datetime.fromtimestamp(now, UTC))


@pytest.mark.parametrize("seconds", [0, -NEAR, NEAR, -NEAR - 1, NEAR + 1])
def test_signature_holds_from_five_minutes_before_to_five_minutes_after(seconds: int) -> None:
    assert NEAR == 300
    with pytest.raises(CallbackNotSigned) if abs(seconds) > NEAR else nullcontext():
        check(now=STAMP + seconds)


@pytest.mark.parametrize(
    "other",
    [
        {"body": b"paid twice"},
        {"webhook_id": "msg_2"},
        {"webhook_timestamp": str(STAMP + 1)},
        {"webhook_signature": sign("whsec_b3RoZXI=", message_id="msg_1", stamp=STAMP, body=b"paid")},
        {"webhook_id": ""}, {"webhook_timestamp": ""}, {"webhook_timestamp": "-1"}, {"webhook_timestamp": "9" * 12},
        {"webhook_timestamp": "١٢٣"}, {"webhook_signature": ""}, {"webhook_signature": "v1,"},
    ],
)  # fmt: skip
def test_signature_of_anything_else_is_refused(other: dict[str, Any]) -> None:
    with pytest.raises(CallbackNotSigned):
        check(**other)

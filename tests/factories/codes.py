"""Codes of an authenticator app as tests need them."""

import asyncio
import time
from datetime import UTC, datetime

import pyotp

LEFT_S = 5.0
"""What a test needs of a step for what it does with a code."""


async def make_earlier_code(app: pyotp.TOTP) -> str:
    """Return the code of the step before, which still counts; waits for a new step where this one ends soon."""
    left = app.interval - time.time() % app.interval
    if left < LEFT_S:
        await asyncio.sleep(left + 0.05)
    return app.at(datetime.now(UTC), counter_offset=-1)

"""The second factor: time-based codes (RFC 6238) and the recovery codes for when the phone is gone."""

import hashlib
import re
import secrets
import time
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import pyotp
from pyotp.exceptions import OTPVerificationError
from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, Forbidden
from db.models import RecoveryCode, User
from domain.identity import bound_tenant
from domain.keys import field_cipher

ISSUER: Final = "ReGenesis"
CODES: Final = 10
_STEPS: Final = 1
"""Steps of 30 s that a phone's clock may be off (RFC 6238 §5.2)."""
_TABLE, _COLUMN = "identity.users", "two_factor_secret"
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: no letter looks like a digit."""


class SecondFactorWrong(Forbidden):
    """This code is wrong, expired or used already; take the one your app shows now, or a recovery code."""


class SecondFactorOn(Conflict):
    """A second factor is on already; turn it off before setting up another one."""


class SecondFactorOff(Conflict):
    """No second factor is on; set one up first, with `POST /v1/auth/totp`."""


async def enrol(session: AsyncSession, *, user_id: UUID) -> tuple[str, str]:
    """Return a new secret (base 32) and its otpauth URI, shown this once; it counts once a code confirms it.

    Raises `SecondFactorOn`. Enrolling again before confirming replaces the secret.
    """
    secret = pyotp.random_base32(32)
    sealed = (await field_cipher(session)).encrypt(secret, table=_TABLE, column=_COLUMN, row_id=user_id)
    email = await session.scalar(
        update(User)
        .where(User.id == user_id, User.two_factor_enabled.is_(False))
        .values(two_factor_secret=sealed, two_factor_last_step=None)
        .returning(User.email)
    )
    if email is None:
        raise SecondFactorOn
    return secret, pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name=ISSUER)


async def confirm(session: AsyncSession, *, user_id: UUID, code: str) -> list[str]:
    """Turn the second factor on and return its recovery codes, shown this once.

    Raises `SecondFactorOn`, `SecondFactorOff`, `SecondFactorWrong`.
    """
    if await session.scalar(select(User.two_factor_enabled).where(User.id == user_id).with_for_update()):
        raise SecondFactorOn
    if not await use_code(session, user_id=user_id, code=code):
        raise SecondFactorWrong
    await session.execute(update(User).where(User.id == user_id).values(two_factor_enabled=True))
    return await renew_recovery_codes(session, user_id=user_id)


async def disable(session: AsyncSession, *, user_id: UUID) -> None:
    """Turn the second factor off and forget its secret and codes; the caller has checked password and code."""
    await session.execute(
        update(User)
        .where(User.id == user_id)
        .values(two_factor_enabled=False, two_factor_secret=None, two_factor_last_step=None)
    )
    await session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))


async def use_code(session: AsyncSession, *, user_id: UUID, code: str) -> bool:
    """Tell whether the app's code is right, and use it up: a code, or one older, is never taken twice.

    Raises `SecondFactorOff` where there is no secret.
    """
    sealed = await session.scalar(select(User.two_factor_secret).where(User.id == user_id))
    if sealed is None:
        raise SecondFactorOff
    secret = (await field_cipher(session)).decrypt(sealed, table=_TABLE, column=_COLUMN, row_id=user_id)
    try:
        step = pyotp.TOTP(secret).verify_and_get_timecode(code, for_time=time.time(), valid_window=_STEPS)
    except OTPVerificationError:
        return False
    used = await session.scalar(
        update(User)
        .where(
            User.id == user_id,
            User.two_factor_secret == sealed,
            or_(User.two_factor_last_step.is_(None), User.two_factor_last_step < step),
        )
        .values(two_factor_last_step=step)
        .returning(User.id)
    )
    return used is not None


async def use_recovery_code(session: AsyncSession, *, user_id: UUID, code: str) -> bool:
    """Tell whether this is an unused recovery code of the user, and use it up."""
    used = await session.scalar(
        update(RecoveryCode)
        .where(
            RecoveryCode.user_id == user_id,
            RecoveryCode.code_hash == _hash_code(user_id, code),
            RecoveryCode.used_at.is_(None),
        )
        .values(used_at=datetime.now(UTC))
        .returning(RecoveryCode.id)
    )
    return used is not None


async def use_second_factor(session: AsyncSession, *, user_id: UUID, code: str) -> bool:
    """Tell whether this is a code of the app (six digits) or a recovery code, and use it up."""
    plain = re.sub(r"[\s-]", "", code)
    if len(plain) == 6 and plain.isascii() and plain.isdigit():
        return await use_code(session, user_id=user_id, code=plain)
    return await use_recovery_code(session, user_id=user_id, code=plain)


async def renew_recovery_codes(session: AsyncSession, *, user_id: UUID) -> list[str]:
    """Return ten new recovery codes, shown this once; those before count no more."""
    codes = ["".join(secrets.choice(_ALPHABET) for _ in range(16)) for _ in range(CODES)]
    tenant_id = await bound_tenant(session)
    await session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    await session.execute(
        insert(RecoveryCode),
        [{"tenant_id": tenant_id, "user_id": user_id, "code_hash": _hash_code(user_id, code)} for code in codes],
    )
    return ["-".join(code[start : start + 4] for start in range(0, 16, 4)) for code in codes]


def _hash_code(user_id: UUID, code: str) -> str:
    """Return what is stored of a code of 80 random bits: too many to try, so no slow hash is needed."""
    plain = re.sub(r"[\s-]", "", code).lower()
    return hashlib.sha256(f"{user_id}:{plain}".encode()).hexdigest()

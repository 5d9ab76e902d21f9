"""How long it takes to change an organisation's keys under many values, while somebody goes on writing."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import delete, func, insert, select, update

from core.crypto import FieldCipher
from db.models import AuditLog, Message, User
from db.session import Principal, tenant_session
from domain.keys import field_cipher
from domain.rotation import count_fields, rotate_keys
from evaluation.retrieval import throw_away_tenant

PEOPLE: Final = 500
PAGE: Final = 2_000
_WORDS: Final = "See you on Tuesday at nine; bring the notes about the rota, please. "

Note = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationReport:
    """What one rotation cost; `unopened` and `lost` must be zero."""

    fields: int
    seconds: float
    per_second: float
    written_meanwhile: int
    """Values that a writer changed while the keys were."""
    unopened: int
    lost: int
    """Values of the writer that are not what it wrote last."""
    old_left: int
    log_rows: int
    """Rows that the rotation and the writer left in the audit log."""


async def bench_rotation(*, fields: int, note: Note = lambda _: None) -> RotationReport:
    """Measure in a throw-away organisation: a hundredth of the values in people's rows, the rest in messages."""
    async with throw_away_tenant() as system:
        note("writing encrypted values")
        people = await _fill(system, fields)
        before = await _count_log(system)
        latest: dict[UUID, str] = {}
        writing = asyncio.create_task(_write(system, people, latest))
        note("rotating the keys")
        started = time.perf_counter()
        try:
            done, _ = await rotate_keys(system.tenant_id)
        finally:
            writing.cancel()
            with suppress(asyncio.CancelledError):
                await writing
        seconds = time.perf_counter() - started
        log_rows = await _count_log(system) - before
        note("opening every value")
        unopened, lost = await _check(system, latest)
        async with tenant_session(system) as session:
            counts = await count_fields(session)
        old = sum(amount for (_, version), amount in counts.items() if version != done.version)
        note("taking it away again")
        await _empty(system)
    return RotationReport(
        fields=sum(counts.values()), seconds=round(seconds, 2), per_second=round(done.renewed / seconds),
        written_meanwhile=len(latest), unopened=unopened, lost=lost, old_left=old, log_rows=log_rows,
    )  # fmt: skip


def _seal(cipher: FieldCipher, words: str, column: str, row_id: UUID) -> bytes:
    table = "community.messages" if column == "content" else "identity.users"
    return cipher.encrypt(words, table=table, column=column, row_id=row_id)


async def _fill(system: Principal, fields: int) -> list[UUID]:
    people = [uuid4() for _ in range(PEOPLE)]
    async with tenant_session(system) as session:
        cipher = await field_cipher(session)
        await session.execute(insert(User), [
            {
                "tenant_id": system.tenant_id, "id": one, "email": f"{one}@bench.example", "full_name": "Some One",
                "role": "client", "phone_number": _seal(cipher, "+250788000000", "phone_number", one),
                "two_factor_secret": _seal(cipher, "JBSWY3DPEHPK3PXP", "two_factor_secret", one),
            }
            for one in people
        ])  # fmt: skip
    for first in range(0, max(0, fields - 2 * PEOPLE), PAGE):
        ids = [uuid4() for _ in range(min(PAGE, fields - 2 * PEOPLE - first))]
        async with tenant_session(system) as session:
            await session.execute(insert(Message), [
                {
                    "tenant_id": system.tenant_id, "id": one, "sender_id": people[number % PEOPLE],
                    "recipient_id": people[(number + 1) % PEOPLE], "content": _seal(cipher, _WORDS, "content", one),
                }
                for number, one in enumerate(ids)
            ])  # fmt: skip
    return people


async def _write(system: Principal, people: list[UUID], latest: dict[UUID, str]) -> None:
    """Change somebody's number again and again, as fast as the store takes it."""
    turn = 0
    while True:
        one, number = people[turn % len(people)], f"+25078{turn:07}"
        async with tenant_session(system) as session:
            sealed = _seal(await field_cipher(session), number, "phone_number", one)
            await session.execute(update(User).where(User.id == one).values(phone_number=sealed))
        latest[one] = number
        turn += 1


async def _check(system: Principal, latest: dict[UUID, str]) -> tuple[int, int]:
    """Return how many values don't open, and how many of the writer's are not what was written last."""
    unopened = lost = 0
    async with tenant_session(system) as session:
        cipher = await field_cipher(session)
        for column, row in (
            ("phone_number", User), ("two_factor_secret", User), ("content", Message),
        ):  # fmt: skip
            stored = getattr(row, column)
            for row_id, sealed in (await session.execute(select(row.id, stored).where(stored.is_not(None)))).all():
                try:
                    opened = cipher.decrypt(sealed, table=row.__table__.fullname, column=column, row_id=row_id)  # type: ignore[attr-defined]  # a table has a full name
                except Exception:  # noqa: BLE001  # whatever keeps it shut counts
                    unopened += 1
                    continue
                # the last write may have been cut off before or after its commit
                lost += column == "phone_number" and row_id in latest and opened < latest[row_id]
    return unopened, lost


async def _empty(system: Principal) -> None:
    """Delete the messages page by page: all at once would take longer than a statement may."""
    some = select(Message.id).limit(PAGE)
    while True:
        async with tenant_session(system) as session:
            gone = await session.execute(delete(Message).where(Message.id.in_(some)).returning(Message.id))
            if not gone.all():
                return


async def _count_log(system: Principal) -> int:
    async with tenant_session(system) as session:
        return int(await session.scalar(select(func.count()).select_from(AuditLog)) or 0)

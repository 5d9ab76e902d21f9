"""Enrolments: who takes which program, on what ground, and where that stands."""

from typing import Literal
from uuid import UUID

from sqlalchemy import case, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, Forbidden, NotFound
from db.models import Enrollment, Program
from db.session import Principal
from db.violations import refusing
from domain.comms import publish
from domain.identity import bound_tenant

PaymentType = Literal["subscription", "one_time", "scholarship", "free"]
TAKING = ("active", "completed")
"""Enrolments whose person reads the lessons."""


class ProgramNotFound(NotFound):
    """There is no such program that you may see; list the programs to find its id."""


class EnrollmentNotFound(NotFound):
    """There is no such enrolment that you may see; list your enrolments to find its id."""


class LearnerNotFound(NotFound):
    """There is no such person in your organisation to enrol; check the id."""


class ScholarshipRefused(Forbidden):
    """Only an administrator enrols other people; ask one for a scholarship."""


class ProgramNotOpen(Conflict):
    """This program takes no enrolments now; choose one that is published."""


class ProgramFull(Conflict):
    """Every seat of this program is taken; join its waiting list instead."""


class PaymentNeeded(Conflict):
    """This program has to be paid for first; buy it, or take one that is free."""


class SubscriptionNeeded(Forbidden):
    """This program belongs to a membership you do not have; subscribe to one of its tiers first."""


class EnrollmentSuspended(Conflict):
    """This enrolment is suspended; ask the instructor or an administrator to resume it."""


class EnrollmentStepRefused(Conflict):
    """This enrolment can't change that way as it stands; read it again and choose another step."""


_SUBSCRIBED = text(
    "SELECT EXISTS (SELECT FROM commerce.subscriptions s WHERE s.user_id = :user_id AND s.status = 'active' "
    "AND s.current_period_end > now() AND (:any_tier OR s.tier = ANY (CAST(:tiers AS text[]))))"
)
_PAID = text(
    "SELECT EXISTS (SELECT FROM commerce.transactions t WHERE t.id = :id AND t.user_id = :user_id "
    "AND t.reference_type = 'program' AND t.reference_id = :program_id AND t.status = 'success')"
)


async def enroll(
    session: AsyncSession,
    *,
    program_id: UUID,
    user_id: UUID,
    payment_type: PaymentType,
    transaction_id: UUID | None = None,
) -> Enrollment:
    """Give the user a seat; who has one already keeps it as it is (seed 001 §8.2 T1, §8.5).

    Needs a system session. Locks the user's enrolment, then the program's row, so two requests can't share the last
    seat; safe under SERIALIZABLE. `one_time` needs a successful payment of this user for this program, which also
    lifts a suspension; whether a scholarship is granted is the caller's to decide.
    Raises `ProgramNotFound`, `ProgramNotOpen`, `ProgramFull`, `PaymentNeeded`, `SubscriptionNeeded`,
    `EnrollmentSuspended`.
    """
    await session.execute(select(func.learning.lock_structure(program_id, False)))
    there = await _lock_enrollment(session, program_id, user_id)
    if there is not None and _stays(there, transaction_id):
        return there
    program = await session.scalar(
        select(Program)
        .where(Program.id == program_id, Program.deleted_at.is_(None))
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    if program is None:
        raise ProgramNotFound
    if there is None:
        # Another request of the same person may have been first while this one waited for the program.
        there = await _lock_enrollment(session, program_id, user_id)
        if there is not None and _stays(there, transaction_id):
            return there
    if program.status != "published":
        raise ProgramNotOpen
    await _require_ground(session, program, user_id, payment_type, transaction_id)
    if there is not None and there.status == "suspended" and transaction_id in (None, there.transaction_id):
        raise EnrollmentSuspended
    takes_seat = there is None or there.status == "dropped"
    if takes_seat and program.capacity is not None and program.seats_taken >= program.capacity:
        raise ProgramFull
    enrollment = await _upsert(session, program_id, user_id, payment_type, transaction_id)
    await publish(
        session, "enrollment_created",
        {"enrollment_id": enrollment.id, "program_id": program_id, "user_id": user_id, "payment_type": payment_type},
        key=f"enrollment {enrollment.id}",
    )  # fmt: skip
    return enrollment


async def join_program(
    session: AsyncSession, *, program_id: UUID, principal: Principal, user_id: UUID | None = None
) -> Enrollment:
    """Enrol the caller as the program's price asks, or as an administrator another person, with a scholarship.

    Needs a system session; raises as `enroll` does, and `ScholarshipRefused`, `LearnerNotFound`.
    """
    if user_id is not None and user_id != principal.user_id:
        if principal.role != "admin":
            raise ScholarshipRefused
        return await enroll(session, program_id=program_id, user_id=user_id, payment_type="scholarship")
    if principal.user_id is None:
        raise LearnerNotFound
    pricing = await session.scalar(select(Program.pricing_type).where(Program.id == program_id))
    ground: PaymentType = "subscription" if pricing == "subscription" else "free"
    return await enroll(session, program_id=program_id, user_id=principal.user_id, payment_type=ground)


async def _lock_enrollment(session: AsyncSession, program_id: UUID, user_id: UUID) -> Enrollment | None:
    found: Enrollment | None = await session.scalar(
        select(Enrollment)
        .where(Enrollment.program_id == program_id, Enrollment.user_id == user_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return found


def _stays(there: Enrollment, transaction_id: UUID | None) -> bool:
    return there.status in TAKING and transaction_id in (None, there.transaction_id)


async def _require_ground(
    session: AsyncSession, program: Program, user_id: UUID, payment_type: PaymentType, transaction_id: UUID | None
) -> None:
    if payment_type == "free" and program.pricing_type != "free":
        raise SubscriptionNeeded if program.pricing_type == "subscription" else PaymentNeeded
    if payment_type == "one_time":
        paid = {"id": transaction_id, "user_id": user_id, "program_id": program.id}
        if transaction_id is None or not await session.scalar(_PAID, paid):
            raise PaymentNeeded
    if payment_type == "subscription":
        tiers = program.tier_access or []
        asked = {"user_id": user_id, "any_tier": not tiers, "tiers": tiers}
        if program.pricing_type != "subscription" or not await session.scalar(_SUBSCRIBED, asked):
            raise SubscriptionNeeded


async def _upsert(
    session: AsyncSession, program_id: UUID, user_id: UUID, payment_type: PaymentType, transaction_id: UUID | None
) -> Enrollment:
    new = insert(Enrollment).values(
        tenant_id=await bound_tenant(session), user_id=user_id, program_id=program_id, payment_type=payment_type,
        transaction_id=transaction_id,
    )  # fmt: skip
    statement = new.on_conflict_do_update(
        index_elements=("tenant_id", "user_id", "program_id"),
        set_={
            "status": case((Enrollment.status == "completed", "completed"), else_="active"),
            "payment_type": new.excluded.payment_type,
            "transaction_id": func.coalesce(new.excluded.transaction_id, Enrollment.transaction_id),
            "updated_at": func.now(),
        },
    ).returning(Enrollment)
    with refusing({"fk_enrollments_tenant_id_user_id": LearnerNotFound}):
        return (await session.scalars(statement, execution_options={"populate_existing": True})).one()


async def get_enrollment(session: AsyncSession, enrollment_id: UUID) -> Enrollment:
    """Return the enrolment; raises `EnrollmentNotFound`."""
    row = await session.scalar(
        select(Enrollment).where(Enrollment.id == enrollment_id).execution_options(populate_existing=True)
    )
    if row is None:
        raise EnrollmentNotFound
    return row


async def find_enrollment(session: AsyncSession, *, program_id: UUID, user_id: UUID) -> Enrollment | None:
    """Return the user's enrolment in the program, or None."""
    found: Enrollment | None = await session.scalar(
        select(Enrollment).where(Enrollment.program_id == program_id, Enrollment.user_id == user_id)
    )
    return found


async def drop_enrollment(session: AsyncSession, enrollment_id: UUID) -> Enrollment:
    """Give the seat back; progress stays for the day the person enrols again. Needs a system session."""
    return await _step(session, enrollment_id, ("active", "suspended", "dropped"), "dropped")


async def suspend_enrollment(session: AsyncSession, enrollment_id: UUID) -> Enrollment:
    """Close the lessons to the person without freeing the seat. Needs a system session."""
    return await _step(session, enrollment_id, ("active", "suspended"), "suspended")


async def resume_enrollment(session: AsyncSession, enrollment_id: UUID) -> Enrollment:
    """Open a suspended enrolment again. Needs a system session."""
    return await _step(session, enrollment_id, ("suspended", "active"), "active")


async def complete_enrollment(session: AsyncSession, enrollment_id: UUID) -> Enrollment:
    """Count the program as completed on a teacher's word, whatever lessons are open. Needs a system session."""
    return await _step(session, enrollment_id, ("active", "completed"), "completed")


async def _step(session: AsyncSession, enrollment_id: UUID, possible: tuple[str, ...], to: str) -> Enrollment:
    """Move the enrolment on, where it is in one of these states; being there already changes nothing."""
    row = await session.scalar(
        select(Enrollment)
        .where(Enrollment.id == enrollment_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if row is None:
        raise EnrollmentNotFound
    if row.status not in possible:
        raise EnrollmentStepRefused(f"An enrolment that is {row.status} can't become {to}; choose another step.")
    if row.status == to:
        return row
    values: dict[str, object] = {"status": to, "updated_at": func.now()}
    if to == "completed":
        values |= {"completion_date": func.now(), "progress_percent": 100}
    await session.execute(update(Enrollment).where(Enrollment.id == enrollment_id).values(values))
    return await get_enrollment(session, enrollment_id)


async def rate_program(
    session: AsyncSession, *, enrollment_id: UUID, rating: int, review: str | None = None
) -> Enrollment:
    """Keep what the person says of the program, in place of what they said before. Needs a system session.

    `rating` is 1 to 5. Raises `EnrollmentStepRefused` for who does not take it.
    """
    done = await session.scalar(
        update(Enrollment)
        .where(Enrollment.id == enrollment_id, Enrollment.status.in_(TAKING))
        .values(rating=rating, review=review, rated_at=func.now(), updated_at=func.now())
        .returning(Enrollment.id)
    )
    row = await get_enrollment(session, enrollment_id)
    if done is None:
        raise EnrollmentStepRefused(f"An enrolment that is {row.status} can't be rated; resume it or enrol again.")
    return row

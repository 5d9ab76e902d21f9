"""Booking a session with a coach, moving it and calling it off (seed 001 §8.2, T2).

Everything here runs in a READ COMMITTED session bound as the pipelines, and checks itself who may do it. A lock on the
coach's calendar makes bookings of one coach happen one after the other; the store's own guard refuses a second session
at the same time whoever writes it.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, Forbidden, Invalid, NotFound
from db.models import CoachingSession, Engagement, UserProfile
from db.session import Principal
from db.violations import refusing
from domain.availability import Slot, cut_slots, list_free_slots, list_rules
from domain.comms import notify, publish
from domain.governance import name_action
from domain.identity import bound_tenant
from domain.money import ZERO, round_money
from domain.payments import OPEN, cancel_payment, get_payment, record_payment
from domain.people import require_timezone
from domain.refunds import refund_payment
from domain.roles import PersonNotFound

SessionType = Literal["one_on_one", "group", "discovery_call"]

CLIENT_NOTICE: Final = timedelta(hours=24)
"""Until this long before it begins, a client may move a session or call it off."""

PAYMENT_METHOD: Final = "card"
MAY_ALL: Final = ("admin", "system")


class CoachingSessionNotFound(NotFound):
    """There is no such session of yours; list your sessions to see their ids."""


class SlotTaken(Conflict):
    """Someone else has this time by now; list the coach's free slots and choose another."""


class SlotNotOffered(Invalid):
    """The coach offers no session at this time; choose one of their free slots."""


class SelfBooked(Invalid):
    """A session is of two people; name a client who is not the coach."""


class ClientBusy(Conflict):
    """This client has another session at this time; choose another slot or call that one off first."""


class TimePassed(Invalid):
    """A session is booked for a time to come; choose a later slot."""


class NotEngaged(Forbidden):
    """This coach does not work with this client at that time; book a discovery call, or ask your administrator."""


class NotACoach(NotFound):
    """There is no such coach here; look in the directory of coaches."""


class BookingDiffers(Conflict):
    """This idempotency key booked another session; use a new key for a new booking."""


class NoticeTooShort(Conflict):
    """A client may move or cancel a session until 24 hours before it begins; ask the coach to do it."""


class StepRefused(Conflict):
    """A session in this state can't take this step; read it again to see its status."""


class NotYourStep(Forbidden):
    """Only the session's coach or an administrator may do this; ask them."""


CALENDAR_RULES: Final = {
    "coach_free": SlotTaken, "coach_not_blocked": SlotTaken, "client_free": ClientBusy, "session_step": StepRefused,
    "fk_coaching_sessions_tenant_id_client_id": PersonNotFound, "ck_coaching_sessions_no_self_coaching": SelfBooked,
}  # fmt: skip


async def book_session(
    session: AsyncSession, *, by: Principal, coach_id: UUID, client_id: UUID, scheduled_at: datetime, timezone: str,
    session_type: SessionType = "one_on_one", topic: str | None = None, notes: str | None = None,
    duration_minutes: int | None = None, platform: str | None = None, key: str | None = None,
) -> CoachingSession:  # fmt: skip
    """Book one slot and what is to be paid for it; the same `key` of the same client returns the first booking.

    Clients choose among the free slots; the coach and administrators may also book outside them, but never over
    another session. Locks the coach's calendar until the transaction ends. Raises `SlotTaken`, `SlotNotOffered`,
    `ClientBusy`, `SelfBooked`, `TimePassed`, `NotEngaged`, `NotACoach`, `BookingDiffers`, `NotYourStep`,
    `PersonNotFound`.
    """
    if by.role not in MAY_ALL and by.user_id != (client_id if by.role == "client" else coach_id):
        raise NotYourStep("You book your own sessions; leave out the other person, or ask an administrator.")
    await lock_calendar(session, coach_id)
    if key is not None:
        known = await session.scalar(
            select(CoachingSession).where(CoachingSession.client_id == client_id, CoachingSession.booking_key == key)
        )
        if known is not None:
            if (known.coach_id, known.session_type) != (coach_id, session_type):
                raise BookingDiffers
            return known
    if scheduled_at <= datetime.now(UTC):
        raise TimePassed
    profile = await get_coach(session, coach_id)
    if session_type != "discovery_call":
        await _require_engagement(session, coach_id=coach_id, client_id=client_id, at=scheduled_at)
    slot = await _find_slot(
        session, coach_id=coach_id, at=scheduled_at, minutes=duration_minutes, required=by.role == "client"
    )
    minutes = duration_minutes or (int((slot.ends_at - slot.starts_at).total_seconds() // 60) if slot else 60)
    price = find_price(profile, minutes, session_type)
    await name_action(session, "session_booked")
    booked = CoachingSession(
        tenant_id=await bound_tenant(session), coach_id=coach_id, client_id=client_id, scheduled_at=scheduled_at,
        duration_minutes=minutes, timezone=require_timezone(timezone), session_type=session_type, topic=topic,
        notes=notes, meeting_platform=platform, booking_key=key, payment_amount=price, currency=profile.currency,
        payment_status="pending" if price else "paid",
    )  # fmt: skip
    session.add(booked)
    with refusing(CALENDAR_RULES):
        await session.flush()
    if price:
        payment = await record_payment(
            session, user_id=client_id, amount=price, currency=profile.currency, transaction_type="coaching",
            payment_method=PAYMENT_METHOD, reference_type="coaching_session", reference_id=booked.id,
            seller_id=coach_id, idempotency_key=f"session:{booked.id}",
        )  # fmt: skip
        booked.transaction_id = payment.id
        await session.flush()
    await session.refresh(booked)
    await tell(
        session, booked, "session_booked", by, title="Session booked", message="A session was booked for {when}."
    )
    return booked


def find_price(profile: UserProfile, minutes: int, session_type: str) -> Decimal:
    """Return what a session of this length costs, in the coach's currency; a discovery call is free."""
    if session_type == "discovery_call" or profile.hourly_rate is None:
        return ZERO
    return round_money(profile.hourly_rate * minutes / 60, profile.currency)


async def lock_calendar(session: AsyncSession, coach_id: UUID) -> None:
    """Wait until no other transaction changes this coach's calendar; the lock ends with the transaction.

    The store's guard takes the same lock (migration 0012).
    """
    await session.execute(
        text(
            "SELECT pg_advisory_xact_lock("
            "hashtextextended('coach ' || current_setting('app.tenant_id') || CAST(:coach AS text), 0))"
        ),
        {"coach": str(coach_id)},
    )  # fmt: skip


async def get_coach(session: AsyncSession, coach_id: UUID) -> UserProfile:
    """Return the profile of a person who is a coach now; raises `NotACoach`."""
    profile: UserProfile | None = await session.scalar(
        select(UserProfile).where(
            UserProfile.user_id == coach_id, UserProfile.is_coach,
            or_(UserProfile.coach_until.is_(None), UserProfile.coach_until > func.now()),
        )
    )  # fmt: skip
    if profile is None:
        raise NotACoach
    return profile


async def _require_engagement(session: AsyncSession, *, coach_id: UUID, client_id: UUID, at: datetime) -> None:
    running = select(Engagement.id).where(
        Engagement.coach_id == coach_id, Engagement.client_id == client_id, Engagement.started_at <= at,
        or_(Engagement.ended_at.is_(None), Engagement.ended_at > at),
    )  # fmt: skip
    if await session.scalar(running) is None:
        raise NotEngaged


async def _find_slot(
    session: AsyncSession, *, coach_id: UUID, at: datetime, minutes: int | None, required: bool,
    without: UUID | None = None,
) -> Slot | None:  # fmt: skip
    """Return the free slot that begins then, None where there is none and none is required.

    Raises `SlotTaken` where the coach offers it and it is not free, `SlotNotOffered` where they do not offer it.
    """

    def fits(slot: Slot) -> bool:
        return slot.starts_at == at and (minutes is None or slot.ends_at - at == timedelta(minutes=minutes))

    until = at + timedelta(minutes=1)
    free = await list_free_slots(session, coach_id=coach_id, start=at, until=until, without=without)
    found = next((slot for slot in free if fits(slot)), None)
    if found is None and required:
        rules = await list_rules(session, coach_id=coach_id)
        offered = any(fits(slot) for rule in rules for slot in cut_slots(rule, at, until))
        raise SlotTaken if offered else SlotNotOffered
    return found


async def get_own_session(
    session: AsyncSession, session_id: UUID, by: Principal, *, lock: bool = False
) -> CoachingSession:
    """Return the session where `by` is its client, its coach or whoever administers.

    Raises `CoachingSessionNotFound`.
    """
    query = select(CoachingSession).where(CoachingSession.id == session_id)
    if lock:
        query = query.with_for_update(of=CoachingSession).execution_options(populate_existing=True)
    found: CoachingSession | None = await session.scalar(query)
    if found is None or (by.role not in MAY_ALL and by.user_id != _side_of(found, by)):
        raise CoachingSessionNotFound
    return found


def _side_of(found: CoachingSession, by: Principal) -> UUID | None:
    return {"client": found.client_id, "coach": found.coach_id}.get(by.role)


def _require_notice(found: CoachingSession, by: Principal) -> None:
    if by.role == "client" and found.scheduled_at - datetime.now(UTC) < CLIENT_NOTICE:
        raise NoticeTooShort


async def cancel_session(
    session: AsyncSession, session_id: UUID, *, by: Principal, reason: str | None = None
) -> CoachingSession:
    """Call the session off, which frees its slot; what was paid is refunded and what was not is no longer owed.

    Cancelling twice changes nothing. Raises `CoachingSessionNotFound`, `NoticeTooShort`, `StepRefused`.
    """
    seen = await get_own_session(session, session_id, by)
    # The payment before the session, as the payment's own steps lock them.
    payment = await get_payment(session, seen.transaction_id, lock=True) if seen.transaction_id else None
    found = await get_own_session(session, session_id, by, lock=True)
    if found.status == "cancelled":
        return found
    _require_notice(found, by)
    await name_action(session, "session_cancelled")
    found.status, found.cancelled_by, found.cancellation_reason = "cancelled", by.user_id, reason
    found.payment_status = "cancelled" if found.payment_status == "pending" else found.payment_status
    with refusing(CALENDAR_RULES):
        await session.flush()
    if payment is not None and payment.status in OPEN:
        await cancel_payment(session, payment.id)
    elif payment is not None and payment.status == "success":
        await refund_payment(
            session, payment_id=payment.id, reason="session cancelled", paid_out=False,
            idempotency_key=f"session-refund:{found.id}",
        )  # fmt: skip
    await session.refresh(found)
    await tell(
        session,
        found,
        "session_cancelled",
        by,
        title="Session cancelled",
        message="The session of {when} was cancelled.",
    )
    return found


async def reschedule_session(
    session: AsyncSession, session_id: UUID, *, by: Principal, scheduled_at: datetime, timezone: str | None = None
) -> CoachingSession:
    """Move the session, at its length and price; it waits to be confirmed again.

    Raises `CoachingSessionNotFound`, `NoticeTooShort`, `TimePassed`, `NotEngaged`, `SlotTaken`, `SlotNotOffered`,
    `ClientBusy`, `StepRefused`.
    """
    seen = await get_own_session(session, session_id, by)
    await lock_calendar(session, seen.coach_id)
    found = await get_own_session(session, session_id, by, lock=True)
    if found.status not in ("scheduled", "confirmed"):
        raise StepRefused
    _require_notice(found, by)
    if scheduled_at <= datetime.now(UTC):
        raise TimePassed
    if found.session_type != "discovery_call":
        await _require_engagement(session, coach_id=found.coach_id, client_id=found.client_id, at=scheduled_at)
    await _find_slot(
        session, coach_id=found.coach_id, at=scheduled_at, minutes=found.duration_minutes,
        required=by.role == "client", without=found.id,
    )  # fmt: skip
    await name_action(session, "session_rescheduled")
    found.scheduled_at, found.status = scheduled_at, "scheduled"
    found.timezone = require_timezone(timezone) if timezone else found.timezone
    with refusing(CALENDAR_RULES):
        await session.flush()
    await session.refresh(found)
    await tell(
        session, found, "session_rescheduled", by, title="Session moved", message="The session was moved to {when}."
    )
    return found


async def tell(
    session: AsyncSession, about: CoachingSession, topic: str, by: Principal, *, title: str, message: str
) -> None:
    """Tell the participants who did not do it themselves, and whoever listens to the topic."""
    ids: dict[str, Any] = {"session_id": about.id, "coach_id": about.coach_id, "client_id": about.client_id}
    await publish(session, topic, ids | {"status": about.status}, key=str(about.id))
    when = about.scheduled_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    for person in {about.coach_id, about.client_id} - {by.user_id}:
        await notify(
            session, user_id=person, kind=topic, title=title, message=message.format(when=when),
            reference=("coaching_session", about.id), actor_id=by.user_id,
        )  # fmt: skip

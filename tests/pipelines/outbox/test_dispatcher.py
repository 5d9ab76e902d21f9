"""The dispatcher delivers at least once, in order per key, fairly, and never twice at the same moment."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Unavailable
from core.settings import Settings
from db.models import Outbox
from db.session import tenant_session
from domain import outbox
from domain.comms import notify, publish
from domain.outbox import ClaimLost, Message, MessageNotDead, OutboxMessageNotFound, claim, settle
from pipelines.outbox.dispatcher import Dispatcher
from pipelines.outbox.messages import Handled, Registry, Settlement
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import require_id
from tests.pipelines.outbox.conftest import HASTY, Build

LEASE = timedelta(seconds=60)


async def publish_many(organisation: Organisation, count: int, key: str | None = None) -> list[UUID]:
    async with tenant_session(organisation.client_a) as session:
        return [await publish(session, "session.booked", {"number": number}, key) for number in range(count)]


async def read_row(organisation: Organisation, message_id: UUID) -> Outbox:
    async with tenant_session(organisation.system) as session:
        return (await session.scalars(select(Outbox).where(Outbox.id == message_id))).one()


async def test_message_leaves_once_after_the_commit(organisation: Organisation, build: Build) -> None:
    seen: list[Message] = []

    async def keep(message: Message) -> Handled:
        seen.append(message)
        return Handled()

    (message_id,) = await publish_many(organisation, 1, "a")
    async with tenant_session(organisation.system) as session:
        await publish(session, "session.booked", {"number": 99})
        await session.rollback()
    report = await build(keep).drain()
    assert await build(keep).drain()
    assert [(message.id, message.key, message.payload, message.attempts) for message in seen] == [
        (message_id, "a", {"number": 0}, 1)
    ]
    assert report.count("delivered") == 1
    row = await read_row(organisation, message_id)
    assert row.delivered_at is not None
    assert row.claimed_by is None


async def test_write_and_settlement_happen_together(organisation: Organisation, build: Build) -> None:
    """A handler's write that fails leaves the message undelivered; its claim runs out."""
    written: list[str] = []

    async def break_off(session: AsyncSession, settlement: Settlement) -> None:
        written.append(settlement.outcome)
        await session.execute(text("SELECT 1 / 0"))

    async def handle(_: Message) -> Handled:
        return Handled(write=break_off)

    (message_id,) = await publish_many(organisation, 1)
    await build(handle).drain()
    row = await read_row(organisation, message_id)
    assert written == ["delivered"]
    assert row.delivered_at is None
    assert row.claimed_by is not None
    assert row.attempts == 1


async def test_failures_are_tried_again_then_given_up(organisation: Organisation, build: Build) -> None:
    attempts: list[int] = []

    async def fail(message: Message) -> Handled:
        attempts.append(message.attempts)
        if message.attempts == 2:
            raise Unavailable("The other side is away.")
        if message.attempts == 3:
            raise KeyError("a defect of a handler")
        return Handled(error="Not today.")

    (message_id,) = await publish_many(organisation, 1)
    report = await build(fail).drain()
    assert attempts == [1, 2, 3, 4]
    row = await read_row(organisation, message_id)
    assert (row.delivered_at, row.last_error, row.attempts) == (None, "Not today.", 4)
    assert row.dead_at is not None
    assert report.count("failed") == 3
    assert report.count("dead") == 1
    assert report.errors["session.booked", "The other side is away."] == 1
    assert any("KeyError" in sentence for _, sentence in report.errors)


async def test_what_cannot_help_is_given_up_at_once_and_replayed(organisation: Organisation, build: Build) -> None:
    async def refuse(_: Message) -> Handled:
        return Handled(error="Nobody is there any more.", give_up=True)

    async def accept(_: Message) -> Handled:
        return Handled()

    (message_id,) = await publish_many(organisation, 1)
    await build(refuse).drain()
    async with tenant_session(organisation.system) as session:
        assert await outbox.count_states(session) == {"pending": 0, "failing": 0, "dead": 1}
        await outbox.replay(session, message_id)
    await build(accept).drain()
    assert (await read_row(organisation, message_id)).delivered_at is not None
    async with tenant_session(organisation.system) as session:
        with pytest.raises(MessageNotDead):
            await outbox.replay(session, message_id)
        with pytest.raises(OutboxMessageNotFound):
            await outbox.replay(session, uuid4())


async def test_order_of_a_key_is_kept_over_failures(organisation: Organisation, build: Build) -> None:
    seen: list[int] = []
    failed: set[int] = set()

    async def stumble(message: Message) -> Handled:
        number = message.payload["number"]
        if number % 2 == 0 and number not in failed:
            failed.add(number)
            return Handled(error="Once more, please.")
        seen.append(number)
        return Handled()

    await publish_many(organisation, 7, "client-1")
    await asyncio.gather(build(stumble).drain(), build(stumble).drain())
    assert seen == list(range(7))


async def test_message_that_waits_holds_its_key_back_and_no_other(organisation: Organisation, build: Build) -> None:
    seen: list[str | None] = []

    async def handle(message: Message) -> Handled:
        if message.payload["number"] == 0 and message.key == "a":
            return Handled(error="Later.", retry_after=timedelta(hours=1))
        seen.append(message.key)
        return Handled()

    await publish_many(organisation, 2, "a")
    await publish_many(organisation, 2, "b")
    limits = replace(HASTY, longest_pause=timedelta(hours=1))
    report = await build(handle, limits).drain()
    assert seen == ["b", "b"]
    assert report.count("failed") == 1


async def test_many_dispatchers_never_share_a_message(organisation: Organisation, build: Build) -> None:
    working: Counter[UUID] = Counter()
    handled: Counter[UUID] = Counter()
    overlaps: list[UUID] = []

    async def handle(message: Message) -> Handled:
        working[message.id] += 1
        if working[message.id] > 1:
            overlaps.append(message.id)
        await asyncio.sleep(0.002)
        working[message.id] -= 1
        handled[message.id] += 1
        return Handled()

    ids = await publish_many(organisation, 200)
    await asyncio.gather(*(build(handle).drain() for _ in range(6)))
    assert overlaps == []
    assert handled == Counter(ids)


async def test_claim_of_the_dead_runs_out_and_its_settlement_is_refused(
    organisation: Organisation, build: Build
) -> None:
    """What a killed process claimed is handled by another; if the first one lives after all, its writes are undone."""
    (message_id,) = await publish_many(organisation, 1)
    slow = uuid4()
    async with tenant_session(organisation.system) as session:
        (claimed,) = await claim(session, claimant=slow, most=8, lease=timedelta(0))
    seen: list[int] = []

    async def handle(message: Message) -> Handled:
        seen.append(message.attempts)
        return Handled()

    await build(handle).drain()
    assert seen == [2]
    with pytest.raises(ClaimLost):
        async with tenant_session(organisation.system) as session:
            await settle(session, claimed, claimant=slow)
    async with tenant_session(organisation.system) as session:
        assert await claim(session, claimant=slow, most=8, lease=LEASE) == []
    assert (await read_row(organisation, message_id)).delivered_at is not None


async def test_message_that_kills_its_handlers_is_given_up(organisation: Organisation, build: Build) -> None:
    (message_id,) = await publish_many(organisation, 1)
    for _ in range(HASTY.attempts):
        async with tenant_session(organisation.system) as session:
            await claim(session, claimant=uuid4(), most=1, lease=timedelta(0))

    async def handle(_: Message) -> Handled:
        raise AssertionError("it must not be tried again")

    await build(handle).drain()
    row = await read_row(organisation, message_id)
    assert row.dead_at is not None
    assert "broken off" in str(row.last_error)


async def test_slow_handler_is_broken_off_before_its_claim_ends(organisation: Organisation, build: Build) -> None:
    async def sleep(_: Message) -> Handled:
        await asyncio.sleep(600)
        return Handled()

    (message_id,) = await publish_many(organisation, 1)
    limits = replace(HASTY, lease=timedelta(seconds=3), attempts=1)
    await build(sleep, limits).drain()
    row = await read_row(organisation, message_id)
    assert "took too long" in str(row.last_error)
    assert row.dead_at is not None


async def test_large_backlog_delays_no_other_tenant(organisation: Organisation, build: Build) -> None:
    """A tenant with a thousand messages waiting gets one batch a turn, so a small tenant is served among the first."""
    small = await found_organisation()
    async with tenant_session(organisation.system) as session:
        await session.execute(text("SELECT comms.publish('session.booked', '{}') FROM generate_series(1, 1000)"))
    await publish_many(small, 3)
    order: list[UUID] = []

    async def handle(message: Message) -> Handled:
        order.append(message.tenant_id)
        return Handled()

    both = Dispatcher(
        Registry(otherwise=handle), replace(HASTY, tenants=1), only={organisation.tenant_id, small.tenant_id}
    )
    await both.drain()
    assert len(order) == 1003
    last_of_small = max(place for place, tenant in enumerate(order) if tenant == small.tenant_id)
    assert last_of_small < 3 * HASTY.batch


async def test_suspended_tenant_waits(organisation: Organisation, build: Build) -> None:
    async def handle(_: Message) -> Handled:
        raise AssertionError("its messages must wait")

    (message_id,) = await publish_many(organisation, 1)
    async with tenant_session(organisation.system) as session:
        await session.execute(text("UPDATE platform.tenants SET status = 'suspended'"))
    await build(handle).drain()
    async with tenant_session(organisation.system) as session:
        await session.execute(text("UPDATE platform.tenants SET status = 'active'"))
    row = await read_row(organisation, message_id)
    assert (row.attempts, row.delivered_at) == (0, None)


async def test_running_dispatcher_hears_of_a_message_at_once(
    organisation: Organisation, build: Build, store: Settings
) -> None:
    seen = asyncio.Event()

    async def handle(_: Message) -> Handled:
        seen.set()
        return Handled()

    settings = store.model_copy(update={"outbox": store.outbox.model_copy(update={"poll_s": 600})})
    running = asyncio.create_task(build(handle).run(settings))
    try:
        for _ in range(2):
            # announced only: the next look without a notice is ten minutes away
            await publish_many(organisation, 1)
            async with asyncio.timeout(120):
                await seen.wait()
            seen.clear()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_what_is_old_is_cleared_and_what_was_given_up_kept(organisation: Organisation, build: Build) -> None:
    async def handle(message: Message) -> Handled:
        return Handled() if message.payload["number"] else Handled(error="No.", give_up=True)

    await publish_many(organisation, 5)
    await build(handle).drain()
    async with tenant_session(organisation.coach_a) as session:
        for key in ("old", "new"):
            await notify(
                session, user_id=require_id(organisation.client_a), kind="news", title="T", message="M",
                deduplication_key=key,
            )  # fmt: skip
    async with tenant_session(organisation.system) as session:
        assert await outbox.clear_old(session, days=1, record_days=1) == 0
        old = "UPDATE comms.outbox SET delivered_at = now() - interval '8 days' WHERE dead_at IS NULL"
        await session.execute(text(old))
        assert await outbox.clear_old(session, most=3) == 3
        assert await outbox.clear_old(session) == 1
        assert await session.scalar(select(func.count(Outbox.id))) == 1
        assert await outbox.clear_old(session, record_days=0) == 2

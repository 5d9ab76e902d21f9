"""Takes due messages from the outbox, tenant by tenant, and sees each to its end.

A message is claimed for a while in one transaction, handled in none, and settled in another together with what its
handler writes. A dispatcher that dies leaves its claims to run out, and others handle them again: at least once.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID, uuid4

import psycopg

from core.errors import AppError
from core.logging import get_logger, log_context
from core.settings import Settings
from db.listen import listen
from db.session import Principal, tenant_session
from domain.outbox import ClaimLost, Message, claim, list_due_tenants, settle
from pipelines.outbox.messages import Handled, Registry, Settlement

CHANNEL: Final = "regenesis_outbox"
FIRST: Final = UUID(int=0)
PAGE: Final = 100
RESTING_S: Final = 1.0
"""Seconds a tenant is left alone whose due messages all wait for others."""

log = get_logger("pipelines.outbox")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much happens at once and how long things are tried.

    Pauses between attempts grow from seconds to hours and are drawn at random up to that ("full jitter"), so that
    what failed together does not come back together. Sixteen attempts take about a day.
    """

    tenants: int = 4
    batch: int = 8
    lease: timedelta = timedelta(seconds=120)
    attempts: int = 16
    first_pause: timedelta = timedelta(seconds=5)
    longest_pause: timedelta = timedelta(hours=4)

    def draw_pause(self, attempt: int) -> timedelta:
        """Return how long to wait after this attempt, counted from 1."""
        ceiling = min(self.longest_pause, self.first_pause * 2 ** min(attempt, 30))
        return timedelta(seconds=ceiling.total_seconds() * random.uniform(0.05, 1))  # noqa: S311  # no secret


@dataclass(slots=True)
class Report:
    """What a dispatcher did: messages by outcome and topic, and errors by topic and sentence."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)

    def count(self, outcome: str) -> int:
        """Return how many attempts ended so."""
        return sum(number for (_, ended), number in self.outcomes.items() if ended == outcome)


class Dispatcher:
    """Delivers what is due, fairly between tenants; any number of them may run at once.

    Each turn of a tenant is one batch, and no tenant has two turns at once here, so one with a hundred thousand
    messages delays nobody's. `only` narrows to these tenants.
    """

    def __init__(
        self, registry: Registry, limits: Limits | None = None, *, only: Collection[UUID] | None = None
    ) -> None:
        self._registry = registry
        self._limits = limits or Limits()
        self._only = only
        self._claimant = uuid4()
        self._resting: dict[UUID, float] = {}
        self.report = Report()

    async def drain(self) -> Report:
        """Deliver until nothing is due any more, and return all this dispatcher did so far."""
        running: dict[UUID, asyncio.Task[None]] = {}
        place = FIRST
        try:
            while True:
                page = await list_due_tenants(after=place, most=PAGE)
                place = page[-1] if len(page) == PAGE else FIRST
                fresh = [tenant for tenant in page if tenant not in running and self._may_serve(tenant)]
                for tenant in fresh:
                    if len(running) >= self._limits.tenants:
                        await _reap(running)
                    running[tenant] = asyncio.create_task(self._serve(tenant))
                if not fresh and place == FIRST:
                    if not running:
                        return self.report
                    await _reap(running)
        finally:
            for task in running.values():
                task.cancel()
            await asyncio.gather(*running.values(), return_exceptions=True)

    async def run(self, settings: Settings) -> None:
        """Deliver until cancelled: at once when the database announces a message, else every few seconds."""
        woken = asyncio.Event()
        listener = asyncio.create_task(self._listen(woken, settings))
        try:
            while True:
                woken.clear()
                self.report = Report()  # nobody reads the sum of months
                try:
                    await self.drain()
                except AppError as error:  # the store is away; what is due stays due
                    log.warning("outbox waits", error=error.message)
                except Exception as defect:  # delivering must not end before the service does
                    log.exception("outbox failed", exc_info=defect)
                with suppress(TimeoutError):
                    async with asyncio.timeout(settings.outbox.poll_s):
                        await woken.wait()
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)

    async def _listen(self, woken: asyncio.Event, settings: Settings) -> None:
        while True:
            try:
                async for _ in listen(CHANNEL, settings):
                    woken.set()
            except psycopg.OperationalError as error:
                log.warning("outbox hears no notices and looks every few seconds", error=type(error).__name__)
            await asyncio.sleep(settings.outbox.poll_s)

    def _may_serve(self, tenant: UUID) -> bool:
        if self._only is not None and tenant not in self._only:
            return False
        return self._resting.get(tenant, 0.0) <= time.monotonic()

    async def _serve(self, tenant: UUID) -> None:
        """Handle one batch of the tenant, all at once."""
        system = Principal(tenant, "system")
        limits = self._limits
        async with tenant_session(system) as session:
            batch = await claim(session, claimant=self._claimant, most=limits.batch, lease=limits.lease)
        if not batch:
            self._resting = {known: until for known, until in self._resting.items() if until > time.monotonic()}
            self._resting[tenant] = time.monotonic() + RESTING_S
            return
        await asyncio.gather(*(self._see_through(system, message) for message in batch))

    async def _see_through(self, system: Principal, message: Message) -> None:
        with log_context(tenant_id=str(message.tenant_id), message_id=str(message.id), topic=message.topic):
            handled = await self._handle(message)
            settlement = self._judge(message, handled)
            try:
                async with tenant_session(system) as session:
                    await settle(
                        session, message, claimant=self._claimant, error=settlement.error, retry_in=settlement.retry_in
                    )
                    if handled.write is not None:
                        await handled.write(session, settlement)
            except ClaimLost:
                log.warning("a message took longer than its lease and was handled by another")
                return
            except Exception as error:  # its lease will run out, then it is tried again
                log.exception("a message could not be settled", exc_info=error)
                return
        self.report.outcomes[message.topic, settlement.outcome] += 1
        if settlement.error is not None:
            self.report.errors[message.topic, settlement.error] += 1
            log.info("message not delivered", outcome=settlement.outcome, error=settlement.error)

    async def _handle(self, message: Message) -> Handled:
        if message.attempts > self._limits.attempts:  # whoever handled it died every time
            return Handled(error="Handling this message was broken off every time; see the log, then replay it.")
        try:
            # ends before the lease does, so that nobody else begins meanwhile
            async with asyncio.timeout(self._limits.lease.total_seconds() * 0.8):
                return await self._registry.find(message.topic)(message)
        except TimeoutError:
            return Handled(error="Handling this message took too long and was broken off.")
        except AppError as error:
            return Handled(error=error.message)
        except Exception as defect:  # one message's defect must not stop the others
            log.exception("a message met a defect", exc_info=defect)
            return Handled(
                error=f"Handling this message met a defect ({type(defect).__name__}); the log has the details."
            )

    def _judge(self, message: Message, handled: Handled) -> Settlement:
        if handled.error is None:
            return Settlement(outcome="delivered")
        error = handled.error[:500]
        if handled.give_up or message.attempts >= self._limits.attempts:
            return Settlement(outcome="dead", error=error)
        pause = self._limits.draw_pause(message.attempts)
        if handled.retry_after is not None:
            pause = max(pause, min(handled.retry_after, self._limits.longest_pause))
        return Settlement(outcome="failed", error=error, retry_in=pause)


async def _reap(running: dict[UUID, asyncio.Task[None]]) -> None:
    """Wait until at least one turn has ended and take the ended ones away; what broke one is raised."""
    done, _ = await asyncio.wait(running.values(), return_when=asyncio.FIRST_COMPLETED)
    for tenant in [tenant for tenant, task in running.items() if task in done]:
        running.pop(tenant).result()

"""What a build is going to do and what that may cost, told before any model is asked."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from uuid import UUID

from sqlalchemy import select

from core.errors import QuotaExceeded
from core.settings import Settings
from db.models import Transcript, User
from db.session import Principal, tenant_session
from domain.budget import get_budget
from domain.identity import UserNotFound
from pipelines.evidence.model import MODEL_VERSION, Forecast, forecast
from pipelines.evidence.rules import RULES_VERSION
from pipelines.evidence.store import BuiltSession, list_sessions, load_session
from rag.answer_models import ModelChoice, list_models
from rag.spending import check_fits

GATE_VERSION: Final = "1"
"""Raise it when the same proposals are located, merged or kept otherwise."""
BUILD_VERSION: Final = f"rules {RULES_VERSION}, gate {GATE_VERSION}"
"""What a session's evidence was built by; a model that was asked too is named behind it."""

UNSETTLED: Final = ", not settled"
"""Stands behind the version until the session's claims were compared with the client's others."""

Force = bool | Collection[UUID]
"""Whether to read every session again, or these transcripts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done: how many sessions are to be read, by which models, for how much.

    `models` is empty where none is configured or wanted, or where asking them could overrun the budget; `stopped` says
    so. Amounts in USD; the forecast is None where no model would be asked.
    """

    clients: Sequence[UUID | None]
    """None stands for the sessions of nobody's: meetings, groups."""
    sessions: int = 0
    models: Sequence[ModelChoice] = ()
    forecast: Forecast | None = None
    limit_usd: Decimal | None = None
    spent_usd: Decimal | None = None
    stopped: str | None = None


def name_version(models: Sequence[ModelChoice]) -> str:
    """Return what a session is built by when these models are asked too."""
    return f"{BUILD_VERSION}, {models[0].provider.model} {MODEL_VERSION}" if models else BUILD_VERSION


def is_current(one: BuiltSession, version: str = BUILD_VERSION) -> bool:
    """Tell that building the session again by this version would add nothing.

    What a model was asked for stands until the words or the rules change: rules alone never take it away.
    """
    built = (one.built_version or "").removesuffix(UNSETTLED)
    by_this = built == version or (version == BUILD_VERSION and built.startswith(f"{BUILD_VERSION}, "))
    return one.built_hash == one.content_hash and by_this


def is_wanted(one: BuiltSession, version: str, force: Force) -> bool:
    """Tell that the session is to be built."""
    return (force if isinstance(force, bool) else one.transcript_id in force) or not is_current(one, version)


async def get_client_id(tenant_id: UUID, email: str) -> UUID:
    """Return the client of this address; raises `UserNotFound`."""
    async with tenant_session(Principal(tenant_id, "system")) as session:
        client_id = await session.scalar(select(User.id).where(User.email == email.lower(), User.role == "client"))
    if client_id is None:
        raise UserNotFound(f"There is no client {email} in this organisation; check the address.")
    return client_id


async def choose_clients(tenant_id: UUID, email: str | None = None) -> list[UUID | None]:
    """Return the client of this address; or everyone with a session, None for nobody's, in the same order each time.

    Raises `UserNotFound`.
    """
    if email is not None:
        return [await get_client_id(tenant_id, email)]
    async with tenant_session(Principal(tenant_id, "system")) as session:
        return sorted(await session.scalars(select(Transcript.client_id).distinct()), key=str)


async def plan_clients(
    tenant_id: UUID,
    clients: Sequence[UUID | None],
    settings: Settings,
    *,
    force: Force = False,
    ask_models: bool = True,
) -> Plan:
    """Return what a build of these clients would read, and whether the budget allows the models it would ask."""
    system = Principal(tenant_id, "system")
    async with tenant_session(system) as session:
        models = await list_models(session, settings.llm) if ask_models else []
        known = [one for client_id in clients for one in await list_sessions(session, client_id)]
    version = name_version(models)
    waiting = [one for one in known if is_wanted(one, version, force)]
    if not models or not waiting:
        return Plan(clients=clients, sessions=len(waiting), models=models)
    expected, stopped = Forecast(), None
    for one in waiting:
        async with tenant_session(system) as session:
            words = await load_session(session, one.transcript_id)
        expected += await asyncio.to_thread(forecast, [words], models)
    async with tenant_session(system) as session:
        budget = await get_budget(session)
        try:
            tokens, model = expected.input_tokens + expected.output_tokens, models[0].provider.model
            await check_fits(session, tokens=tokens, usd=expected.cost_usd, model=model)
        except QuotaExceeded as error:
            stopped = error.message
    return Plan(
        clients=clients, sessions=len(waiting), models=() if stopped else models, forecast=expected,
        limit_usd=budget.limit_usd, spent_usd=budget.spent_usd, stopped=stopped,
    )  # fmt: skip

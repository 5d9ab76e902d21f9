"""Keeps suites as versions of named datasets, and reads a stored version as a suite that can be run again."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import Select, and_, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import NotFound
from db.models import CaseProposal, Dataset, DatasetCase, Tenant, User
from db.session import Principal, Role
from domain.identity import bound_tenant
from evaluation.proposals import Origin, select_moment
from evaluation.suites import MOST_CASES, BrokenSuite, Case, Suite, explain, hash_cases, require_askers

SETTINGS: Final = frozenset({"user", "asked_at", "repeats", "budget_usd", "judge", "fail_on"})
"""What a suite says beside its cases and is kept with them; its organisation is the one that keeps it."""

SUITE_NAME: Final = re.compile(r"(?P<name>[a-z0-9][a-z0-9._-]{0,99})(@(?P<version>[1-9][0-9]{0,8}))?")

_OF_ITSELF: Final = frozenset({"answerable", "user"})
"""What is stored among a case's slices without being one."""


class DatasetNotFound(NotFound):
    """There is no stored suite of this name and version; a suite that was run from its file or built is stored."""


class NothingConfirmed(NotFound):
    """No proposal of this kind is confirmed yet; whoever asked confirms with `regenesis eval cases review`."""


class CasesWithdrawn(NotFound):
    """No case of this stored suite is left, as those they were about took their consent back; build it anew."""


@dataclass(frozen=True, slots=True)
class StoredSuite:
    """A suite's dataset, and the row of each case by its key; a case whose stored answer was withdrawn has none."""

    dataset_id: UUID
    version: int
    case_ids: Mapping[str, UUID]


async def store_suite(session: AsyncSession, suite: Suite, askers: Mapping[str, Principal]) -> StoredSuite:
    """Keep the suite's cases as a version of its dataset; the same cases are the same version.

    A case that quotes what a good answer stands on is for whoever asks it, named by e-mail in `askers`. A case made
    from a stored answer is kept only while that answer's confirmed proposal is there, and goes with it. What the
    suite says beside its cases is kept as it was said last.
    """
    tenant = await bound_tenant(session)
    known = await session.scalar(
        select(Dataset).where(Dataset.name == suite.name, Dataset.content_hash == suite.content_hash)
        .order_by(Dataset.version.desc()).limit(1)
    )  # fmt: skip
    settings = suite.model_dump(mode="json", include=set(SETTINGS))
    if known is None:
        newest = await session.scalar(select(func.max(Dataset.version)).where(Dataset.name == suite.name))
        known = Dataset(
            tenant_id=tenant, name=suite.name, version=(newest or 0) + 1, origin=suite.origin,
            description=suite.description, content_hash=suite.content_hash, settings=settings,
        )  # fmt: skip
        session.add(known)
        await session.flush()
        allowed = await _find_confirmed(session, suite.loaded)
        rows = [
            _write_case(tenant, known.id, case, askers[suite.get_asker(case)])
            for case in suite.loaded
            if case.proposal_id is None or case.proposal_id in allowed
        ]
        if rows:
            await session.execute(insert(DatasetCase), rows)
    elif known.settings != settings:
        known.settings = settings
        await session.flush()
    keys = await session.execute(
        select(DatasetCase.case_key, DatasetCase.id).where(DatasetCase.dataset_id == known.id)
    )  # fmt: skip
    return StoredSuite(known.id, known.version, dict(keys.tuples().all()))


async def build_dataset(
    session: AsyncSession, name: str, *, origin: Origin | None = None, description: str | None = None
) -> tuple[Suite, StoredSuite]:
    """Make the confirmed proposals, of one origin where it is named, a version of the dataset `name`.

    The same cases are the same version. Each is asked by whoever asked it, at the moment they did, since `last week`
    is counted from there; of people who are no longer active there is none. Needs a session of the pipelines. Raises
    `NothingConfirmed`, and `BrokenSuite` for a name that can't be one.
    """
    wanted = (
        select(CaseProposal, User, select_moment().label("asked_at"))
        .join(User, and_(User.tenant_id == CaseProposal.tenant_id, User.id == CaseProposal.user_id))
        .where(CaseProposal.status == "confirmed", User.status == "active")
        .order_by(CaseProposal.created_at, CaseProposal.id).limit(MOST_CASES)
    )  # fmt: skip
    if origin is not None:
        wanted = wanted.where(CaseProposal.origin == origin)
    rows = (await session.execute(wanted)).tuples().all()
    if not rows:
        raise NothingConfirmed
    cases = tuple(_make_case(proposal, user, asked_at) for proposal, user, asked_at in rows)
    rated = all(proposal.origin == "feedback" for proposal, _, _ in rows)
    try:
        suite = Suite(
            name=name, description=description, tenant=await _get_slug(session), cases="cases.jsonl",
            origin="feedback" if rated else "production", loaded=cases, content_hash=hash_cases(cases),
        )  # fmt: skip
    except ValidationError as error:
        raise BrokenSuite(f"{explain(error)}; correct it.") from error
    askers = {user.email: Principal(user.tenant_id, cast("Role", user.role), user.id) for _, user, _ in rows}
    return suite, await store_suite(session, suite, askers)


def parse_suite_name(said: str) -> tuple[str, int | None]:
    """Return the name and, from `name@version`, the version; raises `DatasetNotFound` where it can be neither."""
    found = SUITE_NAME.fullmatch(said)
    if found is None:
        raise DatasetNotFound(f"{said!r} can't be a stored suite; name it as `name` or `name@version`.")
    version = found["version"]
    return found["name"], None if version is None else int(version)


async def load_stored_suite(session: AsyncSession, name: str, version: int | None = None) -> Suite:
    """Return the newest or the given version of a dataset as a suite, its cases in the order they were stored.

    Read as the pipelines: anyone else has only the cases they may see. Cases that were withdrawn since are not there,
    nor those of people who are no longer active; `content_hash` is that of the version as it was made all the same, so
    that running it is running that version. Raises `DatasetNotFound`, `CasesWithdrawn`, and `BrokenSuite` where nobody
    is known to ask.
    """
    dataset = await session.scalar(_select_dataset(name, version))
    if dataset is None:
        said = name if version is None else f"{name}@{version}"
        raise DatasetNotFound(
            f"There is no stored suite {said!r} here; a suite that was run from its file or built is stored."
        )
    rows = await session.execute(
        select(DatasetCase, User.email)
        .outerjoin(CaseProposal, CaseProposal.id == DatasetCase.proposal_id)
        .outerjoin(User, and_(User.tenant_id == CaseProposal.tenant_id, User.id == CaseProposal.user_id))
        .where(DatasetCase.dataset_id == dataset.id, or_(DatasetCase.proposal_id.is_(None), User.status == "active"))
        .order_by(DatasetCase.id)
    )  # fmt: skip
    cases = tuple(_read_case(row, email) for row, email in rows.tuples())
    if not cases:
        raise CasesWithdrawn
    suite = Suite(
        name=dataset.name, description=dataset.description, tenant=await _get_slug(session),
        cases=f"{dataset.name}@{dataset.version}", origin=dataset.origin, loaded=cases,
        content_hash=dataset.content_hash, **dataset.settings,
    )  # fmt: skip
    require_askers(suite.user, cases)
    return suite


def _select_dataset(name: str, version: int | None) -> Select[tuple[Dataset]]:
    wanted = select(Dataset).where(Dataset.name == name).order_by(Dataset.version.desc()).limit(1)
    return wanted if version is None else wanted.where(Dataset.version == version)


async def _get_slug(session: AsyncSession) -> str:
    slug = await session.scalar(select(Tenant.slug).where(Tenant.id == await bound_tenant(session)))
    assert slug is not None  # noqa: S101  # the bound tenant is there
    return slug


async def _find_confirmed(session: AsyncSession, cases: Iterable[Case]) -> frozenset[UUID]:
    named = [case.proposal_id for case in cases if case.proposal_id is not None]
    if not named:
        return frozenset()
    # held until the cases are written: a withdrawal that comes meanwhile waits, and takes them along
    return frozenset(
        await session.scalars(
            select(CaseProposal.id).where(CaseProposal.id.in_(named), CaseProposal.status == "confirmed")
            .with_for_update(read=True)
        )
    )  # fmt: skip


def _make_case(proposal: CaseProposal, user: User, asked_at: datetime | None) -> Case:
    return Case(
        id=f"{proposal.origin}-{proposal.message_id.hex[:16]}", user_input=proposal.user_input or "",
        reference=proposal.reference, reference_contexts=tuple(proposal.reference_contexts),
        answerable=proposal.answerable, user=user.email, asked_at=asked_at or proposal.message_created_at,
        proposal_id=proposal.id, slices={"origin": proposal.origin, "asked_by": user.role},
    )  # fmt: skip


def _write_case(tenant: UUID, dataset_id: UUID, case: Case, asker: Principal) -> dict[str, Any]:
    """Return the case's row; ids come from the database in the order of the rows, which is the suite's."""
    private = bool(case.reference or case.reference_contexts or case.proposal_id)
    # who asked a stored answer is told by its proposal, whatever their address will be
    named = case.user if case.proposal_id is None else None
    return {
        "tenant_id": tenant, "dataset_id": dataset_id, "case_key": case.id,
        "user_input": case.user_input, "reference": case.reference,
        "reference_contexts": list(case.reference_contexts), "answerable": case.answerable,
        "slices": case.groups | ({"user": named} if named else {}), "visibility": "system_internal",
        "client_id": asker.user_id if private and asker.role == "client" else None,
        "coach_id": asker.user_id if private and asker.role != "client" else None,
        "asked_at": case.asked_at, "proposal_id": case.proposal_id,
    }  # fmt: skip


def _read_case(row: DatasetCase, asker: str | None) -> Case:
    slices = dict(row.slices)
    return Case(
        id=row.case_key, user_input=row.user_input, reference=row.reference,
        reference_contexts=tuple(row.reference_contexts), answerable=row.answerable,
        user=asker or slices.get("user"), asked_at=row.asked_at, proposal_id=row.proposal_id,
        slices={name: value for name, value in slices.items() if name not in _OF_ITSELF},
    )  # fmt: skip

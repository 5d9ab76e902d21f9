"""How far an erasure is: the steps its run has left behind, without a word or an id of what goes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import select

from db.models import ErasureStep
from db.session import Principal, tenant_session
from pipelines.privacy.erase import STEPS

_PREFIX: Final = "step "


@dataclass(frozen=True, slots=True)
class Step:
    """One step, by its name in `STEPS`, and whether it is done."""

    name: str
    is_done: bool


async def list_steps(tenant_id: UUID, request_id: UUID) -> Sequence[Step]:
    """Return the steps of a request's erasure in their order, empty where it has not begun.

    Reads as the pipelines, who alone see the steps: first make sure that whoever asks may see the request.
    """
    s = ErasureStep
    query = select(s.store, s.finished_at).where(s.request_id == request_id, s.store.startswith(_PREFIX))
    async with tenant_session(Principal(tenant_id, "system")) as session:
        rows = list(await session.execute(query.order_by(s.ordinal)))
    if not rows:
        return []
    # What is there was counted in the transaction that wrote the other steps down.
    return [Step(STEPS[0], True), *(Step(r.store.removeprefix(_PREFIX), r.finished_at is not None) for r in rows)]

"""Questions worth asking, from the patterns that the viewer may see of their clients."""

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api.web.viewer import Viewer
from db.models import User
from domain.evidence import list_patterns
from domain.evidence_views import PatternView

MOST: Final = 4
_LOOKED_AT: Final = 24

_OF_CLIENT: Final[Mapping[str, str]] = {
    "commitment_record": "Which of {name}'s commitments were kept, and which were not?",
    "change": "How has {name}'s view of “{subject}” changed?",
    "contradiction": "Has {name} said opposite things about “{subject}”?",
    "trend": "How has “{subject}” changed for {name} over time?",
    "recurrence": "What has {name} said about “{subject}” across sessions?",
}
_OF_SELF: Final[Mapping[str, str]] = {
    "commitment_record": "Which of my commitments did I keep?",
    "change": "How has my view of “{subject}” changed?",
    "contradiction": "Have I said opposite things about “{subject}”?",
    "trend": "How has “{subject}” changed for me over time?",
    "recurrence": "What have I said about “{subject}” across sessions?",
}


async def suggest_questions(session: AsyncSession, viewer: Viewer, client_id: UUID | None) -> list[str]:
    """Return some questions that what is known can answer; of different kinds first; none where nothing is known."""
    patterns = await list_patterns(session, client_id=client_id, limit=_LOOKED_AT)
    ids = {one.client_id for one in patterns if one.client_id is not None}
    rows = await session.execute(select(User.id, User.full_name).where(User.id.in_(ids)))
    names = {row.id: row.full_name.split()[0] for row in rows if row.full_name.strip()}
    return _choose(patterns, names, viewer)


def _choose(patterns: Sequence[PatternView], names: Mapping[UUID, str], viewer: Viewer) -> list[str]:
    is_own = viewer.role == "client"
    seen = list[str]()
    questions = list[str]()
    for round_ in range(2):
        for one in patterns:
            if (
                one.client_id is None
                or one.client_id not in names
                or (round_ == 0 and one.kind in seen)
                or len(questions) == MOST
            ):
                continue
            wording = (_OF_SELF if is_own else _OF_CLIENT).get(one.kind)
            if wording is None or ("{subject}" in wording and not one.subject):
                continue
            question = wording.format(name=names[one.client_id], subject=one.subject)
            if question not in questions:
                seen.append(one.kind)
                questions.append(question)
    return questions

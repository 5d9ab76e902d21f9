"""Reactions: liking, bookmarking and endorsing, each once."""

from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Select, delete, literal, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import ColumnElement

from core.errors import Invalid, NotFound
from db.models import Comment, Post, Project, Reaction, UserProfile
from db.violations import refusing
from domain.posts import READER, TENANT

EntityType = Literal["post", "comment", "project", "profile"]
ReactionType = Literal["like", "love", "bookmark", "endorse"]


class NothingToReactTo(NotFound):
    """There is no such thing that you may see; check its type and id."""


class ReactionDoesNotFit(Invalid):
    """Only projects and profiles are endorsed; like, love or bookmark this instead."""


_FOUND: dict[str, Select[Any]] = {
    "post": select(Post.id.label("found")),
    "comment": select(Comment.id.label("found")),
    "project": select(Project.id.label("found")),
    "profile": select(UserProfile.user_id.label("found")),
}
_RULES = {"reactions_entity": NothingToReactTo, "ck_reactions_endorse": ReactionDoesNotFit}


async def react(
    session: AsyncSession, *, entity_type: EntityType, entity_id: UUID, reaction_type: ReactionType
) -> None:
    """Leave the reader's reaction; again changes nothing, and a love takes the place of a like.

    One statement, two where one takes the other's place; the counts follow by trigger.
    Raises `NothingToReactTo`, `ReactionDoesNotFit`.
    """
    if reaction_type == "endorse" and entity_type not in ("project", "profile"):
        raise ReactionDoesNotFit
    there = _FOUND[entity_type].subquery()
    row = select(TENANT, READER, literal(entity_type), there.c.found, literal(reaction_type)).where(
        there.c.found == entity_id
    )
    columns = ("tenant_id", "user_id", "entity_type", "entity_id", "reaction_type")
    with refusing(_RULES):
        made = await session.scalar(
            insert(Reaction).from_select(columns, row).on_conflict_do_nothing().returning(Reaction.id)
        )
    if made is not None:
        return
    if reaction_type in ("like", "love"):
        changed = await session.scalar(
            update(Reaction)
            .where(*_mine(entity_type, entity_id), Reaction.reaction_type.in_(("like", "love")))
            .values(reaction_type=reaction_type)
            .returning(Reaction.id)
            .execution_options(synchronize_session=False)
        )
        if changed is not None:
            return
    if await session.scalar(select(there.c.found).where(there.c.found == entity_id)) is None:
        raise NothingToReactTo


def _mine(entity_type: str, entity_id: UUID) -> tuple[ColumnElement[bool], ...]:
    return Reaction.user_id == READER, Reaction.entity_type == entity_type, Reaction.entity_id == entity_id


async def take_back(
    session: AsyncSession, *, entity_type: EntityType, entity_id: UUID, reaction_type: ReactionType
) -> None:
    """Remove the reader's reaction; where there is none nothing changes."""
    await session.execute(
        delete(Reaction)
        .where(*_mine(entity_type, entity_id), Reaction.reaction_type == reaction_type)
        .execution_options(synchronize_session=False)
    )


def select_reactions(*, entity_type: str | None = None, reaction_type: str | None = None) -> Select[Any]:
    """Return the reader's own reactions; order it by `(created_at, id)`."""
    query = select(Reaction).where(Reaction.user_id == READER)
    if entity_type is not None:
        query = query.where(Reaction.entity_type == entity_type)
    if reaction_type is not None:
        query = query.where(Reaction.reaction_type == reaction_type)
    return query

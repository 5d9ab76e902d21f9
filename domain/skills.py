"""Skills and tags: the words people, projects, articles and posts are found by."""

from collections.abc import Collection, Mapping
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import Select, delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, Invalid, NotFound
from db.models import BlogPost, BlogPostSkill, Project, ProjectSkill, Skill, Tag, UserSkill
from domain.posts import READER, TENANT


class SkillNotFound(NotFound):
    """There is no such skill; list the skills to find their ids."""


class SkillsUnknown(NotFound):
    """Not all of these are skills of your organisation; list the skills to find their ids."""


class NothingToEquip(NotFound):
    """There is no such project or article of yours; check its id."""


class TagNotFound(NotFound):
    """There is no such tag; list the tags to find their ids."""


class TagInUse(Conflict):
    """This tag is borne by posts or programs; rename it instead, or take it off them first."""


class TagUnreadable(Invalid):
    """A tag needs a letter or a figure; give it a name with one."""


async def create_skill(session: AsyncSession, *, name: str, category: str | None) -> Skill:
    """Add a skill to choose from; one that is there already is returned as it is. For coaches and administrators."""
    name = " ".join(name.split())
    await session.execute(insert(Skill).values(tenant_id=TENANT, name=name, category=category).on_conflict_do_nothing())
    row = await session.scalar(select(Skill).where(Skill.name == name))
    assert row is not None  # noqa: S101  # it was there or has been added
    return row


async def delete_skill(session: AsyncSession, skill_id: UUID) -> None:
    """Delete the skill from everyone who has it, as an administrator; raises `SkillNotFound`."""
    gone = await session.scalar(
        delete(Skill).where(Skill.id == skill_id).returning(Skill.id).execution_options(synchronize_session=False)
    )
    if gone is None:
        raise SkillNotFound


def select_skills(*, category: str | None = None, prefix: str | None = None) -> Select[Any]:
    """Return skills; order it by `(name, id)`, ascending."""
    query = select(Skill)
    if category is not None:
        query = query.where(Skill.category == category)
    if prefix is not None:
        query = query.where(Skill.name.istartswith(prefix, autoescape=True))
    return query


def select_user_skills(user_id: UUID) -> Select[Any]:
    """Return the person's skills with their levels, as far as the reader may see them."""
    return (
        select(Skill, UserSkill.level)
        .join(UserSkill, (UserSkill.tenant_id == Skill.tenant_id) & (UserSkill.skill_id == Skill.id))
        .where(UserSkill.user_id == user_id)
    )


async def set_user_skills(session: AsyncSession, *, levels: Mapping[UUID, str | None]) -> None:
    """Make these the reader's skills, and no others; raises `SkillsUnknown`."""
    await _require_skills(session, levels)
    await session.execute(
        delete(UserSkill)
        .where(UserSkill.user_id == READER, UserSkill.skill_id.not_in(list(levels)))
        .execution_options(synchronize_session=False)
    )
    if levels:
        rows = [
            {"tenant_id": TENANT, "user_id": READER, "skill_id": skill, "level": level}
            for skill, level in sorted(levels.items())
        ]
        added = insert(UserSkill).values(rows)
        await session.execute(
            added.on_conflict_do_update(
                index_elements=(UserSkill.tenant_id, UserSkill.user_id, UserSkill.skill_id),
                set_={"level": added.excluded.level},
                where=UserSkill.level.is_distinct_from(added.excluded.level),
            )
        )


_EQUIPPED: Final[dict[str, tuple[Any, Any, Any, Any]]] = {
    "project": (ProjectSkill, ProjectSkill.project_id, Project.id, Project.submitted_by),
    "article": (BlogPostSkill, BlogPostSkill.blog_post_id, BlogPost.id, BlogPost.author_id),
}


async def set_skills(
    session: AsyncSession, *, of: Literal["project", "article"], row_id: UUID, skill_ids: Collection[UUID]
) -> None:
    """Make these the skills of the reader's own project or article; raises `NothingToEquip`, `SkillsUnknown`."""
    table, key, parent, writer = _EQUIPPED[of]
    if not await session.scalar(select(exists().where(parent == row_id, writer == READER))):
        raise NothingToEquip
    await _require_skills(session, skill_ids)
    await session.execute(
        delete(table)
        .where(key == row_id, table.skill_id.not_in(list(skill_ids)))
        .execution_options(synchronize_session=False)
    )
    if skill_ids:
        rows = [{"tenant_id": TENANT, key.key: row_id, "skill_id": skill} for skill in sorted(set(skill_ids))]
        await session.execute(insert(table).values(rows).on_conflict_do_nothing())


async def _require_skills(session: AsyncSession, skill_ids: Collection[UUID]) -> None:
    wanted = set(skill_ids)
    if await session.scalar(select(func.count()).where(Skill.id.in_(wanted))) != len(wanted):
        raise SkillsUnknown


def select_tags(*, category: str | None = None, prefix: str | None = None) -> Select[Any]:
    """Return tags; order it by `(usage_count, id)`, the most used first."""
    query = select(Tag)
    if category is not None:
        query = query.where(Tag.category == category)
    if prefix is not None:
        query = query.where(Tag.slug.startswith(func.content.name_tag(prefix), autoescape=False))
    return query


async def create_tag(session: AsyncSession, *, name: str, category: str | None) -> Tag:
    """Add a tag, or give the one of the same letters this category, as an administrator; raises `TagUnreadable`."""
    name = " ".join(name.split())
    slug = await session.scalar(select(func.content.name_tag(name)))
    if not slug:
        raise TagUnreadable
    row = await session.scalar(
        insert(Tag)
        .values(tenant_id=TENANT, name=name, slug=slug, category=category)
        .on_conflict_do_update(index_elements=(Tag.tenant_id, Tag.slug), set_={"category": category})
        .returning(Tag),
        execution_options={"populate_existing": True},
    )
    assert row is not None  # noqa: S101  # an upsert returns its row
    return row


async def delete_tag(session: AsyncSession, tag_id: UUID) -> None:
    """Delete a tag that nothing bears, as an administrator; raises `TagNotFound`, `TagInUse`."""
    gone = await session.scalar(
        delete(Tag).where(Tag.id == tag_id).returning(Tag.id).execution_options(synchronize_session=False)
    )
    if gone is None:
        if await session.scalar(select(Tag.id).where(Tag.id == tag_id)) is None:
            raise TagNotFound
        raise TagInUse


async def sort_tag(session: AsyncSession, *, tag_id: UUID, category: str | None) -> Tag:
    """Give the tag a category, as an administrator; raises `TagNotFound`."""
    row: Tag | None = await session.scalar(
        update(Tag).where(Tag.id == tag_id).values(category=category).returning(Tag),
        execution_options={"populate_existing": True},
    )
    if row is None:
        raise TagNotFound
    return row

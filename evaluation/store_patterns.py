"""The access patterns of seed 001 §4 as they are measured: who asks what, through the product's own functions."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncSession

from db.models import Post
from db.session import Principal
from domain import analytics, curriculum, directory, events, people, posts, progress
from evaluation.store_tables import (
    BEGUN,
    CATEGORIES,
    COUNTRIES,
    EVENT,
    LESSON,
    LESSONS,
    MODULE,
    MODULES,
    SKILLS,
    TENANT,
    World,
    make_id,
)

Ask = Callable[[AsyncSession], Awaitable[Any]]
FEED_PAGE: Final = 20


@dataclass(frozen=True)
class Pattern:
    """One access pattern: its name, the milliseconds wanted at p95 with eight connections, and a question of it.

    `comparable`: a statement that only reads tables, and so can be asked again without row-level security.
    """

    name: str
    wanted_p95_ms: float | None
    ask: Callable[[World, random.Random], tuple[Principal, Ask]]
    comparable: bool = True
    statements: int = 1


def _person(world: World, number: int) -> tuple[Principal, UUID]:
    user_id = UUID(world.client(number))
    return Principal(TENANT, "client", user_id), user_id


def _anyone(world: World, chance: random.Random) -> tuple[Principal, UUID]:
    return _person(world, chance.randrange(world.clients))


def _dashboard(world: World, chance: random.Random) -> tuple[Principal, Ask]:
    principal, user_id = _anyone(world, chance)
    return principal, lambda session: people.get_dashboard(session, user_id=user_id)


def _lessons(world: World, chance: random.Random) -> tuple[Principal, Ask]:
    enrollment = chance.randrange(world.users)
    principal, user_id = _person(world, enrollment)
    module = UUID(make_id(MODULE, world.program_of(enrollment) * MODULES + chance.randrange(BEGUN // LESSONS)))
    return principal, lambda session: curriculum.list_module_lessons(session, module_id=module, reader_id=user_id)


def _feed(world: World, chance: random.Random) -> tuple[Principal, Ask]:
    principal, _ = _anyone(world, chance)
    query = (
        posts.select_posts(category=chance.choice(CATEGORIES))
        .order_by(Post.is_pinned.desc(), Post.published_at.desc(), Post.id.desc())
        .limit(FEED_PAGE)
    )
    return principal, lambda session: session.execute(query)


def _coaches(world: World, chance: random.Random) -> tuple[Principal, Ask]:
    principal, _ = _anyone(world, chance)
    wanted = directory.CoachFilter(skills=[chance.choice(SKILLS)], country=chance.choice(COUNTRIES))
    return principal, lambda session: directory.list_coaches(session, wanted=wanted, limit=20)


def _event(world: World, chance: random.Random) -> tuple[Principal, Ask]:
    principal, user_id = _anyone(world, chance)
    event_id = UUID(make_id(EVENT, chance.randrange(world.events)))
    return principal, lambda session: events.get_visit(session, event_id=event_id, user_id=user_id)


def _progress(world: World, chance: random.Random) -> tuple[Principal, Ask]:
    enrollment = chance.randrange(world.users)
    principal, user_id = _person(world, enrollment)
    lesson = UUID(make_id(LESSON, world.program_of(enrollment) * MODULES * LESSONS + chance.randrange(BEGUN)))
    message = progress.ProgressMessage(event_id=uuid4(), lesson_id=lesson, percent=chance.randrange(101), seconds=30)
    return principal, lambda session: progress.record_progress(session, user_id=user_id, messages=[message])


def _figures(world: World, _: random.Random) -> tuple[Principal, Ask]:
    return Principal(TENANT, "admin", UUID(world.admin)), analytics.get_dashboard_figures


def _programs(world: World, _: random.Random) -> tuple[Principal, Ask]:
    admin = Principal(TENANT, "admin", UUID(world.admin))
    return admin, lambda session: analytics.list_program_figures(session, limit=50)


PATTERNS: Final = (
    Pattern("P1 dashboard", 10, _dashboard),
    Pattern("P2 lessons", 15, _lessons),
    Pattern("P3 feed", 25, _feed),
    Pattern("P4 coaches", 25, _coaches),
    Pattern("P5 event", 10, _event),
    Pattern("W2 progress", None, _progress, comparable=False, statements=2),
    Pattern("A1 organisation", None, _figures, comparable=False),
    Pattern("A2 programs", None, _programs, comparable=False),
)
READS: Final = tuple(pattern for pattern in PATTERNS if pattern.name.startswith("P"))

"""Kept counts equal a recount, however many people act at once."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Literal
from uuid import UUID

from sqlalchemy import delete, func, select, update

from core.errors import AppError
from db.models import Comment, Post, Reaction, User, UserProfile, ViewTally
from db.session import Principal, tenant_session
from domain import comments, identity, posts, projects, reactions
from tests.factories.community import list_wrong_counts, write_post
from tests.factories.people import Organisation


async def invite_people(organisation: Organisation, number: int) -> list[Principal]:
    async with tenant_session(organisation.system) as session:
        users = [
            await identity.create_user(
                session, email=f"member{n}@{organisation.slug}.example", full_name=f"Member {n}", role="client"
            )
            for n in range(number)
        ]
    return [Principal(organisation.tenant_id, "client", user.id) for user in users]


async def like(reader: Principal, post_id: UUID, kind: reactions.ReactionType = "like") -> None:
    async with tenant_session(reader) as session:
        await reactions.react(session, entity_type="post", entity_id=post_id, reaction_type=kind)


async def unlike(reader: Principal, post_id: UUID) -> None:
    async with tenant_session(reader) as session:
        await reactions.take_back(session, entity_type="post", entity_id=post_id, reaction_type="like")


async def answer(reader: Principal, post_id: UUID, parent: UUID | None = None) -> UUID:
    async with tenant_session(reader) as session:
        return await comments.add_comment(
            session, author=reader, post_id=post_id, content="Well done.", parent_comment_id=parent
        )


async def get_counts(organisation: Organisation, post_id: UUID) -> tuple[int, int, int]:
    async with tenant_session(organisation.system) as session:
        row = await session.execute(
            select(Post.like_count, Post.comment_count, Post.bookmark_count).where(Post.id == post_id)
        )
        likes, answers, bookmarks = row.one()
        return likes, answers, bookmarks


async def test_fifty_people_like_bookmark_and_answer_at_once(organisation: Organisation) -> None:
    post_id = await write_post(organisation.coach_a)
    people = await invite_people(organisation, 50)
    await asyncio.gather(*(like(person, post_id) for person in people))
    assert await get_counts(organisation, post_id) == (50, 0, 0)
    # Twice is once, a love takes the place of a like, and everything goes on together.
    await asyncio.gather(
        *(like(person, post_id) for person in people[:25]),
        *(like(person, post_id, "love") for person in people[:10]),
        *(like(person, post_id, "bookmark") for person in people[:30]),
        *(unlike(person, post_id) for person in people[30:50]),
        *(answer(person, post_id) for person in people),
    )
    assert await get_counts(organisation, post_id) == (30, 50, 30)
    assert await list_wrong_counts(organisation, "community", "content") == []


async def test_the_same_like_fifty_times_at_once_counts_once(organisation: Organisation) -> None:
    post_id = await write_post(organisation.coach_a)
    await asyncio.gather(*(like(organisation.client_a, post_id) for _ in range(50)))
    assert await get_counts(organisation, post_id) == (1, 0, 0)


async def test_anything_in_any_order_leaves_true_counts(organisation: Organisation) -> None:
    rng = random.Random(20260314)
    people = await invite_people(organisation, 12)
    written = [await write_post(rng.choice(people), tags=rng.sample(["Focus", "Sleep", "Work"], 2)) for _ in range(6)]
    answers = [await answer(rng.choice(people), rng.choice(written)) for _ in range(20)]

    async def moderate(status: Literal["published", "flagged", "removed"], post_id: UUID) -> None:
        async with tenant_session(organisation.admin) as session:
            await posts.moderate_post(session, moderator=organisation.admin, post_id=post_id, status=status)

    async def take_down(comment_id: UUID) -> None:
        async with tenant_session(organisation.admin) as session:
            await comments.moderate_comment(
                session, moderator=organisation.admin, comment_id=comment_id,
                status=rng.choice(("published", "removed")),
            )  # fmt: skip

    async def retag(post_id: UUID) -> None:
        async with tenant_session(organisation.system) as session:
            await session.execute(
                update(Post).where(Post.id == post_id).values(tags=rng.sample(["Focus", "Sleep", "Work", "Ärger"], 2))
            )

    async def drop(post_id: UUID) -> None:
        async with tenant_session(organisation.system) as session:
            await session.execute(delete(Post).where(Post.id == post_id))

    async def drop_comment(comment_id: UUID) -> None:
        async with tenant_session(organisation.system) as session:
            await session.execute(delete(Comment).where(Comment.id == comment_id))

    async def like_comment(person: Principal, comment_id: UUID) -> None:
        async with tenant_session(person) as session:
            await reactions.react(session, entity_type="comment", entity_id=comment_id, reaction_type="like")

    def choose() -> Awaitable[object]:
        person, post_id, comment_id = rng.choice(people), rng.choice(written), rng.choice(answers)
        acts: list[Callable[[], Awaitable[object]]] = [
            lambda: like(person, post_id), lambda: like(person, post_id, "love"), lambda: unlike(person, post_id),
            lambda: answer(person, post_id, rng.choice([None, comment_id])), lambda: like_comment(person, comment_id),
            lambda: moderate(rng.choice(("published", "flagged", "removed")), post_id),
            lambda: take_down(comment_id), lambda: retag(post_id), lambda: drop_comment(comment_id),
        ]  # fmt: skip
        return rng.choice(acts)()

    done = 0
    for _ in range(4):
        outcomes = await asyncio.gather(*(choose() for _ in range(50)), return_exceptions=True)
        unforeseen = [o for o in outcomes if isinstance(o, BaseException) and not isinstance(o, AppError)]
        assert unforeseen == []
        done += sum(not isinstance(outcome, BaseException) for outcome in outcomes)
        assert await list_wrong_counts(organisation, "community", "content") == []
    assert done >= 100
    await asyncio.gather(
        *(drop(post_id) for post_id in written),
        *(like(people[0], post_id) for post_id in written),
        return_exceptions=True,
    )
    async with tenant_session(organisation.system) as session:
        assert list(await session.scalars(select(Reaction.id))) == []
        assert list(await session.scalars(select(Comment.id))) == []
    assert await list_wrong_counts(organisation, "community", "content") == []


async def test_who_goes_takes_their_likes_along_and_leaves_their_posts(organisation: Organisation) -> None:
    people = await invite_people(organisation, 2)
    post_id, kept = await write_post(organisation.coach_a), await write_post(people[0])
    for person in people:
        await like(person, post_id)
        await answer(person, post_id)
    async with tenant_session(people[1]) as session:
        await reactions.react(
            session, entity_type="profile", entity_id=people[0].user_id, reaction_type="endorse"  # type: ignore[arg-type]  # people have ids
        )  # fmt: skip
    async with tenant_session(organisation.system) as session:
        await session.execute(delete(User).where(User.id == people[0].user_id))
    assert await get_counts(organisation, post_id) == (1, 2, 0)
    async with tenant_session(organisation.client_a) as session:
        shown = await posts.get_post(session, kept)
        assert (shown.Post.author_id, shown.display_name) == (None, None)
    async with tenant_session(organisation.system) as session:
        assert list(await session.scalars(select(Reaction.reaction_type))) == ["like"]
    assert await list_wrong_counts(organisation, "community") == []


async def test_post_count_is_what_shows(organisation: Organisation) -> None:
    async def count() -> int:
        async with tenant_session(organisation.system) as session:
            query = select(UserProfile.post_count).where(UserProfile.user_id == organisation.coach_a.user_id)
            return await session.scalar(query) or 0

    written = await asyncio.gather(*(write_post(organisation.coach_a) for _ in range(50)))
    assert await count() == 50
    await write_post(organisation.coach_a, draft=True)
    assert await count() == 50
    async with tenant_session(organisation.admin) as session:
        await posts.moderate_post(session, moderator=organisation.admin, post_id=written[0], status="removed")
    async with tenant_session(organisation.coach_a) as session:
        await posts.delete_post(session, written[1])
    assert await count() == 48


async def test_endorsements_and_requests_are_counted(organisation: Organisation) -> None:
    people = await invite_people(organisation, 20)
    leader = organisation.client_a
    fields = {"problem_statement": "Nobody rests.", "solution_description": "A quiet hour.", "stage": "idea"}
    async with tenant_session(leader) as session:
        project_id = await projects.submit_project(session, author=leader, title="Quiet hour", fields=fields)
    async with tenant_session(organisation.admin) as session:
        await projects.review_project(session, reviewer=organisation.admin, project_id=project_id, status="approved")

    async def join(person: Principal) -> None:
        async with tenant_session(person) as session:
            await reactions.react(session, entity_type="project", entity_id=project_id, reaction_type="endorse")
            await projects.ask_to_join(session, reader=person, project_id=project_id, role="Tester", message=None)

    await asyncio.gather(*(join(person) for person in people), *(join(person) for person in people))
    async with tenant_session(leader) as session:
        shown = (await projects.get_project(session, project_id)).Project
        assert (shown.endorsement_count, shown.collaboration_request_count) == (20, 20)


async def test_views_are_added_in_batches_and_none_is_lost(organisation: Organisation) -> None:
    post_id = await write_post(organisation.coach_a)

    async def look() -> None:
        async with tenant_session(organisation.client_a) as session:
            await posts.add_view(session, "post", post_id)

    for _ in range(5):
        await asyncio.gather(*(look() for _ in range(50)))
    async with tenant_session(organisation.system) as session:
        kept = await session.scalar(select(Post.view_count).where(Post.id == post_id)) or 0
        waiting = await session.scalar(select(func.coalesce(func.sum(ViewTally.views), 0)))
    assert kept + (waiting or 0) == 250
    assert kept >= 250 - 8 * 15

"""Writing, finding and answering posts, and who is told of it."""

import asyncio

import psycopg
import pytest
from sqlalchemy import delete, func, select, text

from core.settings import Settings
from db.locate import owner_url
from db.models import Notification, Post, Tag
from db.provision import to_libpq_url
from db.session import Principal, tenant_session
from domain import comments, posts, reactions
from tests.factories.community import list_wrong_counts, write_post
from tests.factories.people import Organisation
from tests.factories.sessions import require_id


async def list_told(person: Principal) -> list[str]:
    async with tenant_session(person) as session:
        query = select(Notification.notification_type).where(Notification.user_id == person.user_id)
        return sorted(await session.scalars(query))


async def find(reader: Principal, **given: object) -> list[str | None]:
    order = (Post.is_pinned.desc(), Post.published_at.desc(), Post.id.desc())
    async with tenant_session(reader) as session:
        query = posts.select_posts(**given).order_by(*order)  # type: ignore[arg-type]  # whatever the test asks for
        return [row.Post.title for row in await session.execute(query)]


async def test_the_feed_has_authors_and_own_reactions_in_one_statement(organisation: Organisation) -> None:
    first = await write_post(
        organisation.coach_a, title="First", category="story", tags=["Über uns", "über-UNS", "Focus"]
    )
    await write_post(organisation.client_a, title="Second", category="question")
    async with tenant_session(organisation.client_b) as session:
        for kind in ("love", "bookmark"):
            await reactions.react(session, entity_type="post", entity_id=first, reaction_type=kind)
        row = await posts.get_post(session, first)
        assert sorted(row.my_reactions) == ["bookmark", "love"]
        assert row.display_name == "coach_a"
        assert row.Post.tags == ["über-uns", "focus"]
    async with tenant_session(organisation.client_c) as session:
        assert (await posts.get_post(session, first)).my_reactions == []
    assert await find(organisation.client_c) == ["Second", "First"]
    async with tenant_session(organisation.admin) as session:
        await posts.feature_post(session, post_id=first, changes={"is_pinned": True})
    assert await find(organisation.client_c) == ["First", "Second"]
    assert await find(organisation.client_c, category="question") == ["Second"]
    assert await find(organisation.client_c, tag="Über Uns") == ["First"]
    assert await find(organisation.client_b, reacted="bookmark") == ["First"]
    assert await find(organisation.client_c, reacted="bookmark") == []
    assert await find(organisation.client_c, author_id=organisation.client_a.user_id) == ["Second"]


async def test_words_are_found_by_their_stem_in_what_one_may_read(organisation: Organisation) -> None:
    await write_post(organisation.coach_a, title="Sleeping well", content="A dark room and no screens.")
    await write_post(organisation.coach_a, title="For coaches", content="Sleep of clients.", visibility="coach_only")
    assert await find(organisation.client_a, words="sleep") == ["Sleeping well"]
    assert await find(organisation.coach_b, words="slept OR sleeps") == ["For coaches", "Sleeping well"]
    assert await find(organisation.client_a, words='"dark room" -sleep') == []
    for odd in ("'", '"', "\\", "!!!", "(((", "a & | b", "%_", ":*", "<->", "🙂"):
        assert await find(organisation.client_a, words=odd) == []


async def test_the_feed_walks_an_index_in_its_order(organisation: Organisation, store: Settings) -> None:
    async with tenant_session(organisation.system) as session:
        await session.execute(
            text(
                "INSERT INTO community.posts (tenant_id, author_id, content, category, slug, published_at) "
                "SELECT CAST(:tenant AS uuid), CAST(:author AS uuid), 'Day ' || n, "
                "(ARRAY['story', 'question', 'project', 'discussion'])[1 + n % 4], 'day-' || n, "
                "now() - n * interval '1 hour' FROM generate_series(1, 2000) n"
            ),
            {"tenant": organisation.tenant_id, "author": organisation.coach_a.user_id},
        )
    with psycopg.connect(to_libpq_url(owner_url(store)), autocommit=True) as owner:
        owner.execute("ANALYZE community.posts")
    order = (Post.is_pinned.desc(), Post.published_at.desc(), Post.id.desc())
    async with tenant_session(organisation.client_a) as session:
        connection = await session.connection()
        for query, index in (
            (posts.select_posts(category="story"), "ix_posts_category"),
            (posts.select_posts(), "ix_posts_published"),
        ):
            compiled = query.order_by(*order).limit(20).compile(dialect=connection.dialect)
            plan = await connection.exec_driver_sql(f"EXPLAIN {compiled}", compiled.params)
            lines = "\n".join(row[0] for row in plan)
            assert f"Index Scan using {index}" in lines
            assert "Sort" not in lines


async def test_one_key_writes_once_and_slugs_differ(organisation: Organisation) -> None:
    written = await asyncio.gather(*(write_post(organisation.client_a, key="k1", tags=["Once"]) for _ in range(20)))
    assert len(set(written)) == 1
    assert await write_post(organisation.client_b, key="k1") != written[0]
    async with tenant_session(organisation.client_a) as session:
        slugs = list(await session.scalars(select(Post.slug)))
        assert len(set(slugs)) == 2
        assert all(slug is not None and slug.startswith("a-first-step-") for slug in slugs)
        assert list(await session.execute(select(Tag.slug, Tag.usage_count))) == [("once", 1)]


async def test_those_named_and_answered_are_told_if_they_may_read(organisation: Organisation) -> None:
    coaches, everyone = require_id(organisation.coach_b), require_id(organisation.client_b)
    await write_post(organisation.coach_a, visibility="coach_only", mentions=[coaches, everyone])
    assert await list_told(organisation.coach_b) == ["mention"]
    assert await list_told(organisation.client_b) == []
    post_id = await write_post(organisation.coach_a)
    async with tenant_session(organisation.client_a) as session:
        parent = await comments.add_comment(
            session, author=organisation.client_a, post_id=post_id, content="How?", mentions=[everyone, post_id]
        )
    async with tenant_session(organisation.coach_a) as session:
        await comments.add_comment(
            session, author=organisation.coach_a, post_id=post_id, content="So.", parent_comment_id=parent
        )
    assert await list_told(organisation.coach_a) == ["comment"]
    assert await list_told(organisation.client_a) == ["comment"]
    assert await list_told(organisation.client_b) == ["mention"]


async def test_replies_stay_under_their_post_and_nest_so_deep_only(organisation: Organisation) -> None:
    post_id, other = await write_post(organisation.coach_a), await write_post(organisation.coach_a)
    author, parent = organisation.client_a, None
    async with tenant_session(author) as session:
        for _ in range(9):
            parent = await comments.add_comment(
                session, author=author, post_id=post_id, content="And?", parent_comment_id=parent
            )
    for target, error in ((post_id, comments.TooDeep), (other, comments.CommentNotFound)):
        with pytest.raises(error):
            async with tenant_session(author) as session:
                await comments.add_comment(
                    session, author=author, post_id=target, content="Too far.", parent_comment_id=parent
                )
    async with tenant_session(author) as session:
        rows = list(await session.execute(comments.select_comments(post_id=post_id)))
        assert sorted(row.Comment.depth for row in rows) == list(range(9))
        first = next(row.Comment.id for row in rows if row.Comment.depth == 0)
        await comments.delete_comment(session, first)
        assert (await posts.get_post(session, post_id)).Post.comment_count == 0


@pytest.mark.parametrize("name", ["client_b", "coach_b", "admin"])
async def test_others_posts_and_comments_stay_as_they_are(organisation: Organisation, name: str) -> None:
    post_id, person = await write_post(organisation.client_a), organisation.people[name]
    async with tenant_session(organisation.client_a) as session:
        comment_id = await comments.add_comment(session, author=organisation.client_a, post_id=post_id, content="Mine.")
    async with tenant_session(person) as session:
        with pytest.raises(posts.PostNotYours):
            await posts.edit_post(session, author=person, post_id=post_id, changes={"content": "x"})
        with pytest.raises(posts.PostNotYours):
            await posts.delete_post(session, post_id)
        with pytest.raises(comments.CommentNotYours):
            await comments.edit_comment(session, comment_id=comment_id, content="x")
        with pytest.raises(comments.CommentNotYours):
            await comments.delete_comment(session, comment_id)


async def test_tags_follow_their_posts(organisation: Organisation) -> None:
    async def count() -> dict[str, int]:
        async with tenant_session(organisation.admin) as session:
            return {row.slug: row.usage_count for row in await session.execute(select(Tag.slug, Tag.usage_count))}

    written = await asyncio.gather(
        *(write_post(organisation.client_a, tags=["Rest", f"Day {n % 5}", "Ruhe & Kraft"]) for n in range(50))
    )
    assert await count() == {"rest": 50, "ruhe-kraft": 50} | {f"day-{n}": 10 for n in range(5)}

    async def retag(n: int) -> None:
        async with tenant_session(organisation.client_a) as session:
            await posts.edit_post(
                session, author=organisation.client_a, post_id=written[n], changes={"tags": ["Ruhe Kraft", "Mut"]}
            )

    async def drop(n: int) -> None:
        async with tenant_session(organisation.client_a) as session:
            await posts.delete_post(session, written[n])

    await asyncio.gather(*(retag(n) for n in range(25)), *(drop(n) for n in range(25, 50)))
    assert await count() == {"rest": 0, "ruhe-kraft": 25, "mut": 25} | {f"day-{n}": 0 for n in range(5)}
    assert await list_wrong_counts(organisation, "content") == []
    async with tenant_session(organisation.system) as session:
        await session.execute(delete(Post))
        assert await session.scalar(select(func.sum(Tag.usage_count))) == 0

"""Questions, articles, files and skills: who writes them, what counts, what stays."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select

from db.models import BlogPost, Faq, MediaAsset, ProjectSkill, Skill, UserSkill
from db.session import Principal, tenant_session
from domain import articles, faqs, media, posts, projects, skills
from tests.factories.community import list_wrong_counts, write_post
from tests.factories.people import Organisation

QUESTION = {"category": "Start", "question": "How do I begin?", "answer": "With one step."}
PROJECT = {"problem_statement": "Nobody rests.", "solution_description": "A quiet hour.", "stage": "idea"}


async def ask(writer: Principal, visibility: str = "client_visible", **given: Any) -> UUID:
    async with tenant_session(writer) as session:
        return await faqs.create_faq(session, writer=writer, fields=QUESTION | given, visibility=visibility)


async def test_fifty_votes_and_views_of_an_answer(organisation: Organisation) -> None:
    faq_id = await ask(organisation.admin)
    people = [organisation.client_a, organisation.client_b, organisation.client_c, organisation.coach_a]

    async def vote(person: Principal, helpful: bool) -> None:
        async with tenant_session(person) as session:
            await faqs.vote_helpful(session, faq_id=faq_id, helpful=helpful)

    async def look() -> None:
        async with tenant_session(organisation.client_a) as session:
            await posts.add_view(session, "faq", faq_id)

    await asyncio.gather(*(vote(person, helpful=True) for person in people * 12), *(look() for _ in range(50)))
    await vote(organisation.client_b, helpful=False)
    async with tenant_session(organisation.client_b) as session:
        row = await faqs.get_faq(session, faq_id)
        assert (row.Faq.helpful_count, row.is_helpful) == (3, False)
    async with tenant_session(organisation.client_a) as session:
        assert (await faqs.get_faq(session, faq_id)).is_helpful
        with pytest.raises(faqs.FaqNotFound):
            await faqs.vote_helpful(session, faq_id=uuid4(), helpful=True)
    assert await list_wrong_counts(organisation, "content") == []


async def test_questions_are_written_by_administrators_and_for_coaches_by_coaches(organisation: Organisation) -> None:
    for writer, visibility in (
        (organisation.client_a, "client_visible"), (organisation.coach_a, "client_visible"),
    ):  # fmt: skip
        with pytest.raises(faqs.FaqNotYours):
            await ask(writer, visibility)
    first, second = await ask(organisation.admin, sequence_order=2), await ask(organisation.admin, sequence_order=1)
    hidden = await ask(organisation.coach_a, "coach_only", question="What do we charge?")
    async with tenant_session(organisation.client_a) as session:
        shown = list(await session.execute(faqs.select_faqs().order_by(Faq.sequence_order, Faq.id)))
        assert [row.Faq.id for row in shown] == [second, first]
        assert [row.Faq.id for row in await session.execute(faqs.select_faqs(words="charge"))] == []
    async with tenant_session(organisation.coach_b) as session:
        assert [row.Faq.id for row in await session.execute(faqs.select_faqs(words="charging"))] == [hidden]
        with pytest.raises(faqs.FaqNotYours):
            await faqs.edit_faq(session, writer=organisation.coach_b, faq_id=first, changes={"answer": "Two."})
        with pytest.raises(faqs.FaqNotYours):
            await faqs.delete_faq(session, first)
    async with tenant_session(organisation.admin) as session:
        await faqs.edit_faq(session, writer=organisation.admin, faq_id=first, changes={"is_published": False})
    async with tenant_session(organisation.client_a) as session:
        with pytest.raises(faqs.FaqNotFound):
            await faqs.get_faq(session, first)


async def test_articles_show_when_published_and_keep_their_first_day(organisation: Organisation) -> None:
    author, fields = organisation.coach_a, {"content": "Rest is work too.", "summary": "On rest"}
    with pytest.raises(articles.ArticleForbidden):
        async with tenant_session(organisation.client_a) as session:
            await articles.create_article(session, author=organisation.client_a, title="On rest", fields=fields)
    async with tenant_session(author) as session:
        article_id = await articles.create_article(session, author=author, title="On rest", fields=fields)
    async with tenant_session(organisation.client_a) as session:
        with pytest.raises(articles.ArticleNotFound):
            await articles.get_article(session, article_id)
    days = []
    for status in ("published", "archived", "published"):
        async with tenant_session(author) as session:
            await articles.edit_article(session, article_id=article_id, changes={"status": status})
            days.append((await articles.get_article(session, article_id)).BlogPost.published_at)
    assert len(set(days)) == 1
    async with tenant_session(organisation.client_a) as session:
        row = await articles.get_article(session, article_id)
        assert (row.display_name, row.BlogPost.slug[:8]) == ("coach_a", "on-rest-")
        assert len(list(await session.execute(articles.select_articles(words="resting")))) == 1
    for person in (organisation.coach_b, organisation.client_a):
        with pytest.raises(articles.ArticleForbidden):
            async with tenant_session(person) as session:
                await articles.edit_article(session, article_id=article_id, changes={"title": "Mine"})
        with pytest.raises(articles.ArticleForbidden):
            async with tenant_session(person) as session:
                await articles.delete_article(session, article_id)
    async with tenant_session(organisation.admin) as session:
        await articles.delete_article(session, article_id)
        assert await session.scalar(select(func.count()).select_from(BlogPost)) == 0


async def test_a_file_counts_its_uses_and_goes_when_nothing_shows_it(organisation: Organisation) -> None:
    owner = organisation.coach_a
    facts = media.FileFacts(filename="../../a.png", file_type="image/png", file_size_bytes=9)
    async with tenant_session(owner) as session:
        asset = await media.register_asset(session, uploader=owner, facts=facts, provider="local", key="k")
        again = await media.register_asset(session, uploader=owner, facts=facts, provider="local", key="k")
        assert asset.id == again.id
        assert asset.storage_key == f"media/{owner.tenant_id}/{asset.id}.png"
        html = media.FileFacts(filename="a.html", file_type="text/html", file_size_bytes=9)
        with pytest.raises(media.FileTypeRefused):
            await media.register_asset(session, uploader=owner, facts=html, provider="local")
    shown = [{"url": "https://files.example/a", "type": "image", "asset_id": str(asset.id)}]
    written = await asyncio.gather(*(write_post(owner, media_urls=[*shown, *shown]) for _ in range(20)))
    async with tenant_session(owner) as session:
        assert (await media.get_asset(session, asset.id)).usage_count == 20
        with pytest.raises(media.MediaInUse):
            await media.delete_asset(session, asset.id)
        await posts.edit_post(session, author=owner, post_id=written[0], changes={"media_urls": []})
        for post_id in written[1:]:
            await posts.delete_post(session, post_id)
        assert (await media.get_asset(session, asset.id)).usage_count == 0
    assert await list_wrong_counts(organisation, "content") == []
    async with tenant_session(organisation.client_a) as session:
        with pytest.raises(media.MediaNotFound):
            await media.delete_asset(session, asset.id)
    async with tenant_session(owner) as session:
        assert await media.delete_asset(session, asset.id) == asset.storage_key
        assert await session.scalar(select(func.count()).select_from(MediaAsset)) == 0


async def test_skills_are_chosen_from_those_there_are(organisation: Organisation) -> None:
    async with tenant_session(organisation.coach_a) as session:
        names = ["Listening", "Asking", "Resting"]
        made = [await skills.create_skill(session, name=name, category="craft") for name in names]
        assert (await skills.create_skill(session, name=" Listening ", category=None)).id == made[0].id
    listening, asking, resting = (skill.id for skill in made)
    person = organisation.client_a
    for levels in ({listening: "expert", asking: None}, {asking: "beginner", resting: None}):
        async with tenant_session(person) as session:
            await skills.set_user_skills(session, levels=levels)
            held = {
                row.skill_id: row.level for row in await session.execute(select(UserSkill.skill_id, UserSkill.level))
            }
            assert held == levels
    with pytest.raises(skills.SkillsUnknown):
        async with tenant_session(person) as session:
            await skills.set_user_skills(session, levels={uuid4(): None})
    for name, seen in (("coach_a", 2), ("coach_b", 0), ("client_b", 0), ("admin", 2)):
        async with tenant_session(organisation.people[name]) as session:
            query = skills.select_user_skills(person.user_id)  # type: ignore[arg-type]  # people have ids
            assert len(list(await session.execute(query))) == seen, name
    async with tenant_session(person) as session:
        project_id = await projects.submit_project(session, author=person, title="Quiet hour", fields=PROJECT)
        await skills.set_skills(session, of="project", row_id=project_id, skill_ids=[resting, listening, resting])
        assert await session.scalar(select(func.count()).select_from(ProjectSkill)) == 2
        found = list(await session.execute(projects.select_projects(status="pending", skill_id=resting)))
        assert [row.Project.id for row in found] == [project_id]
    with pytest.raises(skills.NothingToEquip):
        async with tenant_session(organisation.admin) as session:
            await skills.set_skills(session, of="project", row_id=project_id, skill_ids=[])
    async with tenant_session(organisation.admin) as session:
        await skills.delete_skill(session, resting)
        assert await session.scalar(select(func.count()).select_from(Skill)) == 2
    async with tenant_session(person) as session:
        assert await session.scalar(select(func.count()).select_from(UserSkill)) == 1


async def test_tags_that_are_borne_stay(organisation: Organisation) -> None:
    await write_post(organisation.coach_a, tags=["Mut"])
    async with tenant_session(organisation.admin) as session:
        tag = await skills.create_tag(session, name="Mut!", category="topic")
        assert (tag.slug, tag.usage_count, tag.category) == ("mut", 1, "topic")
        with pytest.raises(skills.TagInUse):
            await skills.delete_tag(session, tag.id)
        with pytest.raises(skills.TagUnreadable):
            await skills.create_tag(session, name="!!!", category=None)
        fresh = await skills.create_tag(session, name="Ruhe", category=None)
        assert (await skills.sort_tag(session, tag_id=fresh.id, category="topic")).category == "topic"
        assert [row.Tag.slug for row in await session.execute(skills.select_tags(prefix="RU"))] == ["ruhe"]
        await skills.delete_tag(session, fresh.id)
        with pytest.raises(skills.TagNotFound):
            await skills.delete_tag(session, fresh.id)

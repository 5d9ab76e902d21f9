"""Approvals, tags, skills and files."""

from typing import Annotated, Final
from uuid import UUID

import filetype
from fastapi import APIRouter, Form, Query, Response, status
from sqlalchemy import select

from api.deps import IdempotencyKey, PrincipalDep, SessionDep, SettingsDep, needs, needs_role
from api.errors import list_problem_responses
from api.pagination import CursorQuery, LimitQuery, Page, fetch_page
from api.schemas.content import (
    ApprovalOut,
    ContentType,
    MediaAssetOut,
    MediaForm,
    OwnSkillsIn,
    PersonSkillOut,
    RejectionIn,
    SkillIn,
    SkillOut,
    SkillsIn,
    Stage,
    SubmissionIn,
    TagIn,
    TagOut,
    TagPatch,
    VerdictIn,
)
from core.errors import Invalid
from db.models import ContentApproval, MediaAsset, Skill, Tag
from db.session import BOUND_TO, tenant_session
from domain import approvals, media, quotas, skills, usage
from domain.objects import tenant_store

router = APIRouter(prefix="/v1", tags=["content"])

READ: Final = [needs("read"), needs_role("client", "coach", "admin")]
WRITE: Final = [needs("write"), needs_role("client", "coach", "admin")]
ADMIN: Final = [needs("admin"), needs_role("admin")]


class MediaTooLarge(Invalid):
    """This file is larger than one may be; make it smaller, or cut it."""


PrefixQuery = Annotated[str | None, Query(alias="q", min_length=1, max_length=100, description="how it begins")]
CategoryQuery = Annotated[str | None, Query(min_length=1, max_length=50)]


@router.get("/approvals", operation_id="listApprovals", dependencies=READ, responses=list_problem_responses())
async def list_approvals(  # noqa: PLR0917  # FastAPI passes them by name
    session: SessionDep,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
    stage: Stage | None = None,
    content_type: ContentType | None = None,
    content_id: UUID | None = None,
    mine: Annotated[bool, Query(description="only what you submitted")] = False,
) -> Page[ApprovalOut]:
    """List submissions, the newest first: yours, or as an administrator all."""
    query = approvals.select_approvals(stage=stage, content_type=content_type, content_id=content_id, mine=mine)
    order = (ContentApproval.submitted_at, ContentApproval.id)
    rows, following = await fetch_page(session, query, order=order, limit=limit, cursor=cursor)
    return Page(items=[ApprovalOut.model_validate(row.ContentApproval) for row in rows], next_cursor=following)


@router.post(
    "/approvals", operation_id="submitForApproval", dependencies=WRITE, status_code=status.HTTP_201_CREATED,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def submit(body: SubmissionIn, principal: PrincipalDep, session: SessionDep) -> ApprovalOut:
    """Have content of yours reviewed, as it is now."""
    row = await approvals.submit(
        session, submitter=principal, content_type=body.content_type, content_id=body.content_id
    )
    return ApprovalOut.model_validate(row)


@router.get(
    "/approvals/{approval_id}", operation_id="getApproval", dependencies=READ, responses=list_problem_responses(404)
)
async def get_approval(approval_id: UUID, session: SessionDep) -> ApprovalOut:
    """Read a submission."""
    return ApprovalOut.model_validate(await approvals.get_approval(session, approval_id))


@router.post(
    "/approvals/{approval_id}/approve", operation_id="approveContent", dependencies=ADMIN,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def approve(approval_id: UUID, body: VerdictIn, principal: PrincipalDep, session: SessionDep) -> ApprovalOut:
    """Pass a submission at a stage; passing the last shows the content."""
    row = await approvals.approve(
        session, reviewer=principal, approval_id=approval_id, stage=body.stage, notes=body.notes
    )
    return ApprovalOut.model_validate(row)


@router.post(
    "/approvals/{approval_id}/reject", operation_id="rejectContent", dependencies=ADMIN,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def reject(approval_id: UUID, body: RejectionIn, principal: PrincipalDep, session: SessionDep) -> ApprovalOut:
    """Send a submission back."""
    row = await approvals.reject(
        session, reviewer=principal, approval_id=approval_id, stage=body.stage, reason=body.reason
    )
    return ApprovalOut.model_validate(row)


@router.post(
    "/approvals/{approval_id}/withdraw", operation_id="withdrawSubmission", dependencies=WRITE,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def withdraw(approval_id: UUID, principal: PrincipalDep, session: SessionDep) -> ApprovalOut:
    """Take a submission of yours back."""
    return ApprovalOut.model_validate(
        await approvals.withdraw(session, submitter=principal, approval_id=approval_id)
    )  # fmt: skip


@router.get("/tags", operation_id="listTags", dependencies=READ, responses=list_problem_responses())
async def list_tags(
    session: SessionDep,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
    category: CategoryQuery = None,
    prefix: PrefixQuery = None,
) -> Page[TagOut]:
    """List tags, the most used first."""
    query = skills.select_tags(category=category, prefix=prefix)
    rows, following = await fetch_page(session, query, order=(Tag.usage_count, Tag.id), limit=limit, cursor=cursor)
    return Page(items=[TagOut.model_validate(row.Tag) for row in rows], next_cursor=following)


@router.post(
    "/tags", operation_id="createTag", dependencies=ADMIN, status_code=status.HTTP_201_CREATED,
    responses=list_problem_responses(409),
)  # fmt: skip
async def create_tag(body: TagIn, session: SessionDep) -> TagOut:
    """Add a tag before anything bears it."""
    return TagOut.model_validate(await skills.create_tag(session, name=body.name, category=body.category))


@router.patch("/tags/{tag_id}", operation_id="sortTag", dependencies=ADMIN, responses=list_problem_responses(404))
async def sort_tag(tag_id: UUID, body: TagPatch, session: SessionDep) -> TagOut:
    """Give a tag a category."""
    return TagOut.model_validate(await skills.sort_tag(session, tag_id=tag_id, category=body.category))


@router.delete(
    "/tags/{tag_id}", operation_id="deleteTag", dependencies=ADMIN, status_code=status.HTTP_204_NO_CONTENT,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def delete_tag(tag_id: UUID, session: SessionDep) -> None:
    """Delete a tag that nothing bears."""
    await skills.delete_tag(session, tag_id)


@router.get("/skills", operation_id="listSkills", dependencies=READ, responses=list_problem_responses())
async def list_skills(
    session: SessionDep,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
    category: CategoryQuery = None,
    prefix: PrefixQuery = None,
) -> Page[SkillOut]:
    """List skills by name."""
    query = skills.select_skills(category=category, prefix=prefix)
    order = (Skill.name, Skill.id)
    rows, following = await fetch_page(session, query, order=order, limit=limit, cursor=cursor, descending=False)
    return Page(items=[SkillOut.model_validate(row.Skill) for row in rows], next_cursor=following)


@router.post(
    "/skills", operation_id="createSkill", dependencies=[needs("write"), needs_role("coach", "admin")],
    status_code=status.HTTP_201_CREATED, responses=list_problem_responses(409),
)  # fmt: skip
async def create_skill(body: SkillIn, session: SessionDep) -> SkillOut:
    """Add a skill to choose from; one there already is returned as it is."""
    return SkillOut.model_validate(await skills.create_skill(session, name=body.name, category=body.category))


@router.delete(
    "/skills/{skill_id}", operation_id="deleteSkill", dependencies=ADMIN, status_code=status.HTTP_204_NO_CONTENT,
    responses=list_problem_responses(404),
)  # fmt: skip
async def delete_skill(skill_id: UUID, session: SessionDep) -> None:
    """Delete a skill from all who have it."""
    await skills.delete_skill(session, skill_id)


@router.put("/me/skills", operation_id="setMySkills", dependencies=WRITE, status_code=status.HTTP_204_NO_CONTENT,
            responses=list_problem_responses(404))  # fmt: skip
async def set_my_skills(body: OwnSkillsIn, session: SessionDep) -> None:
    """Make these your skills, and no others."""
    await skills.set_user_skills(session, levels={item.skill_id: item.level for item in body.skills})


@router.get(
    "/users/{user_id}/skills", operation_id="listUserSkills", dependencies=READ, responses=list_problem_responses(404)
)
async def list_user_skills(
    user_id: UUID, session: SessionDep, limit: LimitQuery = 100, cursor: CursorQuery = None
) -> Page[PersonSkillOut]:
    """List a person's skills, as far as you may see them."""
    order = (Skill.name, Skill.id)
    rows, following = await fetch_page(
        session, skills.select_user_skills(user_id), order=order, limit=limit, cursor=cursor, descending=False
    )
    shown = [PersonSkillOut(skill=SkillOut.model_validate(row.Skill), level=row.level) for row in rows]
    return Page(items=shown, next_cursor=following)


@router.put(
    "/projects/{project_id}/skills", operation_id="setProjectSkills", dependencies=WRITE,
    status_code=status.HTTP_204_NO_CONTENT, responses=list_problem_responses(404),
)  # fmt: skip
async def set_project_skills(project_id: UUID, body: SkillsIn, session: SessionDep) -> None:
    """Make these the skills a project of yours asks for."""
    await skills.set_skills(session, of="project", row_id=project_id, skill_ids=body.skill_ids)


@router.put(
    "/blog-posts/{article_id}/skills", operation_id="setArticleSkills", dependencies=WRITE,
    status_code=status.HTTP_204_NO_CONTENT, responses=list_problem_responses(404),
)  # fmt: skip
async def set_article_skills(article_id: UUID, body: SkillsIn, session: SessionDep) -> None:
    """Make these the skills an article of yours is about."""
    await skills.set_skills(session, of="article", row_id=article_id, skill_ids=body.skill_ids)


@router.get("/media", operation_id="listMedia", dependencies=READ, responses=list_problem_responses())
async def list_media(  # noqa: PLR0917  # FastAPI passes them by name
    session: SessionDep,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
    usage_type: Annotated[str | None, Query(max_length=30)] = None,
    state: Annotated[str | None, Query(alias="status", max_length=20)] = None,
    unused: Annotated[bool | None, Query(description="only what nothing shows, or only what something does")] = None,
) -> Page[MediaAssetOut]:
    """List files, the newest first: yours, or as an administrator all."""
    query = media.select_assets(usage_type=usage_type, status=state, unused=unused)
    order = (MediaAsset.uploaded_at, MediaAsset.id)
    rows, following = await fetch_page(session, query, order=order, limit=limit, cursor=cursor)
    return Page(items=[MediaAssetOut.model_validate(row.MediaAsset) for row in rows], next_cursor=following)


@router.post(
    "/media", operation_id="uploadMedia", dependencies=WRITE, status_code=status.HTTP_201_CREATED,
    responses=list_problem_responses(409, 413, 429),
)  # fmt: skip
async def upload_media(
    form: Annotated[MediaForm, Form(media_type="multipart/form-data")],
    principal: PrincipalDep,
    settings: SettingsDep,
    key: IdempotencyKey = None,
) -> MediaAssetOut:
    """Keep a file; what it is, its bytes say."""
    content = await form.file.read(settings.api.max_upload_bytes + 1)
    if len(content) > settings.api.max_upload_bytes:
        raise MediaTooLarge
    store = await tenant_store(principal.tenant_id, settings)
    facts = media.FileFacts(
        filename=(form.file.filename or "file")[-500:], file_type=filetype.guess_mime(content) or "",
        file_size_bytes=len(content), usage_type=form.usage_type,
    )  # fmt: skip
    asset_id, place = named = media.name_asset(principal, facts, key)
    async with tenant_session(principal) as session:
        if await session.scalar(select(MediaAsset.id).where(MediaAsset.id == asset_id)) is None:  # else sent again
            await quotas.reserve(session, asset_id, stored_bytes=len(content))
    # Before the row: a row without its bytes would be a lie, bytes without their row are only waste.
    await store.write(place, content)
    async with tenant_session(principal) as session:
        row = await media.register_asset(
            session, uploader=principal, facts=facts, named=named,
            provider="s3" if settings.storage_url.startswith("s3:") else "local",
        )  # fmt: skip
        shown = MediaAssetOut.model_validate(row)
        await usage.settle(session, finished=[asset_id])
    return shown


@router.get("/media/{asset_id}", operation_id="getMedia", dependencies=READ, responses=list_problem_responses(404))
async def get_media(asset_id: UUID, session: SessionDep) -> MediaAssetOut:
    """Read what is known of a file."""
    return MediaAssetOut.model_validate(await media.get_asset(session, asset_id))


@router.get(
    "/media/{asset_id}/content", operation_id="downloadMedia", dependencies=READ, response_class=Response,
    responses=list_problem_responses(404),
)  # fmt: skip
async def download_media(asset_id: UUID, session: SessionDep, settings: SettingsDep) -> Response:
    """Read the bytes of a file of yours."""
    row = await media.get_asset(session, asset_id)
    store = await tenant_store(row.tenant_id, settings, session=session)
    content = await store.read(row.storage_key, max_bytes=settings.api.max_upload_bytes)
    # never run as a page, whatever it holds
    headers = {"Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff"}
    return Response(content, media_type=row.file_type, headers=headers)


@router.delete(
    "/media/{asset_id}", operation_id="deleteMedia", dependencies=WRITE, status_code=status.HTTP_204_NO_CONTENT,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def delete_media(asset_id: UUID, session: SessionDep, settings: SettingsDep) -> None:
    """Delete a file that nothing shows."""
    key = await media.delete_asset(session, asset_id)
    store = await tenant_store(session.info[BOUND_TO].tenant_id, settings, session=session)
    await store.delete(key)

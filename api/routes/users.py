"""The caller's own account, and people as their organisation's administrators see them."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from sqlalchemy import and_, func, or_, select

from api.deps import CacheDep, PrincipalDep, SessionDep, SignedInDep, SystemSessionDep, needs, needs_role
from api.errors import list_problem_responses
from api.pagination import CursorQuery, LimitQuery, Page, fetch_page
from api.schemas.users import (
    ConnectionOut,
    ConsentIn,
    ConsentOut,
    GrantIn,
    GrantOut,
    MeIn,
    MembershipOut,
    MeOut,
    PersonIn,
    PersonOut,
    ProfileIn,
    ProfileOut,
    Purpose,
    RoleName,
    SettingsIn,
    SettingsOut,
    Status,
)
from core.errors import Forbidden
from db.models import Consent, User, UserConnection, UserProfile, UserRole
from db.session import Principal, tenant_session
from domain import consents, people, roles
from domain.identity import create_user
from domain.sessions import forget_sessions

router = APIRouter(prefix="/v1", tags=["users"])

READ, WRITE, ADMIN = [needs("read")], [needs("write")], [needs("admin"), needs_role("admin")]


class AccountOnly(Forbidden):
    """Only a person has an account; call with a person's key or sign-in."""


def _own_id(principal: Principal) -> UUID:
    if principal.user_id is None:
        raise AccountOnly
    return principal.user_id


@router.get("/me", operation_id="getMe", dependencies=READ, responses=list_problem_responses(404))
async def get_me(principal: PrincipalDep, session: SessionDep) -> MeOut:
    """Read who you are: your account, profile, preferences, roles and membership."""
    found = await people.get_dashboard(session, user_id=_own_id(principal))
    user = found.user
    return MeOut(
        id=user.id, email=user.email, full_name=user.full_name, role=principal.role, roles=list(found.roles),
        two_factor_enabled=user.two_factor_enabled, last_login_at=user.last_login_at,
        profile=ProfileOut.model_validate(found.profile), settings=SettingsOut.model_validate(found.settings),
        membership=None if found.subscription is None else MembershipOut.model_validate(found.subscription),
    )  # fmt: skip


@router.patch("/me", operation_id="updateMe", status_code=204, dependencies=WRITE, responses=list_problem_responses())
async def update_me(body: MeIn, principal: PrincipalDep, session: SystemSessionDep) -> None:
    """Change your name or phone number."""
    await people.update_person(
        session, user_id=_own_id(principal), full_name=body.full_name, phone_number=body.phone_number
    )


@router.delete("/me", operation_id="deleteMe", status_code=204, responses=list_problem_responses(409))
async def delete_me(caller: SignedInDep, cache: CacheDep) -> None:
    """Delete your account; an administrator can restore it for 30 days, your profile is gone at once."""
    async with tenant_session(caller.principal.as_system(), asked_by=caller.principal) as session:
        ended = await people.delete_person(session, user_id=_own_id(caller.principal))
    await forget_sessions(ended, cache=cache)


@router.patch("/me/profile", operation_id="updateMyProfile", dependencies=WRITE, responses=list_problem_responses())
async def update_my_profile(body: ProfileIn, principal: PrincipalDep, session: SessionDep) -> ProfileOut:
    """Change how you show yourself; what you leave out stays."""
    changes = body.model_dump(mode="json", exclude_unset=True)
    if "hourly_rate" in changes:
        changes["hourly_rate"] = body.hourly_rate  # exact, not as text
    profile = await people.update_profile(session, user_id=_own_id(principal), changes=changes)
    return ProfileOut.model_validate(profile)


@router.patch("/me/settings", operation_id="updateMySettings", dependencies=WRITE, responses=list_problem_responses())
async def update_my_settings(body: SettingsIn, principal: PrincipalDep, session: SessionDep) -> SettingsOut:
    """Change your preferences; what you leave out stays."""
    changes = body.model_dump(mode="json", exclude_unset=True)
    settings = await people.update_settings(session, user_id=_own_id(principal), changes=changes)
    return SettingsOut.model_validate(settings)


@router.get("/me/consents", operation_id="listMyConsents", dependencies=READ, responses=list_problem_responses())
async def list_my_consents(
    *,
    principal: PrincipalDep,
    session: SessionDep,
    purpose: Annotated[Purpose | None, Query()] = None,
    running: Annotated[bool | None, Query(description="only those that run, or only withdrawn ones")] = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> Page[ConsentOut]:
    """List what you agreed to, the newest first, withdrawn ones too."""
    query = select(Consent).where(Consent.user_id == _own_id(principal))
    if purpose is not None:
        query = query.where(Consent.purpose == purpose)
    if running is not None:
        query = query.where(Consent.withdrawn_at.is_(None) if running else Consent.withdrawn_at.is_not(None))
    rows, more = await fetch_page(session, query, order=(Consent.granted_at, Consent.id), limit=limit, cursor=cursor)
    return Page(items=[ConsentOut.model_validate(row[0]) for row in rows], next_cursor=more)


@router.post(
    "/me/consents", operation_id="giveConsent", status_code=201, dependencies=WRITE, responses=list_problem_responses()
)
async def give_consent(body: ConsentIn, principal: PrincipalDep, session: SessionDep) -> ConsentOut:
    """Agree to one version of one purpose; agreeing again returns the consent that runs."""
    consent = await consents.record_consent(
        session, user_id=_own_id(principal), purpose=body.purpose, version=body.version
    )
    return ConsentOut.model_validate(consent)


@router.delete(
    "/me/consents/{purpose}", operation_id="withdrawConsent", status_code=204, dependencies=WRITE,
    responses=list_problem_responses(404),
)  # fmt: skip
async def withdraw_consent(purpose: Purpose, principal: PrincipalDep, session: SessionDep) -> None:
    """Agree no longer, whichever version it was."""
    await consents.withdraw_consent(session, user_id=_own_id(principal), purpose=purpose)


@router.get("/me/connections", operation_id="listMyConnections", dependencies=READ, responses=list_problem_responses())
async def list_my_connections(
    principal: PrincipalDep,
    session: SessionDep,
    direction: Annotated[Literal["followers", "following"], Query()] = "following",
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> Page[ConnectionOut]:
    """List whom you follow or who follows you, the newest first."""
    own, other = UserConnection.follower_id, UserConnection.following_id
    if direction == "followers":
        own, other = other, own
    query = (
        select(other, UserProfile.display_name, UserProfile.profile_photo_url, UserConnection.created_at)
        .outerjoin(UserProfile, and_(UserProfile.tenant_id == UserConnection.tenant_id, UserProfile.user_id == other))
        .where(own == _own_id(principal))
    )
    rows, more = await fetch_page(
        session, query, order=(UserConnection.created_at, UserConnection.id), limit=limit, cursor=cursor
    )
    return Page(
        items=[
            ConnectionOut(user_id=row[0], display_name=row[1], profile_photo_url=row[2], since=row[3]) for row in rows
        ],
        next_cursor=more,
    )


@router.get(
    "/users",
    operation_id="listUsers",
    dependencies=[needs("admin"), needs_role("admin", "compliance")],
    responses=list_problem_responses(),
)
async def list_users(
    *,
    session: SessionDep,
    status: Annotated[Status | None, Query()] = None,
    role: Annotated[RoleName | None, Query(description="who holds it now")] = None,
    q: Annotated[str | None, Query(min_length=2, max_length=100, description="how the name or address begins")] = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> Page[PersonOut]:
    """List the organisation's people, the newest first."""
    query = select(User)
    if status is not None:
        query = query.where(User.status == status)
    if role is not None:
        query = query.where(User.id.in_(select(UserRole.user_id).where(UserRole.role_name == role, roles.runs())))
    if q is not None:
        start = q.lower().replace("\x00", "")
        query = query.where(
            or_(
                User.email.startswith(start, autoescape=True),
                func.lower(User.full_name).startswith(start, autoescape=True),
            )
        )
    rows, more = await fetch_page(session, query, order=(User.created_at, User.id), limit=limit, cursor=cursor)
    return Page(items=[PersonOut.model_validate(row[0]) for row in rows], next_cursor=more)


@router.post(
    "/users", operation_id="addUser", status_code=201, dependencies=ADMIN, responses=list_problem_responses(409)
)
async def add_user(body: PersonIn, session: SystemSessionDep) -> PersonOut:
    """Add a person to the organisation, with one role."""
    user = await create_user(session, email=body.email, full_name=body.full_name, role=body.role)
    await session.refresh(user)
    return PersonOut.model_validate(user)


@router.delete(
    "/users/{user_id}", operation_id="deleteUser", status_code=204, dependencies=ADMIN,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def delete_user(user_id: UUID, principal: PrincipalDep, cache: CacheDep) -> None:
    """Delete a person; for 30 days they can be restored, their profile is gone at once."""
    async with tenant_session(principal.as_system(), asked_by=principal) as session:
        ended = await people.delete_person(session, user_id=user_id)
    await forget_sessions(ended, cache=cache)


@router.post(
    "/users/{user_id}/restore", operation_id="restoreUser", status_code=204, dependencies=ADMIN,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def restore_user(user_id: UUID, session: SystemSessionDep) -> None:
    """Take a deletion of the last 30 days back."""
    await people.restore_person(session, user_id=user_id)


@router.post(
    "/users/{user_id}/suspension", operation_id="suspendUser", status_code=204, dependencies=ADMIN,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def suspend_user(user_id: UUID, principal: PrincipalDep, cache: CacheDep) -> None:
    """Keep a person out until the suspension is lifted."""
    async with tenant_session(principal.as_system(), asked_by=principal) as session:
        ended = await people.suspend_person(session, user_id=user_id)
    await forget_sessions(ended, cache=cache)


@router.delete(
    "/users/{user_id}/suspension", operation_id="reinstateUser", status_code=204, dependencies=ADMIN,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def reinstate_user(user_id: UUID, session: SystemSessionDep) -> None:
    """Let a suspended person back in."""
    await people.reinstate_person(session, user_id=user_id)


@router.get(
    "/users/{user_id}/profile", operation_id="getProfile", dependencies=READ, responses=list_problem_responses(404)
)
async def get_profile(user_id: UUID, principal: PrincipalDep, session: SessionDep) -> ProfileOut:
    """Read how a person shows themself."""
    profile = ProfileOut.model_validate(await people.get_profile(session, user_id=user_id))
    if profile.show_phone:
        async with tenant_session(principal.as_system()) as system:
            profile.shown_phone = await people.find_shown_phone(system, user_id=user_id)
    return profile


@router.get(
    "/users/{user_id}/roles", operation_id="listRoles", dependencies=READ, responses=list_problem_responses(404)
)
async def list_roles(
    user_id: UUID, session: SessionDep, limit: LimitQuery = 50, cursor: CursorQuery = None
) -> Page[GrantOut]:
    """List what a person is and was, the newest grant first."""
    if await session.scalar(select(User.id).where(User.id == user_id)) is None:
        raise roles.PersonNotFound
    query = select(UserRole).where(UserRole.user_id == user_id)
    rows, more = await fetch_page(session, query, order=(UserRole.granted_at, UserRole.id), limit=limit, cursor=cursor)
    return Page(items=[GrantOut.model_validate(row[0]) for row in rows], next_cursor=more)


@router.post(
    "/users/{user_id}/roles", operation_id="grantRole", status_code=201, dependencies=ADMIN,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def grant_role(user_id: UUID, body: GrantIn, principal: PrincipalDep, session: SystemSessionDep) -> GrantOut:
    """Let a person act in a role; granting it again changes only until when."""
    grant = await roles.grant_role(
        session, user_id=user_id, role=body.role, granted_by=principal.user_id, expires_at=body.expires_at
    )
    return GrantOut.model_validate(grant)


@router.delete(
    "/users/{user_id}/roles/{role}", operation_id="revokeRole", status_code=204, dependencies=ADMIN,
    responses=list_problem_responses(404, 409),
)  # fmt: skip
async def revoke_role(user_id: UUID, role: RoleName, principal: PrincipalDep, cache: CacheDep) -> None:
    """Take a role from a person now."""
    async with tenant_session(principal.as_system(), asked_by=principal) as session:
        ended = await roles.revoke_role(session, user_id=user_id, role=role)
    await forget_sessions(ended, cache=cache)


@router.post(
    "/users/{user_id}/connection", operation_id="followUser", status_code=204, dependencies=WRITE,
    responses=list_problem_responses(404),
)  # fmt: skip
async def follow(user_id: UUID, principal: PrincipalDep, session: SessionDep) -> None:
    """Follow a person."""
    await people.follow(session, follower_id=_own_id(principal), following_id=user_id)


@router.delete(
    "/users/{user_id}/connection",
    operation_id="unfollowUser",
    status_code=204,
    dependencies=WRITE,
    responses=list_problem_responses(404),
)
async def unfollow(user_id: UUID, principal: PrincipalDep, session: SessionDep) -> None:
    """Follow a person no longer."""
    await people.unfollow(session, follower_id=_own_id(principal), following_id=user_id)

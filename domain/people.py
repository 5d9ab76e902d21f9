"""How people show themselves, whom they follow, what they prefer, and how they leave."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final
from uuid import UUID
from zoneinfo import available_timezones

from sqlalchemy import Uuid, and_, cast, delete, func, literal, select, update
from sqlalchemy.dialects.postgresql import aggregate_order_by, insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, Invalid, NotFound
from db.models import ApiKey, Subscription, User, UserConnection, UserProfile, UserRole, UserSettings
from domain.governance import name_action
from domain.keys import field_cipher
from domain.roles import PersonNotFound, require_other_administrator, runs
from domain.sessions import end_sessions

GRACE: Final = timedelta(days=30)
"""How long a deleted person can be restored (seed 001 §10.2)."""

PROFILE_COLUMNS: Final = (
    "brand_name", "tagline", "bio", "mission_statement", "occupation", "industry", "years_experience", "location",
    "social_links", "skills", "certifications", "hourly_rate", "availability_status", "coaching_specialties",
    "profile_photo_url", "cover_photo_url", "portfolio_urls",
)  # fmt: skip
"""What a person says of themself; all of it goes when they are deleted."""

_COUNTED: Final = (
    "tagline", "bio", "occupation", "industry", "years_experience", "location", "social_links", "skills",
    "profile_photo_url",
)  # fmt: skip
"""What makes a profile complete, for everyone; a coach's directory entry asks for `_COUNTED_OF_COACHES` too."""
_COUNTED_OF_COACHES: Final = ("hourly_rate", "availability_status", "coaching_specialties", "certifications")

_TENANT: Final = cast(func.current_setting("app.tenant_id"), Uuid)
_PHONE: Final = {"table": "identity.users", "column": "phone_number"}


class ProfileNotFound(NotFound):
    """There is no profile of this person that you may see; they may have made it private."""


class SelfFollowed(Invalid):
    """Nobody can follow themself; name another person."""


class UnknownTimezone(Invalid):
    """There is no such time zone; give a name of the IANA database, such as Africa/Nairobi."""


class PersonDeleted(Conflict):
    """This person is deleted; restore them first."""


class PersonNotDeleted(Conflict):
    """This person is not deleted, so there is nothing to restore."""


class GraceOver(Conflict):
    """This person was deleted more than 30 days ago and can't be restored; add them anew."""


@dataclass(frozen=True, slots=True)
class Dashboard:
    """What a person's first page shows (access pattern P1 of seed 001 §4.1)."""

    user: User
    profile: UserProfile
    settings: UserSettings
    roles: Sequence[str]
    subscription: Subscription | None


@cache
def _list_timezones() -> frozenset[str]:
    return frozenset(available_timezones())


def require_timezone(name: str) -> str:
    """Return the name of the time zone; raises `UnknownTimezone`."""
    if name not in _list_timezones():
        raise UnknownTimezone
    return name


async def get_dashboard(session: AsyncSession, *, user_id: UUID) -> Dashboard:
    """Return the person with profile, settings, running roles and running membership, in one statement.

    Raises `PersonNotFound`.
    """
    held = (
        select(func.array_agg(aggregate_order_by(UserRole.role_name, UserRole.granted_at)))
        .where(UserRole.tenant_id == User.tenant_id, UserRole.user_id == User.id, runs())
        .scalar_subquery()
    )
    running = and_(
        Subscription.tenant_id == User.tenant_id,
        Subscription.user_id == User.id,
        Subscription.status.in_(("active", "past_due", "suspended")),
    )
    row = (
        await session.execute(
            select(User, UserProfile, UserSettings, held, Subscription)
            .join(UserProfile, and_(UserProfile.tenant_id == User.tenant_id, UserProfile.user_id == User.id))
            .join(UserSettings, and_(UserSettings.tenant_id == User.tenant_id, UserSettings.user_id == User.id))
            .outerjoin(Subscription, running)
            .where(User.id == user_id, User.status == "active")
        )
    ).one_or_none()
    if row is None:
        raise PersonNotFound
    user, profile, settings, roles, subscription = row
    return Dashboard(user, profile, settings, roles or (), subscription)


def show_person(tenant_id: Any, user_id: Any) -> tuple[Any, Any]:  # noqa: ANN401  # columns and expressions
    """Return two columns: the name and the picture others see of the person in the given columns.

    Each is a look-up by key for every row shown. A join would be planned as if hardly anyone were visible, since the
    planner can't tell how many rows the policies leave, and then read everyone for every row.
    """
    shown = (UserProfile.tenant_id == tenant_id, UserProfile.user_id == user_id)
    return (
        select(UserProfile.display_name).where(*shown).scalar_subquery().label("display_name"),
        select(UserProfile.profile_photo_url).where(*shown).scalar_subquery().label("profile_photo_url"),
    )


async def get_profile(session: AsyncSession, *, user_id: UUID) -> UserProfile:
    """Return the person's profile; raises `ProfileNotFound` where the reader may not see it."""
    profile = await session.scalar(select(UserProfile).where(UserProfile.user_id == user_id))
    if profile is None:
        raise ProfileNotFound
    return profile


async def update_profile(session: AsyncSession, *, user_id: UUID, changes: Mapping[str, Any]) -> UserProfile:
    """Change the named columns of the person's own profile, and say how complete it is now; locks the profile.

    `changes` are columns of `PROFILE_COLUMNS`, `show_email`, `show_phone` and `currency`, each within its size.
    Raises `ProfileNotFound`, `UnknownTimezone`.
    """
    zone = (changes.get("location") or {}).get("timezone")
    if zone is not None:
        require_timezone(zone)
    profile = await session.scalar(select(UserProfile).where(UserProfile.user_id == user_id).with_for_update())
    if profile is None:
        raise ProfileNotFound
    for column, value in changes.items():
        setattr(profile, column, value)
    counted = (*_COUNTED, *(_COUNTED_OF_COACHES if profile.is_coach else ()))
    filled = sum(bool(getattr(profile, column)) or getattr(profile, column) == 0 for column in counted)
    profile.profile_completion_percent = 100 * filled // len(counted)
    await session.flush()
    # The trigger may have copied the address.
    await session.refresh(profile)
    return profile


async def update_person(
    session: AsyncSession, *, user_id: UUID, full_name: str | None = None, phone_number: str | None = None
) -> None:
    """Change the person's name or phone number, which is stored encrypted; an empty number removes it.

    Needs a session of the pipelines. Raises `PersonNotFound`.
    """
    values: dict[str, Any] = {}
    if full_name is not None:
        values["full_name"] = full_name
    if phone_number is not None:
        cipher = await field_cipher(session)
        values["phone_number"] = cipher.encrypt(phone_number, row_id=user_id, **_PHONE) if phone_number else None
        values["phone_verified"] = False
    if not values:
        return
    changed = await session.scalar(update(User).where(User.id == user_id).values(**values).returning(User.id))
    if changed is None:
        raise PersonNotFound


async def find_shown_phone(session: AsyncSession, *, user_id: UUID) -> str | None:
    """Return the phone number the person shows to others, if they do; needs a session of the pipelines."""
    number = await session.scalar(
        select(User.phone_number)
        .join(UserProfile, and_(UserProfile.tenant_id == User.tenant_id, UserProfile.user_id == User.id))
        .where(User.id == user_id, User.status == "active", UserProfile.show_phone)
    )
    if number is None:
        return None
    cipher = await field_cipher(session)
    return cipher.decrypt(number, row_id=user_id, **_PHONE)


async def update_settings(session: AsyncSession, *, user_id: UUID, changes: Mapping[str, Any]) -> UserSettings:
    """Change the person's own preferences; raises `PersonNotFound`, `UnknownTimezone`."""
    if changes.get("timezone") is not None:
        require_timezone(changes["timezone"])
    settings = await session.scalar(select(UserSettings).where(UserSettings.user_id == user_id).with_for_update())
    if settings is None:
        raise PersonNotFound
    for column, value in changes.items():
        setattr(settings, column, value)
    await session.flush()
    await session.refresh(settings)
    return settings


async def follow(session: AsyncSession, *, follower_id: UUID, following_id: UUID) -> None:
    """Let the one follow the other, whose profile they must see; doing so again changes nothing.

    Raises `SelfFollowed`, `ProfileNotFound`.
    """
    if follower_id == following_id:
        raise SelfFollowed
    seen = select(_TENANT, literal(follower_id, Uuid), UserProfile.user_id).where(UserProfile.user_id == following_id)
    added = await session.scalar(
        insert(UserConnection)
        .from_select(("tenant_id", "follower_id", "following_id"), seen)
        .on_conflict_do_nothing(index_elements=("tenant_id", "follower_id", "following_id"))
        .returning(UserConnection.id)
    )
    if added is None:
        await get_profile(session, user_id=following_id)


async def unfollow(session: AsyncSession, *, follower_id: UUID, following_id: UUID) -> None:
    """Let the one follow the other no longer; doing so again changes nothing."""
    await session.execute(
        delete(UserConnection).where(
            UserConnection.follower_id == follower_id, UserConnection.following_id == following_id
        )
    )


async def suspend_person(session: AsyncSession, *, user_id: UUID) -> list[str]:
    """Keep the person out until they are let back in; return the hashes of their sessions, to be forgotten.

    Needs a session of the pipelines. Raises `PersonNotFound`, `PersonDeleted`, `LastAdministrator`.
    """
    await _change_status(session, user_id, "suspended", "user_suspended")
    return await end_sessions(session, user_id=user_id)


async def reinstate_person(session: AsyncSession, *, user_id: UUID) -> None:
    """Let a suspended person back in; needs a session of the pipelines. Raises `PersonNotFound`, `PersonDeleted`."""
    await _change_status(session, user_id, "active", "user_reinstated")


async def delete_person(session: AsyncSession, *, user_id: UUID) -> list[str]:
    """Delete the person so that they can be restored for 30 days: out at once, what they say of themself gone for good.

    API keys and sessions end, whose hashes are returned to be forgotten; the profile is emptied and whom they follow
    deleted (seed 001 §10.2). Needs a session of the pipelines. Deleting twice changes nothing. Raises
    `PersonNotFound`, `LastAdministrator`.
    """
    try:
        await _change_status(session, user_id, "deleted", "user_deleted")
    except PersonDeleted:
        return []
    await session.execute(
        update(ApiKey).where(ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None)).values(revoked_at=func.now())
    )
    empty: dict[str, Any] = dict.fromkeys(PROFILE_COLUMNS)
    await session.execute(
        update(UserProfile)
        .where(UserProfile.user_id == user_id)
        .values(**empty, show_email=False, show_phone=False, profile_completion_percent=0)
    )
    await session.execute(
        delete(UserConnection).where((UserConnection.follower_id == user_id) | (UserConnection.following_id == user_id))
    )
    return await end_sessions(session, user_id=user_id)


async def restore_person(session: AsyncSession, *, user_id: UUID) -> datetime:
    """Take the deletion back and return when it was; profile and API keys stay gone.

    Needs a session of the pipelines. Raises `PersonNotFound`, `PersonNotDeleted`, `GraceOver`.
    """
    user = await _lock(session, user_id)
    if user.deleted_at is None:
        raise PersonNotDeleted
    deleted_at = user.deleted_at
    if await session.scalar(select(func.now() - GRACE > deleted_at)):
        raise GraceOver
    await name_action(session, "user_restored")
    user.status, user.deleted_at = "active", None
    await session.flush()
    return deleted_at


async def _change_status(session: AsyncSession, user_id: UUID, status: str, action: str) -> None:
    user = await _lock(session, user_id)
    if user.deleted_at is not None:
        raise PersonDeleted
    if status != "active":
        await require_other_administrator(session, user_id)
    await name_action(session, action)
    user.status = status
    user.deleted_at = await session.scalar(select(func.now())) if status == "deleted" else None
    await session.flush()


async def _lock(session: AsyncSession, user_id: UUID) -> User:
    user = await session.scalar(
        select(User).where(User.id == user_id).with_for_update(key_share=True),
        execution_options={"populate_existing": True},
    )
    if user is None:
        raise PersonNotFound
    return user

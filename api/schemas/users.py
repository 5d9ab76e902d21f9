"""People, their roles, profiles, settings and consents on the wire."""

import datetime as days
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from api.schemas.text import CleanText, clean_text

RoleName = Literal["client", "coach", "admin", "executive", "compliance", "evaluator"]
Status = Literal["active", "suspended", "deleted", "pending_verification"]
Purpose = Literal[
    "terms_of_service",
    "privacy_policy",
    "session_recording",
    "assistant",
    "evidence",
    "evaluation",
    "analytics",
    "external_model",
    "research",
    "marketing",
]
ShortText = Annotated[CleanText, Field(max_length=100)]
LineText = Annotated[CleanText, Field(max_length=255)]
LongText = Annotated[CleanText, Field(max_length=10_000)]
# The constraints stand before the cleaning, which runs first: only so are blanks cut before the length is judged.
Name = Annotated[
    str, StringConstraints(min_length=1, max_length=255, strip_whitespace=True), BeforeValidator(clean_text)
]
Code = Annotated[
    str, StringConstraints(min_length=1, max_length=50, strip_whitespace=True), BeforeValidator(clean_text)
]
WebAddress = Annotated[CleanText, StringConstraints(max_length=500, pattern=r"^https?://[^\s/$.?#][^\s]*$")]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Email = Annotated[
    str, StringConstraints(max_length=255, to_lower=True, pattern=r"^[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}$")
]
Phone = Annotated[str, StringConstraints(pattern=r"^(\+[1-9][0-9]{6,14})?$")]


class Strict(BaseModel):
    """What comes in: a field nobody knows is an error that names it."""

    model_config = ConfigDict(extra="forbid")


class Stored(BaseModel):
    """What goes out, read from a row."""

    model_config = ConfigDict(from_attributes=True)


class Location(Strict):
    """Where a person is."""

    country: ShortText | None = None
    city: ShortText | None = None
    timezone: Annotated[str, Field(max_length=50)] | None = None


class SocialLinks(Strict):
    """Where else a person is found."""

    linkedin: WebAddress | None = None
    twitter: WebAddress | None = None
    instagram: WebAddress | None = None
    youtube: WebAddress | None = None
    website: WebAddress | None = None


class Certification(Strict):
    """What somebody else certifies."""

    name: LineText
    issuer: LineText | None = None
    date: days.date | None = None
    credential_id: ShortText | None = None


class PortfolioItem(Strict):
    """One piece of a person's work."""

    title: LineText
    url: WebAddress
    type: ShortText | None = None


class ProfileIn(Strict):
    """What to change of one's profile; what is left out stays, null removes."""

    brand_name: LineText | None = None
    tagline: Annotated[CleanText, Field(max_length=500)] | None = None
    bio: LongText | None = None
    mission_statement: LongText | None = None
    occupation: LineText | None = None
    industry: ShortText | None = None
    years_experience: Annotated[int, Field(ge=0, le=100)] | None = None
    location: Location | None = None
    show_email: bool = False
    show_phone: bool = False
    social_links: SocialLinks | None = None
    skills: Annotated[list[ShortText], Field(max_length=50)] | None = None
    certifications: Annotated[list[Certification], Field(max_length=50)] | None = None
    hourly_rate: Annotated[Decimal, Field(ge=0, max_digits=10, decimal_places=2)] | None = None
    currency: Currency = "USD"
    availability_status: Literal["available", "busy", "away"] | None = None
    coaching_specialties: Annotated[list[ShortText], Field(max_length=50)] | None = None
    profile_photo_url: WebAddress | None = None
    cover_photo_url: WebAddress | None = None
    portfolio_urls: Annotated[list[PortfolioItem], Field(max_length=50)] | None = None


class ProfileOut(Stored):
    """How a person shows themself."""

    user_id: UUID
    display_name: str
    shown_email: str | None
    shown_phone: str | None = None
    brand_name: str | None
    tagline: str | None
    bio: str | None
    mission_statement: str | None
    occupation: str | None
    industry: str | None
    years_experience: int | None
    location: Location | None
    show_email: bool
    show_phone: bool
    social_links: SocialLinks | None
    skills: list[str] | None
    certifications: list[Certification] | None
    hourly_rate: Decimal | None
    currency: str
    availability_status: str | None
    coaching_specialties: list[str] | None
    profile_photo_url: str | None
    cover_photo_url: str | None
    portfolio_urls: list[PortfolioItem] | None
    is_coach: bool
    profile_completion_percent: int
    post_count: int
    follower_count: int
    following_count: int
    session_count: int
    rating_count: int
    average_rating: Decimal | None


class NotificationChoices(Strict):
    """Which kinds of messages a person wants by one way; `all` counts where a kind is not named."""

    all: bool = True
    coaching: bool | None = None
    learning: bool | None = None
    community: bool | None = None
    events: bool | None = None
    payments: bool | None = None


class SettingsIn(Strict):
    """What to change of one's preferences; what is left out stays."""

    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[A-Z]{2})?$")] = "en"
    timezone: Annotated[str, Field(max_length=50, description="a name of the IANA database")] = "Africa/Nairobi"
    currency: Currency = "KES"
    email_notifications: NotificationChoices = NotificationChoices()
    sms_notifications: NotificationChoices = NotificationChoices(all=False)
    push_notifications: NotificationChoices = NotificationChoices()
    profile_visibility: Literal["public", "members_only", "private"] = "public"
    show_activity: bool = True
    allow_messages: Literal["all", "connections_only", "off"] = "all"
    theme: Literal["light", "dark", "auto"] = "light"
    dashboard_layout: Annotated[dict[ShortText, Annotated[int, Field(ge=0, le=100)]], Field(max_length=50)] | None = (
        Field(None, description="position by widget")
    )


class SettingsOut(Stored):
    """A person's preferences."""

    language: str
    timezone: str
    currency: str
    email_notifications: NotificationChoices
    sms_notifications: NotificationChoices
    push_notifications: NotificationChoices
    profile_visibility: str
    show_activity: bool
    allow_messages: str
    theme: str
    dashboard_layout: dict[str, int] | None


class MembershipOut(Stored):
    """The membership that runs."""

    tier: str
    status: str
    current_period_end: datetime


class MeIn(Strict):
    """What to change of one's own account."""

    full_name: Name | None = None
    phone_number: Phone | None = Field(None, description="with its country, as +254…; empty removes it")


class MeOut(BaseModel):
    """The caller's first page."""

    id: UUID
    email: str
    full_name: str
    role: str = Field(description="the role this call acts in")
    roles: list[str] = Field(description="the roles they hold now")
    two_factor_enabled: bool
    last_login_at: datetime | None
    profile: ProfileOut
    settings: SettingsOut
    membership: MembershipOut | None


class PersonIn(Strict):
    """A person to add."""

    email: Email
    full_name: Name
    role: RoleName = "client"


class PersonOut(Stored):
    """One person of the organisation, as its administrators see them."""

    id: UUID
    email: str
    username: str | None
    full_name: str
    role: str = Field(description="the role a sign-in acts in by default")
    status: str
    two_factor_enabled: bool
    last_login_at: datetime | None
    created_at: datetime
    deleted_at: datetime | None


class GrantIn(Strict):
    """A role to grant."""

    role: RoleName
    expires_at: datetime | None = Field(None, description="until when; null: until it is revoked")


class GrantOut(Stored):
    """One role of one person, from when until when."""

    id: UUID
    role_name: str
    granted_by: UUID | None
    granted_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class ConsentIn(Strict):
    """What the caller agrees to."""

    purpose: Purpose
    version: Code


class ConsentOut(Stored):
    """One consent, from when until when."""

    id: UUID
    purpose: str
    version: str
    granted_at: datetime
    withdrawn_at: datetime | None
    source: str


class ConnectionOut(BaseModel):
    """One person the caller follows or is followed by; the name is null where they hide their profile."""

    user_id: UUID
    display_name: str | None
    profile_photo_url: str | None
    since: datetime

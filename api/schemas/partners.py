"""Partners, cohorts and members on the wire."""

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints, model_validator

from api.schemas.events import Slug
from api.schemas.users import Email, LongText, Name, Phone, ShortText, Stored, Strict, WebAddress

PartnerType = Literal["corporate", "academic", "ngo", "government", "cec_franchise", "sponsor"]
PartnerTier = Literal["bronze", "silver", "gold", "platinum"]
PartnerStatus = Literal["active", "inactive", "suspended"]
CohortStatus = Literal["active", "completed", "cancelled"]
MemberStatus = Literal["active", "completed", "dropped"]
Colour = Annotated[str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$")]


class Headquarters(Strict):
    """Where a partner is."""

    country: ShortText | None = None
    city: ShortText | None = None


class BrandColours(Strict):
    """A partner's colours, as #rrggbb."""

    primary: Colour | None = None
    secondary: Colour | None = None
    accent: Colour | None = None


class PartnerPatch(Strict):
    """What to change of a partner; what is left out stays."""

    organization_name: Name = ""
    slug: Slug = ""
    description: LongText | None = None
    partner_type: PartnerType = "corporate"
    primary_contact_user_id: UUID | None = None
    contact_email: Email | None = None
    contact_phone: Annotated[Phone, StringConstraints(min_length=1)] | None = Field(
        None, description="stored encrypted"
    )
    website_url: WebAddress | None = None
    headquarters_location: Headquarters | None = None
    operating_regions: Annotated[list[ShortText], Field(max_length=100)] | None = None
    logo_url: WebAddress | None = None
    brand_colors: BrandColours | None = None
    partnership_tier: PartnerTier | None = None
    partnership_start_date: date | None = None
    partnership_end_date: date | None = None
    programs_enrolled: Annotated[list[UUID], Field(max_length=100)] | None = None
    status: PartnerStatus = "active"
    is_featured: bool = False

    @model_validator(mode="after")
    def _dates_in_order(self) -> "PartnerPatch":
        start, end = self.partnership_start_date, self.partnership_end_date
        if start is not None and end is not None and end < start:
            raise ValueError("the partnership ends before it starts")
        return self

    def list_changes(self) -> dict[str, Any]:
        """Return the columns that were given, fit for the store."""
        json = self.model_dump(mode="json", exclude_unset=True)
        return self.model_dump(exclude_unset=True) | {
            name: json[name]
            for name in ("headquarters_location", "operating_regions", "brand_colors", "programs_enrolled")
            if name in json
        }


class PartnerIn(PartnerPatch):
    """A partner to add."""

    organization_name: Name
    slug: Slug
    partner_type: PartnerType


class PartnerOut(Stored):
    """One partner."""

    id: UUID
    organization_name: str
    slug: str
    description: str | None
    partner_type: str
    primary_contact_user_id: UUID | None
    contact_email: str | None
    website_url: str | None
    headquarters_location: Headquarters | None
    operating_regions: list[str] | None
    logo_url: str | None
    brand_colors: BrandColours | None
    partnership_tier: str | None
    partnership_start_date: date | None
    partnership_end_date: date | None
    programs_enrolled: list[UUID] | None
    total_participants: int
    active_participants: int
    certifications_issued: int
    status: str
    is_featured: bool
    deleted_at: datetime | None


class PartnerDetailOut(PartnerOut):
    """One partner with the number of its contact, for administrators."""

    phone: str | None = None


class CohortPatch(Strict):
    """What to change of a cohort; what is left out stays."""

    cohort_name: Name = ""
    description: LongText | None = None
    start_date: date = date.min
    end_date: date | None = None
    max_participants: Annotated[int, Field(ge=0, le=100_000)] | None = None
    is_white_labeled: bool = False
    custom_branding: BrandColours | None = None
    status: CohortStatus = "active"

    @model_validator(mode="after")
    def _dates_in_order(self) -> "CohortPatch":
        if self.end_date is not None and self.end_date < self.start_date:
            raise ValueError("the cohort ends before it starts")
        return self

    def list_changes(self) -> dict[str, Any]:
        """Return the columns that were given, fit for the store."""
        return self.model_dump(exclude_unset=True)


class CohortIn(CohortPatch):
    """A cohort to start."""

    program_id: UUID
    cohort_name: Name
    start_date: date


class CohortOut(Stored):
    """One group a partner sends through a program."""

    id: UUID
    partner_id: UUID
    program_id: UUID
    cohort_name: str
    description: str | None
    start_date: date
    end_date: date | None
    max_participants: int | None
    enrolled_count: int
    is_white_labeled: bool
    custom_branding: BrandColours | None
    status: str


class MemberIn(Strict):
    """A person to put into a cohort, by id or address."""

    user_id: UUID | None = None
    email: Email | None = None
    employee_id: ShortText | None = None
    department: ShortText | None = None
    role: ShortText | None = None

    @model_validator(mode="after")
    def _is_named_once(self) -> "MemberIn":
        if (self.user_id is None) == (self.email is None):
            raise ValueError("name the person by user_id or by email")
        return self


class MembersIn(Strict):
    """People to put into a cohort, all or none."""

    members: Annotated[list[MemberIn], Field(min_length=1, max_length=1_000)]


class MembersOut(BaseModel):
    """Whom a call put into a cohort; the others were in it already."""

    added: list[UUID]


class EnrolledOut(BaseModel):
    """How many members got a seat in the program."""

    enrolled: int


class MemberPatch(Strict):
    """What to change of a member; what is left out stays."""

    employee_id: ShortText | None = None
    department: ShortText | None = None
    role: ShortText | None = None
    status: MemberStatus = "active"


class MemberOut(Stored):
    """One person in a cohort."""

    user_id: UUID
    enrollment_id: UUID | None
    employee_id: str | None
    department: str | None
    role: str | None
    status: str
    joined_at: datetime
    completed_at: datetime | None
    is_certified: bool

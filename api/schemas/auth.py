"""What goes over the wire when people sign in, and what they sign in with."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, IPvAnyAddress, SecretStr

from api.schemas.text import CleanText, clean_text

Password = Annotated[SecretStr, BeforeValidator(clean_text), Field(min_length=1, max_length=1024)]
Code = Annotated[CleanText, Field(min_length=6, max_length=40, description="of the app, or a recovery code")]
ScopeName = Literal["chat", "search", "ingest", "read", "write", "admin"]


class SignInIn(BaseModel):
    """Who signs in where."""

    organisation: CleanText = Field(min_length=1, max_length=63, description="the organisation's short name")
    email: CleanText = Field(min_length=3, max_length=255)
    password: Password
    role: Literal["client", "coach", "admin", "executive", "compliance", "evaluator"] | None = Field(
        None, description="another of your roles to act in; without it, your usual one"
    )


class SecondFactorIn(BaseModel):
    """The second step of a sign-in."""

    challenge: CleanText = Field(min_length=1, max_length=100, description="what the first step returned")
    code: Code


class SignInOut(BaseModel):
    """A session, or what the second step needs."""

    second_factor_required: bool
    challenge: str | None = Field(None, description="send it with a code to /v1/auth/second-factor")
    token: str | None = Field(None, description="send it as `Authorization: Bearer …`; shown this once")
    session_id: UUID
    expires_at: datetime = Field(description="of a session: moves on with every request, within limits")


class AuthSessionOut(BaseModel):
    """One sign-in that still counts."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    role: str
    ip_address: IPvAnyAddress | None
    user_agent: str | None
    created_at: datetime
    last_activity: datetime
    expires_at: datetime
    second_factor_at: datetime | None = Field(description="when the second factor was given")
    is_this: bool = Field(False, description="whether it is the one asking")


class EndedOut(BaseModel):
    """How many sessions ended."""

    ended: int


class PasswordIn(BaseModel):
    """A change of password."""

    old: Password
    new: Password = Field(description="at least 12 characters")


class ProofIn(BaseModel):
    """The caller's own password."""

    password: Password


class CodeIn(BaseModel):
    """A code of the second factor."""

    code: Code


class FullProofIn(BaseModel):
    """Password and code."""

    password: Password
    code: Code


class TotpOut(BaseModel):
    """What an authenticator app needs, shown this once."""

    secret: str = Field(description="base 32")
    uri: str = Field(description="otpauth URI, to show as a QR code")


class RecoveryCodesOut(BaseModel):
    """Codes for when the phone is gone, each good once, shown this once."""

    codes: list[str]


class ApiKeyIn(BaseModel):
    """A key to make."""

    name: CleanText = Field(min_length=1, max_length=200, description="what it is for")
    scopes: list[ScopeName] = Field(min_length=1, max_length=6, description="none that you don't have")
    expires_at: AwareDatetime | None = Field(None, description="null: never")


class ApiKeyOut(BaseModel):
    """A key, without the key itself."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class NewApiKeyOut(ApiKeyOut):
    """A key just made."""

    key: str = Field(description="send it as `Authorization: Bearer rg_…`; shown this once")

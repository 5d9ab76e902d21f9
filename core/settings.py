"""Every setting of the product, read once from the environment as `REGENESIS_<GROUP>__<NAME>`."""

import hashlib
import ipaddress
import os
import stat
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Final, Literal, Self
from urllib.parse import urlsplit

import platformdirs
from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.errors import Invalid

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class UnusableSetting(Invalid):
    """A setting can't be used; correct the environment variable that is named."""


class UnusableHome(Invalid):
    """The home folder can't be written; set REGENESIS_HOME to a folder that you own."""


def default_home() -> Path:
    """Return where state lives unless told otherwise.

    Root gets a folder of the machine: PostgreSQL can't run as root, and its own user could not
    reach a folder below root's private home.
    """
    if os.name == "posix" and os.geteuid() == 0:
        return Path("/var/lib/regenesis")
    return platformdirs.user_data_path("regenesis", appauthor=False)


class DatabaseSettings(BaseModel):
    """The relational store."""

    url: SecretStr | None = Field(None, description="PostgreSQL URL the app signs in with; unset: embedded server")
    owner_url: SecretStr | None = Field(None, description="PostgreSQL URL migrations run as; unset: the same as url")
    name: str = Field("regenesis", pattern=r"^[a-z][a-z0-9_]{0,62}$", description="database on the embedded server")
    pool_size: int = Field(10, ge=1, le=200, description="connections each process keeps open at most")
    statement_timeout_s: float = Field(60, gt=0, description="seconds after which one statement is cancelled")


def _check_store_url(value: str | None) -> str | None:
    if value is not None and not value.startswith(("s3://", "file:///")):
        raise ValueError("must start with s3:// or file:///")
    return value


class StorageSettings(BaseModel):
    """Where original bytes are kept."""

    url: str | None = Field(None, description="s3://bucket/prefix or file:///folder; unset: a folder in the home")
    endpoint_url: str | None = Field(None, description="endpoint of an S3-compatible server; unset: AWS")
    region: str = Field("us-east-1", description="region of the bucket")

    _known_scheme = field_validator("url")(_check_store_url)


class BackupSettings(BaseModel):
    """Where backups are kept, and for how long."""

    url: str | None = Field(
        None, description="s3://bucket/prefix or file:///folder, best on another machine; unset: a folder in the home"
    )
    keep: int = Field(14, ge=1, le=10_000, description="newest backups that are kept")
    keep_days: int = Field(30, ge=1, le=3650, description="days after which a backup goes; never the last good one")
    with_objects: bool = Field(False, description="also copy the objects, where their store has no copy of its own")
    connections: int = Field(2, ge=1, le=16, description="connections that copy rows at the same time")

    _known_scheme = field_validator("url")(_check_store_url)


class CacheSettings(BaseModel):
    """What may be recomputed."""

    url: str = Field("memory://", pattern=r"^(memory|rediss?)://", description="memory:// or redis://host:port/0")


class CryptoSettings(BaseModel):
    """What encrypts secrets in the store."""

    master_key: SecretStr | None = Field(
        None, description="32 bytes as base64 that wrap each organisation's key; unset: master.key in the home"
    )
    read_plain_objects: bool = Field(
        True, description="whether objects from before encryption are read; false once `encryption rotate` is through"
    )
    signing_key: SecretStr | None = Field(
        None, description="32 bytes as base64 that sign receipts of erasures; unset: signing.key in the home"
    )
    previous_master_key: SecretStr | None = Field(
        None, description="the master key before this one, until `encryption rewrap` is through"
    )
    kms_key_id: str | None = Field(
        None, min_length=1, max_length=2048, description="key of AWS KMS (id or ARN) instead of a local one"
    )
    kms_endpoint_url: str | None = Field(None, description="endpoint of a KMS-compatible server; unset: AWS")
    kms_region: str = Field("us-east-1", description="region of the KMS key")
    keyring_url: str | None = Field(
        None, description="s3://bucket/prefix or file:///folder of the keyring, in no backup; unset: in the home"
    )

    @field_validator("keyring_url")
    @classmethod
    def _known_scheme(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("s3://", "file:///")):
            raise ValueError("must start with s3:// or file:///")
        return value

    @model_validator(mode="after")
    def _one_master_key(self) -> Self:
        if self.master_key is not None and self.kms_key_id is not None:
            raise ValueError("give REGENESIS_CRYPTO__KMS_KEY_ID alone; the key before it is PREVIOUS_MASTER_KEY")
        # An alias can be pointed at another key, and nothing here would notice.
        if self.kms_key_id is not None and "alias/" in self.kms_key_id:
            raise ValueError("REGENESIS_CRYPTO__KMS_KEY_ID must be a key's id or ARN, not an alias")
        return self


class AuthSettings(BaseModel):
    """Signing in; tokens of an identity provider (OpenID Connect) are taken once `issuer` is set."""

    session_hours: float = Field(24, gt=0, le=720, description="hours after the last request until a session ends")
    session_days: float = Field(30, gt=0, le=365, description="days until a session ends, however busy it is")
    issuer: str | None = Field(None, description="the identity provider's issuer URL; unset: no tokens are taken")
    audience: str | None = Field(None, description="what a token's `aud` must name; needed with issuer")
    jwks_url: str | None = Field(None, description="where its keys are; unset: what its discovery document says")
    tenant_claim: str = Field("tenant", min_length=1, description="the claim that holds the organisation's slug")

    @field_validator("issuer", "jwks_url")
    @classmethod
    def _safe(cls, value: str | None) -> str | None:
        host = urlsplit(value).hostname if value else None
        if value and not (value.startswith("https://") or (value.startswith("http://") and host in LOOPBACK)):
            raise ValueError("must start with https://; only a provider on this machine may do without")
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.issuer and not self.audience:
            raise ValueError("REGENESIS_AUTH__ISSUER needs REGENESIS_AUTH__AUDIENCE beside it")
        return self


class ModelSettings(BaseModel):
    """The language model behind the assistant."""

    base_url: str | None = Field(None, description="base URL of an OpenAI-compatible endpoint")
    api_key: SecretStr | None = Field(None, description="its key")
    model: str | None = Field(None, description="model name; unset: answers are built from quotes, without a model")
    timeout_s: float = Field(30, gt=0, le=600, description="seconds to wait for the first token")
    max_tokens: int = Field(1024, ge=16, le=32_768, description="tokens of an answer at most")


class JudgeSettings(ModelSettings):
    """The language model that judges answers in evaluations, best another than wrote them."""

    model: str | None = Field(None, description="model name; unset: the assistant's own model judges")


class EmbeddingSettings(BaseModel):
    """The model that turns text into vectors."""

    provider: Literal["minilm", "openai"] = Field("minilm", description="minilm (embedded) or openai (compatible)")
    precision: Literal["int8", "fp32"] = Field("int8", description="arithmetic of the embedded model")
    model: str | None = Field(None, description="model name at the openai provider")
    base_url: str | None = Field(None, description="base URL of the openai provider")
    api_key: SecretStr | None = Field(None, description="its key")
    dimensions: int | None = Field(None, ge=8, le=16_000, description="vector length asked of the openai provider")
    threads: int | None = Field(None, ge=1, le=256, description="threads of the embedded model; unset: all cores")


class ApiSettings(BaseModel):
    """The HTTP service."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=1, le=65_535, description="port to listen on")
    web: bool = Field(True, description="whether the pages are served beside the API, in one process")
    max_upload_bytes: int = Field(100_000_000, gt=0, description="largest upload, bytes")
    trusted_proxies: str = Field("", description="networks whose X-Forwarded-For is believed, such as 10.0.0.0/8, …")
    rate_limit_key: int = Field(600, ge=1, le=100_000, description="requests a minute of one API key or session")
    rate_limit_user: int = Field(1200, ge=1, le=100_000, description="requests a minute of one user")
    rate_limit_address: int = Field(3000, ge=1, le=100_000, description="requests a minute from one address")
    rate_limit_sign_in: int = Field(
        10, ge=1, le=1000, description="sign-ins a minute from one address for one account; six times that for all"
    )

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: str) -> str:
        for network in filter(None, map(str.strip, value.split(","))):
            ipaddress.ip_network(network)
        return value


class IngestSettings(BaseModel):
    """Limits on what one object may cost."""

    max_object_bytes: int = Field(100_000_000, gt=0, description="largest object read, bytes")
    max_object_seconds: float = Field(120, gt=0, description="seconds one object may take to parse")
    max_object_memory_bytes: int = Field(2 << 30, gt=0, description="memory one parser may use, bytes")
    batch_objects: int = Field(16, ge=1, le=500, description="objects handled in one task of the flow")


class OutboxSettings(BaseModel):
    """What leaves the store after a commit: webhooks, mail, indexing."""

    dispatch: bool = Field(True, description="whether the HTTP service delivers; the flow deliver-outbox does so too")
    poll_s: float = Field(5, gt=0, le=3600, description="seconds between looks for what no notice announced")


class MailSettings(BaseModel):
    """How notifications leave by e-mail."""

    url: SecretStr | None = Field(
        None, description="smtp://user:password@host:587 (STARTTLS) or smtps://…; unset: they stay in the app"
    )
    sender: str = Field("ReGenesis <no-reply@localhost>", max_length=320, description="what mails are from")

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, value: SecretStr | None) -> SecretStr | None:
        parts = urlsplit(value.get_secret_value()) if value else None
        if parts and (parts.scheme not in {"smtp", "smtps"} or not parts.hostname):
            raise ValueError("must start with smtp:// or smtps:// and name a host")
        return value


class WebhookSettings(BaseModel):
    """Telling other systems."""

    allow_private: bool = Field(False, description="also send to http:// and to private addresses; for development")
    timeout_s: float = Field(10, gt=0, le=60, description="seconds a receiver has to answer")


class EvaluationSettings(BaseModel):
    """Scoring stored answers off-hours (flow score-answers), of those whose people allow it."""

    sample_share: float = Field(1.0, gt=0, le=1, description="share of a window's answers that may be scored")
    sample_count: int = Field(50, ge=1, le=1000, description="answers of a window that are scored at most")
    judge_budget_usd: Decimal | None = Field(
        Decimal(0), ge=0, description="USD a window and organisation for a judging model, or unlimited; 0: none"
    )
    window_hours: float = Field(24, ge=1, le=168, description="hours of a window: what is scored and compared at once")
    drift_band: float = Field(
        3.6, ge=2, le=10, description="standard errors by which answers may differ from earlier ones before it is told"
    )

    @field_validator("judge_budget_usd", mode="before")
    @classmethod
    def _unlimited(cls, value: object) -> object:
        return None if value == "unlimited" else value


class AuditSettings(BaseModel):
    """Who read what: linking it into the audit log, and telling compliance of bulk reads (flow watch-readings).

    Limits count different things that one person reads in an hour and in a day, whatever they usually do: two to three
    times what a day with 40 clients takes at most (tests/domain/test_bulk_reads.py).
    """

    link: bool = Field(True, description="whether the HTTP service links noted readings; watch-readings does so too")
    link_s: float = Field(1, gt=0, le=300, description="seconds between two times it links them")
    hour_transcripts: int = Field(30, ge=1, description="transcripts opened in an hour before compliance is told")
    hour_documents: int = Field(60, ge=1, description="documents opened in an hour before compliance is told")
    hour_clients: int = Field(40, ge=1, description="clients read about in an hour before compliance is told")
    hour_passages: int = Field(1_500, ge=1, description="passages and quotes got in an hour before compliance is told")
    day_transcripts: int = Field(80, ge=1, description="the same of transcripts in a day")
    day_documents: int = Field(150, ge=1, description="the same of documents in a day")
    day_clients: int = Field(100, ge=1, description="the same of clients in a day")
    day_passages: int = Field(6_000, ge=1, description="the same of passages and quotes in a day")
    habit_factor: float = Field(
        4, gt=1, le=100, description="times what a reader does on most days that is told as well; in an hour half of it"
    )
    habit_floor: float = Field(0.25, gt=0, le=1, description="share of a limit up to which no habit matters")
    habit_least_days: int = Field(5, ge=2, le=365, description="days of reading that make a habit")
    habit_days: int = Field(28, ge=2, le=365, description="days back in which a habit is looked for")


class LogSettings(BaseModel):
    """What is logged, to standard error."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="least level written")
    format: Literal["auto", "json", "text"] = Field("auto", description="auto: text on a terminal, else JSON lines")


class Settings(BaseSettings):
    """All settings; `regenesis doctor` prints each with its source."""

    model_config = SettingsConfigDict(
        env_prefix="REGENESIS_", env_nested_delimiter="__", extra="ignore", env_ignore_empty=True
    )

    home: Path = Field(default_factory=default_home, description="folder for all state")
    db: DatabaseSettings = Field(default_factory=DatabaseSettings)
    storage: StorageSettings = Field(default_factory=StorageSettings)
    backup: BackupSettings = Field(default_factory=BackupSettings)
    cache: CacheSettings = Field(default_factory=CacheSettings)
    crypto: CryptoSettings = Field(default_factory=CryptoSettings)
    auth: AuthSettings = Field(default_factory=AuthSettings)
    llm: ModelSettings = Field(default_factory=ModelSettings)
    judge: JudgeSettings = Field(default_factory=JudgeSettings)
    embedding: EmbeddingSettings = Field(default_factory=EmbeddingSettings)
    api: ApiSettings = Field(default_factory=ApiSettings)
    ingest: IngestSettings = Field(default_factory=IngestSettings)
    outbox: OutboxSettings = Field(default_factory=OutboxSettings)
    mail: MailSettings = Field(default_factory=MailSettings)
    webhooks: WebhookSettings = Field(default_factory=WebhookSettings)
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings)
    audit: AuditSettings = Field(default_factory=AuditSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    prefect_api_url: str | None = Field(
        None, validation_alias="PREFECT_API_URL", description="a Prefect server; unset: `regenesis up` starts one"
    )

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()

    @property
    def judging_model(self) -> ModelSettings:
        """The model that judges answers: its own, else the assistant's."""
        return self.judge if self.judge.model else self.llm

    @property
    def keyring_url(self) -> str:
        """The keyring's URL, a folder of the home unless set."""
        return self.crypto.keyring_url or (self.home / "keyring").as_uri()

    @property
    def storage_url(self) -> str:
        """The object store's URL, a folder of the home unless set."""
        return self.storage.url or (self.home / "objects").as_uri()

    @property
    def backup_url(self) -> str:
        """The backups' URL, a folder of the home unless set."""
        return self.backup.url or (self.home / "backups").as_uri()

    @property
    def postgres_folder(self) -> Path:
        """The embedded server's data folder.

        Root's server runs as a user of its own, so a home that only root may enter can't hold it:
        then it lives in a folder of the machine, named after the home.
        """
        if os.name == "posix" and os.geteuid() == 0 and not _open_to_others(self.home):
            return default_home() / f"postgres-{hashlib.sha256(str(self.home).encode()).hexdigest()[:12]}"
        return self.home / "postgres"


def _open_to_others(folder: Path) -> bool:
    """Tell whether any user may pass through every existing folder on the way to this one."""
    return all(path.stat().st_mode & stat.S_IXOTH for path in (folder, *folder.parents) if path.exists())


def ensure_home(settings: Settings) -> Path:
    """Make the home folder and prove that it can be written; raises `UnusableHome`."""
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        probe = settings.home / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UnusableHome(
            f"The home folder {settings.home} can't be written ({error.strerror}); "
            "set REGENESIS_HOME to a folder that you own."
        ) from error
    return settings.home


@cache
def get_settings() -> Settings:
    """Return this process's settings; raises `UnusableSetting` with the variable's name."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "__".join(str(part) for part in first["loc"]).upper()
        variable = name if name.startswith("PREFECT_") else f"REGENESIS_{name}"
        raise UnusableSetting(
            f"The setting {variable} can't be used: {first['msg']}; correct the environment variable."
        ) from error

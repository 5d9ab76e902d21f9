"""What people say about their files in `manifest.jsonl`, and who may read a file about which nothing is said."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from core.errors import Invalid
from domain.decisions import DECIDED, NAMED
from domain.ingestion import hash_said
from domain.speakers import MOST_LABELS, fold_label

MANIFEST = "manifest.jsonl"
MAX_MANIFEST_BYTES = 64_000_000
EXAMPLE_DATE = "2026-03-02T10:00:00+00:00"

Kind = Literal["transcript", "document"]
Visibility = Literal["client_visible", "coach_only", "admin_aggregate", "system_internal"]

_QUOTED_KEY = re.compile(r'"key"\s*:\s*("(?:[^"\\]|\\.){1,1024}")')


READERS = ("visibility", "client", "coach")
"""The fields that say who reads a file."""


class BadSidecar(Invalid):
    """What the manifest says about this file can't be used; correct its line."""


def parse_moment(value: object) -> datetime:
    """Return the moment an ISO-8601 text names; without a time it is midnight, without a zone UTC."""
    if isinstance(value, datetime):
        moment = value
    else:
        try:
            moment = datetime.fromisoformat(value.strip())  # type: ignore[attr-defined]  # what has no strip is refused too
        except (ValueError, AttributeError) as error:
            raise ValueError(f"{str(value)[:40]!r} is no ISO-8601 date; write it like {EXAMPLE_DATE}") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _check_email(value: str) -> str:
    name, at, host = value.partition("@")
    if not (name and at and host) or any(letter.isspace() for letter in value):
        raise ValueError(f"{value[:60]!r} is no e-mail address")
    return value.lower()


Email = Annotated[str, StringConstraints(strip_whitespace=True, max_length=254), AfterValidator(_check_email)]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\x00]*$")]


class Sidecar(BaseModel):
    """What is said about one file; every field may be absent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind | None = None
    title: Words | None = None
    visibility: Visibility | None = None
    client: Email | None = None
    coach: Email | None = None
    held_at: Annotated[datetime, BeforeValidator(parse_moment)] | None = None
    session: Words | None = None
    speakers: Annotated[dict[Words, Email], Field(max_length=MOST_LABELS)] | None = None
    decided: bool | None = None
    """Set where a person decided in the product who reads the file; no manifest says it."""
    named: Annotated[dict[Words, Email | None], Field(max_length=MOST_LABELS)] | None = None
    """Who a person said in the product speaks, None for nobody known here; no manifest says it."""

    @property
    def people(self) -> frozenset[str]:
        """The e-mail addresses it names."""
        return frozenset(filter(None, (self.client, self.coach, *self.voices.values())))

    @property
    def voices(self) -> dict[str, str]:
        """The addresses of who speaks, by label; what a person said outweighs `speakers`."""
        settled = {fold_label(label) for label in self.named or {}}
        open_ = {label: email for label, email in (self.speakers or {}).items() if fold_label(label) not in settled}
        return open_ | {label: email for label, email in (self.named or {}).items() if email is not None}

    def over(self, other: "Sidecar") -> "Sidecar":
        """Return this with what it leaves open taken from the other."""
        return other.model_copy(update={name: value for name, value in self if value is not None})

    def keep_decisions(self, stored: Mapping[str, Any]) -> "Sidecar":
        """Return this with the readers and speakers somebody decided on, as they are stored with what was said."""
        kept = {DECIDED: True, **{name: stored.get(name) for name in READERS}} if stored.get(DECIDED) else {}
        return self.model_copy(update=kept | ({NAMED: stored[NAMED]} if stored.get(NAMED) else {}))

    def to_json(self) -> dict[str, Any]:
        """Return what is said, without what is left open."""
        return self.model_dump(mode="json", exclude_none=True)

    def fingerprint(self) -> str:
        """Return a hash that changes whenever anything said changes."""
        return hash_said(self.to_json())


FIELDS = ("key", *(name for name in Sidecar.model_fields if name not in {DECIDED, NAMED}))


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the manifests of one source say: by key, what is known, what can't be used, and where it stands.

    `unattributed` are sentences about lines so broken that nobody can tell which file they are about.
    """

    said: Mapping[str, Sidecar] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)
    unattributed: tuple[str, ...] = ()


def parse_manifests(files: Mapping[str, bytes]) -> Manifest:
    """Return what these manifests say, keys being relative to each manifest's own folder."""
    said: dict[str, Sidecar] = {}
    refused: dict[str, str] = {}
    places: dict[str, str] = {}
    unattributed: list[str] = []
    for name in sorted(files):
        folder = name.removesuffix(MANIFEST)
        for place, line in _list_lines(name, files[name]):
            key = _find_key(line)
            if key is None:
                unattributed.append(f"{place} can't be read and names no key; correct it.")
                continue
            key = folder + key
            try:
                parsed = _parse_line(place, line)
            except BadSidecar as error:
                refused[key] = error.message
                places.setdefault(key, place)
                continue
            if key in places:
                refused[key] = f"{place} names {key} again after {places[key]}; keep one of the two lines."
                continue
            said[key], places[key] = parsed, place
    return Manifest(said, refused, places, tuple(unattributed))


def choose_visibility(kind: Kind, said: Sidecar) -> Visibility:
    """Return who may read a file, what is said deciding before any default.

    Where nothing is said the least harm is chosen. A file about a client or from a coach is for coaches: sharing it
    with the client later is a decision, taking it back is not. A session whose client nobody named could be
    anyone's most private hour, so no person reads it (`system_internal`) until somebody says whose it is. A
    document about nobody, such as a guide, is what everyone in the organisation is meant to read.
    """
    if said.visibility is not None:
        return said.visibility
    if said.client is not None or said.coach is not None:
        return "coach_only"
    if kind == "transcript" or said.session is not None or said.speakers:
        return "system_internal"
    return "client_visible"


def _list_lines(name: str, content: bytes) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(content.decode("utf-8-sig", "replace").split("\n"), 1):
        if line.strip():
            yield f"{name} line {number}", line


def _find_key(line: str) -> str | None:
    """Return the key even of a line that is broken elsewhere, so that its file alone fails."""
    try:
        parsed = json.loads(line)
    except (ValueError, RecursionError):
        quoted = _QUOTED_KEY.search(line)
        try:
            parsed = {"key": json.loads(quoted[1])} if quoted else None
        except ValueError:
            return None
    key = parsed.get("key") if isinstance(parsed, dict) else None
    return key.removeprefix("./") if isinstance(key, str) and key else None


def _parse_line(place: str, line: str) -> Sidecar:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadSidecar(f"{place} is not valid JSON ({str(error)[:100]}); correct it.") from error
    del fields["key"]
    unknown = [name for name in fields if name not in FIELDS]
    if unknown:
        listed = ", ".join(repr(name[:40]) for name in unknown[:5])
        raise BadSidecar(f"{place} has the unknown field {listed}; the fields are {', '.join(FIELDS)}.")
    try:
        said = Sidecar.model_validate(fields)
    except ValidationError as error:
        raise BadSidecar(f"{place}: {_describe(error)}; correct it.") from error
    if said.client is not None and said.client == said.coach:
        raise BadSidecar(f"{place}: {said.client} is both client and coach; correct one of them.")
    return said


def _describe(error: ValidationError) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"] if part != "[key]")
    return f"{name}: {first['msg'].removeprefix('Value error, ')}"

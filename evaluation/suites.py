"""Suites: what to ask, as whom, and what a good answer holds; a YAML file beside a JSON-lines file of cases.

A case bears ragas' column names (`user_input`, `reference`, `reference_contexts`), so that one file serves both.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

import yaml
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from core.errors import Invalid

MOST_CASES: Final = 20_000
MOST_BYTES: Final = 100 << 20

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4_000)]
Key = Annotated[str, StringConstraints(pattern=r"^[\w.:<>@/-]{1,200}$")]


class BrokenSuite(Invalid):
    """This suite can't be used; correct the line it names and run it again."""


class Case(BaseModel):
    """One question; `reference_contexts` are the exact words a good answer stands on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Key
    user_input: Line
    reference: str | None = Field(default=None, max_length=20_000)
    reference_contexts: tuple[Line, ...] = Field(default=(), max_length=100)
    answerable: bool = True
    user: str | None = Field(default=None, description="Who asks, by e-mail; else the suite's person.")
    slices: dict[str, str] = Field(default_factory=dict, max_length=20)
    """Groups it is counted in beside the whole, such as `question_type` or `language`."""
    asked_at: AwareDatetime | None = Field(default=None, description="What `last week` is counted from, its own.")
    proposal_id: UUID | None = Field(default=None, description="The confirmed stored answer it came from.")

    @model_validator(mode="after")
    def check(self) -> Self:
        """Refuse an unanswerable question that has an answer."""
        if not self.answerable and self.reference_contexts:
            raise ValueError("an unanswerable question has no reference_contexts; remove them or make it answerable")
        return self

    @property
    def groups(self) -> dict[str, str]:
        """Its slices, with whether it can be answered."""
        return {"answerable": "yes" if self.answerable else "no", **self.slices}


class SuiteFile(BaseModel):
    """What the YAML file says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,99}$")]
    description: str | None = Field(default=None, max_length=2_000)
    tenant: str = Field(description="The organisation whose material is asked, by its short name.")
    user: str | None = Field(default=None, description="Who asks where a case names nobody, by e-mail.")
    cases: str = Field(description="The JSON-lines file, beside this one.")
    asked_at: AwareDatetime | None = Field(default=None, description="What `last week` is counted from; else now.")
    repeats: int = Field(default=1, ge=1, le=100)
    budget_usd: Decimal | None = Field(default=None, ge=0)
    judge: Literal["none", "ragas"] = "none"
    fail_on: tuple[Line, ...] = Field(default=(), max_length=100)
    origin: Literal["files", "feedback", "production"] = "files"


class Suite(SuiteFile):
    """A suite with its cases; `content_hash` is the SHA-256 of the cases, whatever order they stand in."""

    loaded: tuple[Case, ...]
    content_hash: str

    @property
    def languages(self) -> Counter[str]:
        """Cases by their slice `language`, where they name one."""
        return Counter(case.slices["language"] for case in self.loaded if "language" in case.slices)

    def get_asker(self, case: Case) -> str:
        """Return the e-mail of who asks the case."""
        asker = case.user or self.user
        assert asker is not None  # noqa: S101  # load_suite has checked it
        return asker


def load_suite(path: Path) -> Suite:
    """Read a suite from its YAML file; raises `BrokenSuite`, which names the line."""
    path = path / "suite.yaml" if path.is_dir() else path
    said = _read_yaml(path)
    try:
        file = SuiteFile.model_validate(said)
    except ValidationError as error:
        raise BrokenSuite(f"{path.name}: {explain(error)}; correct it.") from error
    cases = read_cases(path.parent / file.cases)
    require_askers(file.user, cases)
    return Suite(**file.model_dump(), loaded=cases, content_hash=hash_cases(cases))


def write_suite(suite: Suite, folder: Path) -> Path:
    """Write the suite as `suite.yaml` and `cases.jsonl` into the folder, in place of what they held; return the former.

    Only the current user of the machine may read the files, as they hold people's words.
    """
    folder.mkdir(parents=True, exist_ok=True)
    said = SuiteFile(**suite.model_dump(include=set(SuiteFile.model_fields)) | {"cases": "cases.jsonl"})
    named = said.model_dump(mode="json", exclude_defaults=True)
    cases = [case.model_dump(mode="json", exclude_defaults=True) for case in suite.loaded]
    path = folder / "suite.yaml"
    for file, text in (
        (path, yaml.safe_dump(named, allow_unicode=True, sort_keys=False)),
        (folder / said.cases, "".join(f"{json.dumps(case, ensure_ascii=False)}\n" for case in cases)),
    ):
        file.touch(mode=0o600)
        file.chmod(0o600)
        file.write_text(text, encoding="utf-8")
    return path


def read_cases(path: Path) -> tuple[Case, ...]:
    """Read cases, a JSON object a line; blank lines are passed over."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BrokenSuite(f"{path.name} is larger than {MOST_BYTES >> 20} MiB; split the suite.")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BrokenSuite(f"{path} can't be read as text; name the file of cases in the suite.") from error
    cases: list[Case] = []
    seen: set[str] = set()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            case = Case.model_validate_json(line)
        except ValidationError as error:
            raise BrokenSuite(f"Line {number} of {path.name}: {explain(error)}; correct it.") from error
        if case.id in seen:
            raise BrokenSuite(f"Line {number} of {path.name}: {case.id} is there twice; give each case its own id.")
        seen.add(case.id)
        cases.append(case)
        if len(cases) > MOST_CASES:
            raise BrokenSuite(f"{path.name} has more than {MOST_CASES:,} cases; split the suite.")
    if not cases:
        raise BrokenSuite(f"{path.name} holds no case; write one JSON object a line.")
    return tuple(cases)


def require_askers(user: str | None, cases: Sequence[Case]) -> None:
    """Raise `BrokenSuite` where nobody asks a case: neither it names somebody nor the suite does."""
    nobody = next((case.id for case in cases if case.user is None and user is None), None)
    if nobody is not None:
        raise BrokenSuite(f"Nobody asks the case {nobody}; give it a `user`, or the suite one for all.")


def hash_cases(cases: Sequence[Case]) -> str:
    """Return the SHA-256 of the cases as a set, in hex."""
    lines = sorted(json.dumps(_describe(case), sort_keys=True) for case in cases)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _describe(case: Case) -> dict[str, Any]:
    # what came later is left out where it says nothing, so that a suite stored before is the same version still
    later = {name for name in ("asked_at", "proposal_id") if getattr(case, name) is None}
    return case.model_dump(mode="json", exclude=later)


def _read_yaml(path: Path) -> Any:  # noqa: ANN401  # validated by the caller
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BrokenSuite(f"{path} can't be read as text; name the suite's YAML file.") from error
    except yaml.YAMLError as error:
        raise BrokenSuite(f"{path.name} is no YAML: {' '.join(str(error).split())}; correct it.") from error


def explain(error: ValidationError) -> str:
    """Return what is wrong first, and where, without an end."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"]) or "the whole"
    return f"{place}: {first['msg'].removeprefix('Value error, ')}"

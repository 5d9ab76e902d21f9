"""A run as a JSON file: small enough to commit, whole enough to compare the next run with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import Invalid
from evaluation.records import CaseResult, Response
from evaluation.run import RunReport

DIGITS: Final = 4
"""Places of a score that are kept, so that a baseline changes in review only where an answer did."""
FORMAT: Final = 1


class UnusableBaseline(Invalid):
    """This file is no baseline; write one with `regenesis eval run SUITE --write-baseline FILE`."""


class _KeptCase(BaseModel):
    model_config = ConfigDict(extra="forbid")

    case_id: str
    repeat: int
    status: str
    scores: dict[str, float | None]
    answer: str | None
    refused: bool | None
    error: str | None
    groups: dict[str, str]
    user_input: str
    judge_errors: dict[str, str] = {}


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: int
    suite: str
    dataset_version: int
    config: dict[str, Any]
    cases: list[_KeptCase]


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a committed run was of, and its results; answers hold their text, not their sources."""

    suite: str
    config: Mapping[str, Any]
    results: Sequence[CaseResult]


def write_baseline(path: Path, report: RunReport) -> None:
    """Write the run's results; the same results give the same file."""
    kept = _Kept(
        format=FORMAT, suite=report.suite, dataset_version=report.dataset_version, config=dict(report.config),
        cases=[_keep(one) for one in report.results],
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    path.write_bytes(orjson.dumps(kept.model_dump(exclude_defaults=True), option=options))


def read_baseline(path: Path) -> Baseline:
    """Read what `write_baseline` wrote; raises `UnusableBaseline`."""
    try:
        kept = _Kept.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise UnusableBaseline(
            f"{path} is no baseline; write one with `regenesis eval run SUITE --write-baseline`."
        ) from error
    if kept.format != FORMAT:
        raise UnusableBaseline(f"{path} is a baseline of another version; write it anew.")
    return Baseline(kept.suite, kept.config, [_restore(one) for one in kept.cases])


def _keep(one: CaseResult) -> _KeptCase:
    scores = {name: None if value is None else round(value, DIGITS) for name, value in one.scores.items()}
    return _KeptCase(
        case_id=one.case_id, repeat=one.repeat, status=one.status, scores=scores,
        answer=one.response.text if one.response else None, refused=one.response.refused if one.response else None,
        error=one.error, groups=dict(one.groups), user_input=one.user_input, judge_errors=dict(one.judge_errors),
    )  # fmt: skip


def _restore(kept: _KeptCase) -> CaseResult:
    response = None
    if kept.answer is not None:
        response = Response(text=kept.answer, refused=bool(kept.refused), provider="")
    return CaseResult(
        case_id=kept.case_id, repeat=kept.repeat, status="failed" if kept.status == "failed" else "scored",
        scores=kept.scores, response=response, error=kept.error, groups=kept.groups, user_input=kept.user_input,
        judge_errors=kept.judge_errors,
    )  # fmt: skip

"""Calibrated thresholds: written by `eval calibrate`, read by `eval run` to count the answers below them."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from core.errors import Invalid
from evaluation.calibration import Agreement
from evaluation.records import UNSUPPORTED, CaseResult
from evaluation.support import LEXICAL


class UnusableThresholds(Invalid):
    """This file holds no thresholds; write one with `regenesis eval calibrate DIR --write FILE`."""


class _Kept(BaseModel):
    threshold: float = Field(ge=0, le=1)


_FILE = TypeAdapter(dict[str, dict[str, _Kept]])


def write_thresholds(path: Path, agreements: Sequence[Agreement]) -> None:
    """Write, as JSON by scorer and corpus, each threshold with the agreement it rests on."""
    found: dict[str, dict[str, Any]] = {}
    for one in agreements:
        if one.threshold is not None and one.auroc is not None and one.balanced_accuracy is not None:
            found.setdefault(one.scorer, {})[one.corpus] = {
                "threshold": one.threshold, "answers": one.scored, "sources": one.sources,
                "auroc": asdict(one.auroc), "balanced_accuracy": asdict(one.balanced_accuracy),
            }  # fmt: skip
    path.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE))


def read_threshold(path: Path, corpus: str) -> float:
    """Return from which support on an answer of this corpus is called supported; raises `UnusableThresholds`."""
    try:
        kept = _FILE.validate_json(path.read_bytes()).get(LEXICAL, {})
    except (OSError, ValidationError) as error:
        raise UnusableThresholds(
            f"{path} holds no thresholds; write one with `regenesis eval calibrate DIR --write FILE`."
        ) from error
    if corpus not in kept:
        known = f"choose one of {', '.join(kept)}" if kept else "calibrate on a corpus with more labels of both kinds"
        raise UnusableThresholds(f"{path.name} has no threshold of {LEXICAL} for the corpus {corpus!r}; {known}.")
    return kept[corpus].threshold


def mark_unsupported(results: Sequence[CaseResult], threshold: float) -> list[CaseResult]:
    """Return the results with `unsupported`, 1 for an answer whose support is below the threshold, else 0.

    A case without support, such as a refusal, has none.
    """
    return [
        replace(one, scores={**one.scores, UNSUPPORTED: None if said is None else float(said < threshold)})
        for one, said in ((one, one.scores.get("support")) for one in results)
    ]

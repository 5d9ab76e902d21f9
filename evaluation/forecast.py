"""What running a stored suite will cost, told before anything is asked, and held against every limit there is."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from core.settings import ModelSettings
from db.models import Dataset
from domain.prices import load_prices
from evaluation.datasets import DatasetNotFound
from evaluation.run import EmptySuite, Judge, PriceUnknown, forecast_run
from evaluation.runs import select_datasets
from rag.answer_models import list_models
from rag.spending import check_fits

_NAME: Final = re.compile(r"(?P<name>[a-z0-9][a-z0-9._-]{0,99})(?:@(?P<version>[1-9]\d{0,8}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteForecast:
    """What a run of one version of a suite takes; amounts in USD, None where there is no limit or no known price."""

    suite: str
    version: int
    cases: int
    repeats: int
    questions: int
    cost_usd: Decimal | None
    basis: str
    budget_usd: Decimal | None
    """Where the run stops."""
    month_left_usd: Decimal | None
    """What the organisation lets models cost until the end of the month."""


def split_suite(said: str) -> tuple[str, int | None]:
    """Return name and version of a stored suite said as `name` or `name@version`; raises `DatasetNotFound`."""
    found = _NAME.fullmatch(said)
    if found is None:
        raise DatasetNotFound(f"{said[:120]!r} names no stored suite; write `name` or `name@version`.")
    return found["name"], int(found["version"]) if found["version"] else None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVersion:
    """One version of a stored suite: how many cases it has now, and what it says beside them."""

    name: str
    version: int
    cases: int
    settings: Mapping[str, Any]


async def get_version(session: AsyncSession, said: str) -> StoredVersion:
    """Return the version that `name` (the newest) or `name@version` names; raises `DatasetNotFound`."""
    name, version = split_suite(said)
    wanted = select_datasets(name).order_by(Dataset.version.desc()).limit(1)
    found = (
        await session.execute(wanted if version is None else wanted.where(Dataset.version == version))
    ).one_or_none()
    if found is None:
        raise DatasetNotFound(f"There is no stored suite {said!r} here; a suite that was run or built is stored.")
    return StoredVersion(name=found.name, version=found.version, cases=found.cases, settings=found.settings)


async def forecast_suite(
    session: AsyncSession, suite: StoredVersion, *, model: ModelSettings, judge: Judge | None = None,
    repeats: int | None = None, limit: int | None = None, budget_usd: Decimal | None = None,
) -> SuiteForecast:  # fmt: skip
    """Return what a run will cost, what is left out being as the suite says; in a session of the pipelines.

    Raises `EmptySuite`, `PriceUnknown` where a budget is given and no price known, and `QuotaExceeded` where it does
    not fit into what the organisation may use.
    """
    repeats = repeats or int(suite.settings.get("repeats") or 1)
    cases = min(suite.cases, limit) if limit else suite.cases
    if not cases:
        raise EmptySuite
    models = await list_models(session, model)
    prices = models[0].prices if models else await load_prices(session)
    expected = forecast_run(cases * repeats, [choice.provider.name for choice in models], judge, prices)
    if budget_usd is None and suite.settings.get("budget_usd") is not None:
        budget_usd = Decimal(suite.settings["budget_usd"])
    if budget_usd is not None and expected.cost_usd is None:
        raise PriceUnknown
    asked = models or judge is not None
    month = await check_fits(
        session, tokens=expected.tokens, usd=expected.cost_usd if asked else Decimal(0),
        model=models[0].provider.model if models else "the judge",
    )  # fmt: skip
    return SuiteForecast(
        suite=suite.name, version=suite.version, cases=cases, repeats=repeats, questions=expected.questions,
        cost_usd=expected.cost_usd, basis=expected.basis, budget_usd=budget_usd, month_left_usd=month.left_usd,
    )  # fmt: skip

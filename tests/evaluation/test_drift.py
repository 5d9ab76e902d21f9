"""Drift is told when it is there, hardly ever when it is not, once a week, to those who asked, without words."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import delete, insert, select, update

from db.models import ChatMessage, Notification, Outbox, RagEvaluation, RagMetric, Webhook
from db.session import tenant_session
from domain import chat
from domain.webhooks import fan_out
from evaluation.drift import LEAST_BEFORE, LEAST_NOW, LOOKS, WATCHED, WINDOWS, Trend, find_trends
from evaluation.drift_alerts import KIND, TOPIC, load_scores, tell_drift, watch_scores, write_trend
from tests.factories.answers import agree
from tests.factories.people import Organisation
from tests.factories.sessions import require_id

DAY = timedelta(days=1)
NIGHTS = WINDOWS + max(LOOKS)
Shift = Mapping[str, float]


def draw_night(rng: np.random.Generator, answers: int, night: float, shift: Shift) -> dict[str, NDArray[np.float64]]:
    """Return scores as they are: skewed, rarely refused, nights that lie apart by `night`, times with long tails."""
    refused = rng.random(answers) < min(0.08 * shift.get("refused", 1) * np.exp(night * rng.normal()), 0.9)
    told = int((~refused).sum())
    whole = rng.random(told) > 0.04
    moved = 0.1 * night * rng.normal()
    scores = {
        "support": rng.beta(6, 2, told) * whole + moved - shift.get("support", 0),
        "answer_relevance": rng.normal(0.55, 0.15, told) + 0.1 * night * rng.normal(),
        "cited_sentences": np.where(rng.random(told) < 0.03, 0.5, 1.0),
        "scope_coverage": np.where(rng.random(answers) < 0.01, 0.75, 1.0),
        "faithfulness": np.where(rng.random(told) < 0.6, 1.0, rng.beta(5, 3, told)),
        "response_relevancy": rng.normal(0.8, 0.12, told),
        "refused": refused.astype(np.float64),
    }
    times = np.exp(rng.normal(7, 0.5, answers) + 0.6 * night * rng.normal()) * shift.get("total_ms", 1)
    costs = np.exp(rng.normal(-7, 0.6, told) + 0.6 * night * rng.normal()) * shift.get("cost_usd", 1)
    return {name: np.clip(values, 0, 1) for name, values in scores.items()} | {"total_ms": times, "cost_usd": costs}


def draw(
    seed: int,
    *,
    answers: int = 50,
    nights: int = NIGHTS,
    night: float = 0.2,
    shift: Shift | None = None,
    since: int = 1,
) -> dict[str, Any]:
    """Return the scores of so many nights, the newest `since` of them shifted."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[NDArray[np.float64]]] = {}
    for age in range(nights):
        for name, values in draw_night(rng, answers, night, (shift or {}) if age < since else {}).items():
            found.setdefault(name, []).append(np.column_stack([np.full(len(values), age), values]))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def list_drifted(scores: dict[str, Any]) -> list[Trend]:
    return [trend for trend in find_trends(scores) if trend.drifted]


def test_steady_answers_are_hardly_ever_told() -> None:
    """Of 300 nights of nine metrics and three looks, 1 in 100 at most; thousands were simulated to set the band."""
    told = [seed for seed in range(300) if list_drifted(draw(seed))]
    assert len(told) <= 3


@pytest.mark.parametrize(
    ("metric", "size", "nights"),
    [("support", 0.1, 7), ("refused", 3.0, 7), ("total_ms", 1.5, 7), ("cost_usd", 1.5, 7), ("refused", 6.0, 1)],
)
def test_a_real_change_is_told_by_its_name(metric: str, size: float, nights: int) -> None:
    found = [
        {trend.metric for trend in list_drifted(draw(seed, shift={metric: size}, since=nights))} for seed in range(40)
    ]
    assert sum(metric in one for one in found) >= 32
    assert sum(bool(one - {metric}) for one in found) <= 2


def test_the_other_way_is_better_and_is_not_told() -> None:
    trends = find_trends(draw(1, shift={"support": -0.2, "total_ms": 0.4}, since=7))
    verdicts = {(trend.metric, trend.windows): trend.verdict for trend in trends}
    assert verdicts["support", 7] == "better"
    assert not any(trend.drifted for trend in trends)


def test_every_watched_metric_is_shown_in_every_look_and_too_little_says_so() -> None:
    for scores in ({}, draw(1, answers=LEAST_NOW - 2, nights=NIGHTS), draw(1, nights=4), draw(1, answers=30, nights=4)):
        trends = find_trends(scores)
        assert [(trend.metric, trend.windows) for trend in trends] == [(m, look) for m in WATCHED for look in LOOKS]
        assert {trend.verdict for trend in trends if trend.windows == 1} == {"too few"}
    assert find_trends({})[0].now is None
    few = find_trends({"support": [(0, 0.5)] * 30 + [(age, 0.9) for age in range(1, 9)] * (LEAST_BEFORE // 10)})
    assert few[0].verdict == "too few"
    assert (few[0].answers, few[0].answers_before, few[0].now) == (30, 80, 0.5)


def test_what_never_varied_is_told_when_it_breaks_and_not_for_a_slip() -> None:
    steady = [(age, 1.0) for age in range(1, 29) for _ in range(50)]
    slip = {"cited_sentences": [*steady, *[(0, 1.0)] * 49, (0, 0.5)]}
    broken = {"cited_sentences": [*steady, *[(0, 1.0)] * 40, *[(0, 0.0)] * 10]}
    assert list_drifted(slip) == []
    assert {trend.metric for trend in list_drifted(broken)} == {"cited_sentences"}
    assert list_drifted({"cost_usd": [(age, 0.0) for age in range(29) for _ in range(50)]}) == []


def test_one_bad_night_among_the_earlier_does_not_hide_the_next() -> None:
    scores = draw(3, night=0.0, shift={"support": 0.2}, since=1)
    bad = scores["support"][:, 0] == 9
    scores["support"][bad, 1] -= 0.3
    assert ("support", 1) in {(trend.metric, trend.windows) for trend in list_drifted(scores)}


async def plant(
    organisation: Organisation, *, now: datetime, shift: Shift | None = None, nights: int = 12, answers: int = 30
) -> None:
    """Store scored answers of so many nights, the newest of them shifted, of a coach who allows it."""
    await agree(organisation.coach_a)
    coach, tenant = require_id(organisation.coach_a), organisation.tenant_id
    async with tenant_session(organisation.coach_a) as session:
        conversation = (await chat.create_session(session, user_id=coach)).id
    rng = np.random.default_rng(5)
    messages, rows, metrics = [], [], []
    for age in range(nights):
        told = draw_night(rng, answers, 0.0, (shift or {}) if age == 0 else {})
        for n in range(answers):
            message, row, at = uuid4(), uuid4(), now - age * DAY - timedelta(hours=1, seconds=n)
            base = {"tenant_id": tenant, "user_id": coach, "session_id": conversation}
            messages.append(base | {"id": message, "created_at": at, "role": "assistant", "content": "x"})
            rows.append(
                base | {"id": row, "message_id": message, "message_created_at": at, "query": "q", "status": "scored",
                        "details": {"embedder": "e", "judge": "j"}}
            )  # fmt: skip
            scores = {name: float(values[n]) for name, values in told.items() if n < len(values)}
            metrics.append({"tenant_id": tenant, "evaluation_id": row, "scorer": "words", "scores": scores})
    async with tenant_session(organisation.system) as session:
        for model, values in ((ChatMessage, messages), (RagEvaluation, rows), (RagMetric, metrics)):
            await session.execute(insert(model), values)


async def read_alerts(organisation: Organisation) -> tuple[list[dict[str, Any]], set[UUID]]:
    """Return the messages of drift in the outbox, and who was notified."""
    async with tenant_session(organisation.system) as session:
        sent = await session.scalars(select(Outbox.payload).where(Outbox.topic == TOPIC).order_by(Outbox.id))
        told = await session.scalars(select(Notification.user_id).where(Notification.notification_type == KIND))
        return list(sent), set(told)


async def test_planted_drift_is_told_once_a_week(organisation: Organisation) -> None:
    now = datetime.now(UTC)
    await plant(organisation, now=now, shift={"support": 0.4})
    first = await watch_scores(organisation.tenant_id, now=now, window=DAY)
    assert list(first.told) == ["support"]
    (payload,), people = await read_alerts(organisation)
    assert people == {organisation.evaluator.user_id, organisation.admin.user_id}
    (told,) = payload["metrics"]
    assert (told["metric"], told["verdict"], told["windows"]) == ("support", "drifted", 3)  # the longest look
    assert told["now"] + 0.05 < told["before"]
    assert set(told) == {"metric", "shown", "windows", "before", "now", "answers_before", "answers", "verdict"}
    again = await watch_scores(organisation.tenant_id, now=now, window=DAY)
    assert {trend.metric for trend in again.drifted} == {"support"}
    assert (again.told, len((await read_alerts(organisation))[0])) == ([], 1)
    async with tenant_session(organisation.system) as session:
        await session.execute(update(Outbox).where(Outbox.topic == TOPIC).values(created_at=now - 8 * DAY))
    later = await watch_scores(organisation.tenant_id, now=now, window=DAY)
    assert list(later.told) == ["support"]
    assert len((await read_alerts(organisation))[0]) == 2


async def test_a_webhook_that_asked_for_it_gets_it(organisation: Organisation) -> None:
    from domain.outbox import Message

    now = datetime.now(UTC)
    await plant(organisation, now=now, shift={"refused": 9.0})
    async with tenant_session(organisation.system) as session:
        session.add_all(
            Webhook(tenant_id=organisation.tenant_id, url="https://example.com/x", events=[event], secret=b"s" * 32)
            for event in (TOPIC, "session.booked")
        )
    assert "refused" in (await watch_scores(organisation.tenant_id, now=now, window=DAY)).told
    async with tenant_session(organisation.system) as session:
        row = (await session.scalars(select(Outbox).where(Outbox.topic == TOPIC))).one()
        message = Message(
            tenant_id=row.tenant_id, id=row.id, topic=row.topic, key=row.key, payload=row.payload,
            created_at=row.created_at + timedelta(seconds=1), attempts=1,
        )  # fmt: skip
        await fan_out(session, message)
        deliveries = await session.scalars(select(Outbox.topic).where(Outbox.topic == "webhook_delivery"))
        assert len(deliveries.all()) == 1


async def test_stable_answers_are_told_to_nobody(organisation: Organisation) -> None:
    now = datetime.now(UTC)
    await plant(organisation, now=now)
    watch = await watch_scores(organisation.tenant_id, now=now, window=DAY)
    assert (watch.drifted, list(watch.told), await read_alerts(organisation)) == ([], [], ([], set()))
    assert next(trend for trend in watch.trends if trend.metric == "support").verdict == "steady"


async def test_another_embedder_or_judge_is_another_ruler(organisation: Organisation) -> None:
    now = datetime.now(UTC)
    await plant(organisation, now=now, nights=3)
    newest = RagEvaluation.message_created_at > now - DAY
    async with tenant_session(organisation.system) as session:
        before = await load_scores(session, now, DAY)
        await session.execute(update(RagEvaluation).where(newest).values(details={"embedder": "e", "judge": "k"}))
        after = await load_scores(session, now, DAY)
        await session.execute(update(RagEvaluation).where(newest).values(details={"embedder": "f", "judge": "k"}))
        last = await load_scores(session, now, DAY)
    assert {age for age, _ in before["faithfulness"]} == {0, 1, 2}
    assert {age for age, _ in after["faithfulness"]} == {age for age, _ in last["answer_relevance"]} == {0}
    assert after["answer_relevance"] == before["answer_relevance"]
    assert last["support"] == before["support"]


async def test_two_runs_at_once_tell_once(organisation: Organisation) -> None:
    import asyncio

    now = datetime.now(UTC)
    trend = Trend(
        metric="support", shown="mean", windows=7, before=0.81, now=0.61234567, answers_before=900, answers=300,
        verdict="drifted",
    )  # fmt: skip
    assert write_trend(trend)["now"] == 0.612346

    async def tell() -> list[str]:
        async with tenant_session(organisation.system) as session:
            return await tell_drift(session, [trend], now)

    assert sorted(await asyncio.gather(tell(), tell())) == [[], ["support"]]
    sent, people = await read_alerts(organisation)
    assert (len(sent), len(people)) == (1, 2)
    async with tenant_session(organisation.system) as session:
        await session.execute(delete(Outbox))

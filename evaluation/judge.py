"""A model as judge, through ragas: faithfulness, relevance and both context metrics, each failing by itself.

Ragas' own batch loses every row to one bad one, its cache forgets which model judged, and its telemetry is on by
default. So metrics are asked one by one here, under our own limit, cache and count of tokens.
"""

import asyncio
import hashlib
import math
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from core.errors import Invalid
from core.logging import get_logger
from core.settings import ModelSettings
from evaluation.records import Response
from evaluation.run import Verdict
from evaluation.suites import Case
from rag.costs import add_costs, price
from rag.embedding.protocol import Embedder
from rag.providers.openai_client import ClientPool, Endpoint, find_translation
from rag.providers.protocol import Usage

if TYPE_CHECKING:
    from ragas.metrics.collections.base import BaseMetric

os.environ["RAGAS_DO_NOT_TRACK"] = "true"  # read as ragas is imported; only this very word turns it off

AT_ONCE: Final = 4
MAX_TOKENS: Final = 8_192
"""Ragas' default of 1,024 breaks off the statements of a long answer."""
SECONDS: Final = 180.0
"""For one metric of one answer: up to ten calls."""
CONTEXTS: Final = 8
"""Passages that are judged; context precision asks once for each."""

_log = get_logger("judge")
_spent: ContextVar[list[Usage] | None] = ContextVar("_spent", default=None)


class NoJudge(Invalid):
    """No model is set to judge with; set REGENESIS_LLM__BASE_URL, REGENESIS_LLM__API_KEY and REGENESIS_LLM__MODEL."""


@dataclass(frozen=True, slots=True)
class _Judged:
    """One metric's outcome as it is cached."""

    score: float | None
    error: str | None
    usage: tuple[Usage, ...]


class RagasJudge:
    """Scores answers by ragas' metrics with one model; what it judged before it takes from its cache, free of cost."""

    def __init__(self, settings: ModelSettings, embedder: Embedder, *, cache: Path | None = None) -> None:
        """Raises `NoJudge` where the settings name no model."""
        if not settings.model:
            raise NoJudge
        self._model, self._service = settings.model, settings.base_url
        key = settings.api_key.get_secret_value() if settings.api_key else None
        self._pool = ClientPool(Endpoint(base_url=settings.base_url, api_key=key, read_timeout=settings.timeout_s))
        self._embedder = embedder
        self._cache = cache
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._metrics: dict[str, BaseMetric] | None = None

    @property
    def name(self) -> str:
        """The library, the model and where it answers."""
        return f"ragas {version('ragas')}, {self._model} at {self._service or 'openai'}"

    async def score(self, case: Case, response: Response) -> Verdict:
        """Return the scores of every metric that has what it needs, and a sentence for each that failed."""
        contexts = list(response.contexts[:CONTEXTS])
        answer = {"user_input": case.user_input, "response": response.text}
        asked: dict[str, dict[str, Any]] = {"response_relevancy": answer}
        if contexts:
            asked["faithfulness"] = {**answer, "retrieved_contexts": contexts}
        if contexts and case.reference:
            judged = {"user_input": case.user_input, "reference": case.reference, "retrieved_contexts": contexts}
            asked |= {"judged_context_precision": judged, "judged_context_recall": judged}
        outcomes = dict(zip(asked, await asyncio.gather(*(self._judge(m, v) for m, v in asked.items())), strict=True))
        scores = {metric: outcome.score for metric, outcome in outcomes.items()}
        faithful = scores.get("faithfulness")
        scores["hallucination"] = None if faithful is None else 1 - faithful
        return Verdict(
            scores=scores,
            errors=tuple(f"{metric}: {one.error}" for metric, one in outcomes.items() if one.error),
            cost_usd=add_costs(price(usage) for one in outcomes.values() for usage in one.usage),
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._pool.aclose()

    async def _judge(self, metric: str, values: Mapping[str, Any]) -> _Judged:
        key = self._key(metric, values)
        kept = self._read(key)
        if kept is not None:
            return _Judged(kept, None, ())
        async with self._turns:
            with _counting() as usage:
                score, error = await self._attempt(metric, values)
        if score is not None:
            self._write(key, score)
        return _Judged(score, error, tuple(usage))

    async def _attempt(self, metric: str, values: Mapping[str, Any]) -> tuple[float | None, str | None]:
        """Return a score, or the sentence that says why there is none; whatever ragas raises ends here."""
        score = self._load()[metric].ascore
        try:
            async with asyncio.timeout(SECONDS):
                value = float((await score(**values)).value)
        except Exception as error:  # noqa: BLE001  # ragas and instructor raise what they please; the row is the loss
            _log.warning("judge_failed", metric=metric, error=type(error).__name__)
            return None, _explain(error)
        if math.isnan(value):
            return None, "It found no statement to judge in the answer."
        return min(max(value, 0.0), 1.0), None

    def _load(self) -> "dict[str, BaseMetric]":
        if self._metrics is None:
            from ragas.llms import llm_factory
            from ragas.metrics.collections import (
                AnswerRelevancy,
                ContextPrecisionWithReference,
                ContextRecall,
                Faithfulness,
            )

            llm = llm_factory(self._model, client=self._pool.get_client(), max_tokens=MAX_TOKENS, temperature=0.0)
            llm.client.on("completion:response", self._count)  # type: ignore[attr-defined]  # instructor's hook
            self._metrics = {
                "faithfulness": Faithfulness(llm=llm),
                "response_relevancy": AnswerRelevancy(llm=llm, embeddings=_wrap(self._embedder)),
                "judged_context_precision": ContextPrecisionWithReference(llm=llm),
                "judged_context_recall": ContextRecall(llm=llm),
            }
        return self._metrics

    def _count(self, completion: Any) -> None:  # noqa: ANN401  # an openai completion
        spent, used = _spent.get(), getattr(completion, "usage", None)
        if spent is not None:
            read, written = (used.prompt_tokens, used.completion_tokens) if used else (None, None)
            spent.append(Usage(self._model, read, written, service=self._service))

    def _key(self, metric: str, values: Mapping[str, Any]) -> str:
        """Return a name for this judgement by all it depends on: judge, address, library, embedder and every word."""
        whole = [self.name, self._embedder.name, MAX_TOKENS, metric, values]
        return hashlib.sha256(orjson.dumps(whole, option=orjson.OPT_SORT_KEYS)).hexdigest()

    def _read(self, key: str) -> float | None:
        path = self._cache / f"{key}.json" if self._cache else None
        return float(orjson.loads(path.read_bytes())) if path is not None and path.exists() else None

    def _write(self, key: str, score: float) -> None:
        if self._cache is not None:
            self._cache.mkdir(parents=True, exist_ok=True)
            written = self._cache / f"{key}.part"
            written.write_bytes(orjson.dumps(score))
            written.replace(self._cache / f"{key}.json")


@contextmanager
def _counting() -> Iterator[list[Usage]]:
    """Collect what is spent inside, by this task and those it starts."""
    usage: list[Usage] = []
    token = _spent.set(usage)
    try:
        yield usage
    finally:
        _spent.reset(token)


def _explain(error: Exception) -> str:
    """Return one sentence for what a judge's call raised, the cause behind instructor's wrapping first."""
    if isinstance(error, TimeoutError):
        return "The judge took too long; try again, or choose a faster model."
    seen: BaseException | None = error
    while seen is not None:
        ours = (
            find_translation(seen)
            if isinstance(seen, Exception) and type(seen).__module__.startswith("openai")
            else None
        )
        if ours is not None:
            return ours.message
        seen = seen.__cause__ or seen.__context__
    return f"The judge's reply can't be used ({type(error).__name__}); try again, or choose another model."


def _wrap(embedder: Embedder) -> Any:  # noqa: ANN401  # ragas' class, which is imported here alone
    from ragas.embeddings.base import BaseRagasEmbedding

    embed: Callable[[list[str]], Awaitable[Any]] = embedder.embed

    class Wrapped(BaseRagasEmbedding):
        """Our embedder, as ragas asks for one."""

        def embed_text(self, text: str, **_: Any) -> list[float]:  # noqa: ANN401, ARG002  # as given
            """Refuse: this judge is asynchronous throughout."""
            raise TypeError("embed_text is not used; ask aembed_text")

        async def aembed_text(self, text: str, **_: Any) -> list[float]:  # noqa: ANN401  # as given
            """Return one vector."""
            return [float(value) for value in (await embed([text]))[0]]

    return Wrapped()

"""A model as judge, through ragas: faithfulness, relevance and both context metrics, each failing by itself.

Ragas' own batch loses every row to one bad one, its cache forgets which model judged, and its telemetry is on by
default. So metrics are asked one by one here, under our own limit, cache and count of tokens.
"""

import asyncio
import hashlib
import logging
import math
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from core.errors import Invalid
from core.logging import get_logger
from core.settings import ModelSettings
from domain.prices import NO_PRICES, PriceTable
from evaluation.metrics import strip_marks
from evaluation.records import Response
from evaluation.run import Verdict
from evaluation.suites import Case
from rag.costs import add_costs, price
from rag.embedding.protocol import Embedder
from rag.providers.openai_client import ClientPool, Endpoint, find_translation
from rag.providers.openai_compatible import count_cached
from rag.providers.protocol import Usage

if TYPE_CHECKING:
    from ragas.metrics.collections.base import BaseMetric

os.environ["RAGAS_DO_NOT_TRACK"] = "true"  # read as ragas is imported; only this very word turns it off

AT_ONCE: Final = 4
"""Requests under way at a time; a metric's own follow one another."""
RETRIES: Final = 5
"""Of a busy or broken service, after as long as it asks for: nobody waits for a judgement, and one lost counts."""
READ_SECONDS: Final = 120.0
"""A judge's reply comes as a whole, when its last word is written, not as an answer's first word does."""
TEMPERATURE: Final = 0.0
MAX_TOKENS: Final = 8_192
"""Ragas' default of 1,024 breaks off the statements of a long answer."""
SECONDS: Final = 600.0
"""For one metric of one answer: up to ten calls, each of which may have to wait for a busy service."""
CONTEXTS: Final = 8
"""Passages that are judged; context precision asks once for each."""

CHARACTERS_A_TOKEN: Final = 4
"""Of English, for forecasts."""
PROMPT_CHARACTERS: Final = {
    "statements": 2_330, "verdicts": 4_550, "response_relevancy": 2_520, "judged_context_precision": 4_750,
    "judged_context_recall": 7_240,
}  # fmt: skip
"""What ragas 0.4.3 and instructor write around the words that are judged, call by call, as counted on the wire."""
USUAL_QUESTION: Final = 80
USUAL_ANSWER: Final = 500
USUAL_CONTEXT: Final = 1_200
"""Characters of a question, an answer and a passage, where an answer's cost is foretold before it is given."""

_log = get_logger("judge")
_spent: ContextVar[list[Usage] | None] = ContextVar("_spent", default=None)


class NoJudge(Invalid):
    """No model is set to judge with; set REGENESIS_JUDGE__BASE_URL, __API_KEY and __MODEL, or REGENESIS_LLM__MODEL."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One judgement: a score from 0 to 1, or the sentence that says why there is none; and what was asked for it."""

    score: float | None
    error: str | None
    usage: tuple[Usage, ...]
    cached: bool = False
    prices: PriceTable = NO_PRICES

    @property
    def cost_usd(self) -> Decimal | None:
        """What it cost, also where it failed; None where a price or a count is not known."""
        return add_costs(price(usage, prices=self.prices) for usage in self.usage)


class RagasJudge:
    """Scores answers by ragas' metrics with one model; what it judged before it takes from its cache, free of cost."""

    def __init__(
        self, settings: ModelSettings, embedder: Embedder, *, cache: Path | None = None, prices: PriceTable = NO_PRICES
    ) -> None:
        """Raises `NoJudge` where the settings name no model."""
        if not settings.model:
            raise NoJudge
        self._model, self._service = settings.model, settings.base_url
        key = settings.api_key.get_secret_value() if settings.api_key else None
        self._pool = ClientPool(
            Endpoint(
                base_url=settings.base_url, api_key=key, read_timeout=max(settings.timeout_s, READ_SECONDS),
                retries=RETRIES,
            )
        )  # fmt: skip
        self._embedder = embedder
        self._cache = cache
        self._prices = prices
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._metrics: dict[str, BaseMetric] | None = None

    @property
    def name(self) -> str:
        """The library, the model and where it answers."""
        return f"ragas {version('ragas')}, {self._model} at {self._service or 'openai'}"

    async def score(self, case: Case, response: Response) -> Verdict:
        """Return the scores of every metric that has what it needs, and a sentence for each that failed."""
        contexts = list(response.contexts[:CONTEXTS])
        text = strip_marks(response.text)
        answer = {"user_input": case.user_input, "response": text}
        asked: dict[str, dict[str, Any]] = {"response_relevancy": answer}
        if contexts:
            asked["faithfulness"] = _ask_faithfulness(case.user_input, text, contexts)
        if contexts and case.reference:
            judged = {"user_input": case.user_input, "reference": case.reference, "retrieved_contexts": contexts}
            asked |= {"judged_context_precision": judged, "judged_context_recall": judged}
        outcomes = dict(zip(asked, await asyncio.gather(*(self._judge(m, v) for m, v in asked.items())), strict=True))
        scores = {metric: one.score for metric, one in outcomes.items()}
        errors = {metric: one.error for metric, one in outcomes.items() if one.error is not None}
        if "faithfulness" in outcomes:
            faithful = scores["faithfulness"]
            scores["hallucination"] = None if faithful is None else 1 - faithful
        if "faithfulness" in errors:
            errors["hallucination"] = errors["faithfulness"]
        return Verdict(
            scores=scores, errors=errors, cost_usd=add_costs(one.cost_usd for one in outcomes.values()),
            calls=tuple(call for one in outcomes.values() for call in one.usage),
        )  # fmt: skip

    async def judge_faithfulness(self, question: str, answer: str, sources: Sequence[str]) -> Judged:
        """Return the share of the answer's claims that the judge finds in the sources, of which none is left out."""
        return await self._judge("faithfulness", _ask_faithfulness(question, answer, sources))

    def forecast_usd(self) -> Decimal | None:
        """Return what judging one answer of usual length costs, None where the price is not known."""
        words, context = USUAL_QUESTION + USUAL_ANSWER, USUAL_CONTEXT
        calls = [
            *_foretell_faithfulness(USUAL_QUESTION, USUAL_ANSWER, CONTEXTS * context),
            *[(PROMPT_CHARACTERS["response_relevancy"] + USUAL_ANSWER, 30)] * 3,  # questions
            *[(PROMPT_CHARACTERS["judged_context_precision"] + words + context, 60)] * CONTEXTS,
            (PROMPT_CHARACTERS["judged_context_recall"] + words + CONTEXTS * context, 200),
        ]
        return self._price(calls)

    def forecast_faithfulness(self, question: str, answer: str, sources: Sequence[str]) -> Decimal | None:
        """Return about what `judge_faithfulness` will cost: nothing where it is cached, None without a price."""
        if self._read(self._key("faithfulness", _ask_faithfulness(question, answer, sources))) is not None:
            return Decimal(0)
        return self._price(_foretell_faithfulness(len(question), len(answer), sum(map(len, sources))))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._pool.aclose()

    async def _judge(self, metric: str, values: Mapping[str, Any]) -> Judged:
        key = self._key(metric, values)
        kept = self._read(key)
        if kept is not None:
            return Judged(kept, None, (), cached=True)
        async with self._turns:
            with _counting() as usage:
                score, error = await self._attempt(metric, values)
        if score is not None:
            self._write(key, score)
        return Judged(score, error, tuple(usage), prices=self._prices)

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
            return None, "The judge found nothing to judge in the answer; read it, or choose another model."
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

            # it logs replies it can't use, with the words of those who are quoted in them
            logging.getLogger("instructor").setLevel(logging.CRITICAL)
            client = self._pool.get_client()
            llm = llm_factory(self._model, client=client, max_tokens=MAX_TOKENS, temperature=TEMPERATURE)
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
            cached = count_cached(used) if used else 0
            spent.append(Usage(self._model, read, written, service=self._service, cached_tokens=cached))

    def _key(self, metric: str, values: Mapping[str, Any]) -> str:
        """Return a name for this judgement by all it depends on: judge, address, library, embedder and every word."""
        whole = [self.name, version("instructor"), self._embedder.name, MAX_TOKENS, TEMPERATURE, metric, values]
        return hashlib.sha256(orjson.dumps(whole, option=orjson.OPT_SORT_KEYS)).hexdigest()

    def _read(self, key: str) -> float | None:
        if self._cache is None:
            return None
        try:
            return float(orjson.loads((self._cache / f"{key}.json").read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            _log.warning("cached_judgement_unusable", key=key, error=type(error).__name__)  # so it is judged anew
            return None

    def _write(self, key: str, score: float) -> None:
        if self._cache is not None:
            self._cache.mkdir(parents=True, exist_ok=True)
            written = self._cache / f"{key}.{os.getpid()}.part"
            written.write_bytes(orjson.dumps(score))
            written.replace(self._cache / f"{key}.json")

    def _price(self, calls: Sequence[tuple[float, float]]) -> Decimal | None:
        """Return the price of calls, each of so many characters read and tokens written."""
        read = sum(characters for characters, _ in calls) / CHARACTERS_A_TOKEN
        asked = Usage(self._model, round(read), round(sum(out for _, out in calls)), service=self._service)
        return price(asked, prices=self._prices)


def _ask_faithfulness(question: str, answer: str, sources: Sequence[str]) -> dict[str, Any]:
    return {"user_input": question, "response": answer, "retrieved_contexts": list(sources)}


def _foretell_faithfulness(question: int, answer: int, sources: int) -> list[tuple[float, float]]:
    """Return both calls' characters read and tokens written, from the lengths in characters."""
    claims = 1.5 * answer  # the answer again, its pronouns resolved, in quotation marks
    return [
        (PROMPT_CHARACTERS["statements"] + question + answer, claims / CHARACTERS_A_TOKEN),
        (PROMPT_CHARACTERS["verdicts"] + sources + claims, 2.5 * claims / CHARACTERS_A_TOKEN),  # each with its reason
    ]


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

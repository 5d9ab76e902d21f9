"""Proposes claims of one session by a language model: asked stretch by stretch, held to its quotes, priced."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from db.session import Principal
from domain.chat import Failure, RunStatus
from pipelines.evidence.locate import locate_quote
from pipelines.evidence.locate_index import QuoteIndex
from pipelines.evidence.model.ask import Answered, Asking, ask_for_claims
from pipelines.evidence.model.prompts import hash_prompt
from pipelines.evidence.model.record import begin_run, end_run
from pipelines.evidence.model.reply import ReadClaim, clean
from pipelines.evidence.model.support import MIN_SUPPORT, SCORER, obeys, prove_days, score_support, turns_round
from pipelines.evidence.model.windows import Window, cut_windows
from pipelines.evidence.records import Candidate, Located, Method, ProposedClaim, QuoteRole, SessionText
from rag.answer_models import ModelChoice
from rag.costs import add_costs
from rag.lexical import list_words, term_indices
from rag.providers.chain import ProviderFailure
from rag.providers.protocol import Usage

METHOD_NAME: Final = "model/1"
MODEL_VERSION: Final = f"{METHOD_NAME} {hash_prompt()}"
"""What a session's claims were proposed by; another prompt is another version."""
ASKED_AT_ONCE: Final = 3
"""Stretches of one session; more would only meet the service's limit of requests."""
_POINTS: Final = re.compile(r"(?:I|we|you|he|she|they|it)(?:['’]\w+)?\b", re.IGNORECASE)
"""A statement that begins so says of nobody in particular."""
LONGEST_MODEL_NAME: Final = 100  # characters; the service tells it, so it may be anything


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelProposal:
    """What models proposed of one session, what that took, and what failed on the way.

    `cost_usd` is None where a price is not known; `dropped` counts what was not proposed, by reason.
    """

    claims: Sequence[ProposedClaim] = ()
    usage: Sequence[Usage] = ()
    cost_usd: Decimal | None = Decimal(0)
    failures: Sequence[ProviderFailure] = ()
    dropped: Counter[str] = field(default_factory=Counter)
    windows: int = 0
    answered: int = 0
    run_id: UUID | None = None
    stopped: str | None = None
    """Why the budget let no more be asked."""

    missed: int = 0
    """Stretches without an answer that may come another time."""

    @property
    def whole(self) -> bool:
        """Whether asking again would bring nothing: a stretch that only its own words kept from an answer counts."""
        return not self.missed and (self.answered > 0 or not self.windows)


async def propose_by_model(
    text: SessionText, models: Sequence[ModelChoice], *, record: Principal | None = None
) -> ModelProposal:
    """Return the claims that the models propose for a session, each with a statement that its located quotes support.

    `record` is the pipelines' principal of the tenant: the run, its cost and its failures are kept under it, and every
    request stays within the tenant's limits; without it nothing is kept and nothing limited. What a model sends or
    fails at never raises. Raises `QuotaExceeded` where not one request fits; later ones end the proposal early
    (`stopped`). Raises what the store raises.
    """
    windows = cut_windows(text)
    if not models or not windows:
        return ModelProposal(windows=len(windows), missed=len(windows))
    began = time.monotonic()
    held_on = text.held_at.date() if text.held_at else None
    run_id = await begin_run(record, text.transcript_id) if record else None
    asking = Asking(models, held_on, record, run_id)
    answers: list[Answered | None] = []
    claims: list[ProposedClaim] = []
    status: RunStatus = "cancelled"
    try:
        answers = await _ask_all(asking, windows)
        claims = await asyncio.to_thread(_propose_all, asking, answers, text)
        status = "succeeded" if any(answers) else "failed"
    except Exception:
        status = "failed"
        raise
    finally:
        if record and run_id:
            failures = [Failure(one.error, f"{one.provider}: {one.message}", one.retryable) for one in asking.failures]
            if asking.stopped:
                failures.append(Failure(asking.stopped.code, asking.stopped.message, retryable=False))
            facts = _describe(asking, text, windows, answers, claims) | {"seconds": round(time.monotonic() - began, 3)}
            await end_run(record, run_id, status, metadata=facts, failures=failures)
    if asking.stopped and not any(answers):
        raise asking.stopped
    return ModelProposal(
        claims=claims, usage=tuple(asking.usage), cost_usd=add_costs(asking.costs), failures=tuple(asking.failures),
        dropped=+asking.dropped, windows=len(windows), answered=_count(answers), run_id=run_id,
        missed=asking.missed,
        stopped=asking.stopped.message if asking.stopped else None,
    )  # fmt: skip


async def _ask_all(asking: Asking, windows: Sequence[Window]) -> list[Answered | None]:
    """Return every stretch's answer in the order of the text."""
    free = asyncio.Semaphore(ASKED_AT_ONCE)

    async def ask(window: Window) -> Answered | None:
        async with free:
            return await ask_for_claims(asking, window)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(window)) for window in windows]
    except ExceptionGroup as several:
        raise several.exceptions[0] from None  # the store's; the others were hung up on
    return [task.result() for task in tasks]


def _propose_all(asking: Asking, answers: Iterable[Answered | None], text: SessionText) -> list[ProposedClaim]:
    """Return the claims of all replies that hold, each once: stretches overlap, and models repeat themselves."""
    index = QuoteIndex.of(text)
    claims: dict[tuple[object, ...], ProposedClaim] = {}
    for answered in answers:
        if answered is None:
            continue
        model = str(clean(answered.model))[:LONGEST_MODEL_NAME] or None
        method = Method(name=METHOD_NAME, model_name=model, prompt_hash=hash_prompt(), run_id=asking.run_id)
        for read in answered.reply.claims:
            claim = _propose(read, text, index, method, asking.dropped)
            if claim is None:
                continue
            same = (claim.claim_type, *list_words(claim.statement), *list_words(claim.quotes[0][0].exact))
            if same in claims:
                asking.dropped["duplicate"] += 1
            claims.setdefault(same, claim)
    return list(claims.values())


def _propose(
    read: ReadClaim, text: SessionText, index: QuoteIndex, method: Method, dropped: Counter[str]
) -> ProposedClaim | None:
    """Return the claim as it may be proposed, or None and the reason among `dropped`.

    Only words that stand in the session support it: a quote that is not there is passed on for the gate to refuse and
    count, and proves nothing here.
    """
    claim = read.claim
    if _POINTS.match(claim.statement):
        dropped["not_self_contained"] += 1
        return None
    candidates: list[tuple[Candidate, QuoteRole]] = [
        (Candidate(exact=one.words, speaker=_bare(one.speaker), turn_index=one.turn), one.role) for one in read.quotes
    ]
    found = [(locate_quote(candidate, index), role) for candidate, role in candidates]
    quotes = [one for one, role in found if role == "supporting" and isinstance(one, Located)]
    score, begins, ends, subject, modality = None, read.valid_from, read.valid_to, claim.subject, claim.modality
    if quotes:  # without, the gate refuses all of it and says why
        words = [quote.exact for quote in quotes]
        held_on = text.held_at.date() if text.held_at else None
        (begins, ends), unproved = prove_days(claim.type, (begins, ends), words, held_on)
        dropped["unproved_day"] += unproved
        score = score_support(claim.statement, words, names=_list_names(text), days=(begins, ends))
        if score < MIN_SUPPORT:
            dropped["unsupported"] += 1
            return None
        if obeys(claim.statement, text, quotes):
            dropped["obeys_the_session"] += 1
            return None
        if subject and not set(term_indices(subject)) <= set(term_indices(" ".join(words))):
            subject = None  # not as it was said
        if modality == "stated" and turns_round(claim.statement, words):
            modality = "inferred"
    # the main quote comes first
    candidates.sort(key=lambda one: one[1] != "supporting")
    return ProposedClaim(
        claim_type=claim.type, statement=claim.statement, modality=modality, quotes=tuple(candidates), method=method,
        holder=_bare(claim.holder), subject=subject, polarity=claim.polarity, valid_from=begins, valid_to=ends,
        support_score=None if score is None else round(score, 4), scorer=None if score is None else SCORER,
    )  # fmt: skip


def _bare(name: str | None) -> str | None:
    """Return a name without the role that the model was told beside it."""
    for role in (" (client)", " (coach)"):
        name = name.removesuffix(role) if name else name
    return name or None


def _list_names(text: SessionText) -> list[str]:
    return [*text.names.values(), *{turn.speaker for turn in text.turns if turn.speaker}]


def _count(answers: Iterable[Answered | None]) -> int:
    return sum(one is not None for one in answers)


def _describe(
    asking: Asking,
    text: SessionText,
    windows: Sequence[Window],
    answers: Sequence[Answered | None],
    claims: Sequence[ProposedClaim],
) -> dict[str, Any]:
    """Return what is kept of the run; the cost counts towards the budget, so what is known of it is never left out."""
    cost = add_costs(asking.costs)
    known = sum((one for one in asking.costs if one is not None), Decimal(0))
    return {
        "transcript_id": str(text.transcript_id),
        "content_hash": text.content_hash,
        "models": sorted({str(clean(usage.model))[:LONGEST_MODEL_NAME] for usage in asking.usage}),
        "input_tokens": sum(usage.input_tokens or 0 for usage in asking.usage),
        "output_tokens": sum(usage.output_tokens or 0 for usage in asking.usage),
        "cost_usd": str(known) if cost is not None or known else None,
        "cost_known": cost is not None,
        "requests": asking.requests,
        "estimated": asking.estimated,
        "windows": len(windows),
        "answered": _count(answers),
        "missed": asking.missed,
        "claims": len(claims),
        "dropped": dict(+asking.dropped),
        "prompt_hash": hash_prompt(),
    }

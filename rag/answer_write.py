"""Writes an answer's sentences: a model's that hold to their sources, else quotes, else the refusal."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from core.logging import get_logger
from db.session import tenant_session
from domain.consents import list_withheld
from domain.reading import record_reading
from rag.answer_models import ModelChoice
from rag.answer_quota import REWRITE_TOKENS, cover_call, note_call
from rag.answer_run import EXTRACTIVE, Run
from rag.evidence import Evidence, gather_evidence, list_read
from rag.evidence_notes import Note, choose_evidence, list_notes
from rag.passages import Passage
from rag.prompts import Prompt, build_answer_prompt
from rag.providers.chain import AnswerInterrupted, NoProviderAnswered, ProviderFailure, open_answer
from rag.providers.protocol import Message
from rag.standing import check_standing, note_checked
from rag.synthesize import AnswerSentence, Material, describe_source, load_material
from rag.synthesize_evidence import add_evidence
from rag.synthesize_extractive import answer_by_quotes, refuse
from rag.synthesize_model import GroundedAnswer
from rag.understand_evidence import find_asked_evidence
from rag.understand_topic import list_topic_words

_log = get_logger("answer")


def ask_models(run: Run) -> Callable[[Prompt], Awaitable[str]]:
    """Return a call of the run's models that collects a short answer."""

    async def ask(prompt: Prompt) -> str:
        said = ""
        for choice in run.models:
            if not await cover_call(run, choice, prompt, max_tokens=REWRITE_TOKENS):
                continue
            begun, told = False, None
            try:
                async with open_answer([choice.provider], _messages(prompt), max_tokens=REWRITE_TOKENS) as opened:
                    begun = True
                    async for piece in opened.pieces:
                        said += piece.text
                        if piece.usage:
                            told = piece.usage
            except (NoProviderAnswered, AnswerInterrupted) as error:
                _note_failure(run, error)
            else:
                return said
            finally:
                if begun:
                    note_call(run, choice, prompt, told, said)
            said = ""
        raise NoProviderAnswered(run.failures)

    return ask


def _messages(prompt: Prompt) -> list[Message]:
    return [Message("system", prompt.system), Message("user", prompt.user)]


def _note_failure(run: Run, error: NoProviderAnswered | AnswerInterrupted) -> None:
    found = error.failures if isinstance(error, NoProviderAnswered) else (error.failure,)
    run.failures += found
    for failure in found:
        _log.warning("provider_failed", provider=failure.provider, error=failure.error)


async def _keep_inside(session: AsyncSession, run: Run, evidence: Evidence) -> None:
    """Leave out the models outside this machine where anyone whom the material is about sends them no words."""
    if run.may_leave:
        quoted = (quote.client_id for claim in evidence.claims.values() for quote in claim.quotes)
        about = {*quoted, *(passage.client_id for passage in run.passages)}
        if about & await list_withheld(session, "external_model"):
            run.keep_inside()


async def write_answer(run: Run) -> AsyncGenerator[AnswerSentence, None]:
    """Yield the answer's sentences as they are settled: a model's that hold, else quotes, else the refusal."""
    assert run.understanding is not None  # noqa: S101  # the caller has searched
    if not run.passages:
        run.clock.enter("write")
        for sentence in run.take(refuse(run.understanding, run.coverage)):
            yield sentence
        return
    run.clock.enter("read")
    asked = find_asked_evidence(run.understanding.question)
    async with tenant_session(run.reader) as session:
        await check_standing(session, run)  # the caller may have looked at the sources for any time
        loaded = await load_material(session, run.understanding.question, run.passages)
        evidence = await gather_evidence(
            session, asked, list_topic_words(run.understanding), run.understanding.scope, run.passages
        )
        await record_reading(session, "evidence_read", list_read(evidence))
        await _keep_inside(session, run, evidence)
    run.material = material = add_evidence(loaded, evidence)
    note_checked(run)
    run.clock.enter("write")
    if run.models:
        told = add_evidence(loaded, choose_evidence(evidence, asked, loaded.idf))
        notes = list_notes(told)
    for choice in run.models:
        grounded = GroundedAnswer(told, run.embedder, notes)
        async for sentence in _write_with(run, choice, grounded, told, notes):
            run.sentences.append(sentence)
            run.citations = grounded.citations
            yield sentence
        run.dropped += grounded.dropped
        if grounded.sentences or grounded.declined:
            run.provider, run.support = choice.provider.name, grounded.best_support
            if not grounded.sentences:
                for sentence in run.take(refuse(run.understanding, run.coverage)):
                    yield sentence
            return
        if grounded.dropped:
            said = "No sentence of its answer held to its sources."
            run.failures.append(ProviderFailure(choice.provider.name, "Ungrounded", said, retryable=False))
    run.provider = EXTRACTIVE
    quotes = await answer_by_quotes(material, run.understanding, run.coverage, run.embedder)
    for sentence in run.take(quotes):
        yield sentence


async def _write_with(
    run: Run, choice: ModelChoice, grounded: GroundedAnswer, material: Material, notes: Sequence[Note]
) -> AsyncGenerator[AnswerSentence, None]:
    assert run.understanding is not None  # noqa: S101  # the caller has searched
    prompt = build_answer_prompt(
        run.understanding.question,
        [_describe(passage, material, n) for n, passage in enumerate(material.passages)],
        [(note.text, [n + 1 for n in note.passages]) for note in notes],
    )
    if not await cover_call(run, choice, prompt, max_tokens=choice.max_tokens):
        return
    begun, told, said = False, None, list[str]()
    try:
        async with open_answer(
            [choice.provider], _messages(prompt), max_tokens=choice.max_tokens, temperature=choice.temperature
        ) as opened:
            begun = True
            async for piece in opened.pieces:
                said.append(piece.text)
                if piece.usage:
                    told = piece.usage
                for sentence in await grounded.take(piece.text):
                    yield sentence
    except (NoProviderAnswered, AnswerInterrupted) as error:
        _note_failure(run, error)
        return  # what it had begun to say may be half a sentence
    finally:  # also where the caller hangs up: what was sent is paid for
        if begun:
            note_call(run, choice, prompt, told, "".join(said))
    for sentence in await grounded.finish():
        yield sentence


def _describe(passage: Passage, material: Material, number: int) -> tuple[str, str]:
    """Return the heading and text of a passage for a prompt, with who speaks before each turn."""
    lines: list[str] = []
    turn = None
    for sentence in material.sentences:
        if sentence.passage != number:
            continue
        if sentence.speaker and sentence.turn != turn:
            lines.append(f"{sentence.speaker}: {sentence.text}")
        elif lines:
            lines[-1] += f" {sentence.text}"
        else:
            lines.append(sentence.text)
        turn = sentence.turn
    return f"from {describe_source(passage)} ({passage.title})", "\n".join(lines) or passage.text

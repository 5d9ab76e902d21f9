"""Search: the passages of what a reader may see that bear on a question, exactly ranked, in one round trip.

Every chunk in scope is scored by words (BM25) and by meaning (inner product), both as standard scores over the
scope. Neighbours support each other and the best stretch around a chunk counts, so that one sharp hit and a long
discussion compete on equal terms. Then small chunks grow into the passages they are part of.
"""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Invalid
from db.session import BOUND_TO, HAS_PARTITION, Principal
from domain.consents import list_withheld
from rag.embedding import Embedder, is_outside
from rag.lexical import term_indices
from rag.passages import Passage, Retrieval, Scope
from rag.retrieve_sql import CANDIDATES, SAMPLE, VISIBLE, bind_scope, search_statement

MOST_PASSAGES: Final = 100
EXACT_UP_TO: Final = 30_000
"""Chunks a reader may see that are all scored; beyond, a tenant's own indexes choose which ones."""
LONGEST_QUESTION: Final = 10_000  # characters
UNITS_A_PASSAGE: Final = 4
LIKENESS: Final = 0.85
"""A neighbour with this share of the best chunk's score belongs to its passage."""

_ASKING: Final = frozenset(
    term_indices(
        "who what which when where why how about say said tell told think thought talk speak spoke mention discuss "
        "discussion describe explain summarize summarise summary opinion regarding concerning according meeting "
        "session conversation"
    )
)
"""Terms that ask: where sources hold them they are about something else."""


class UnusableQuestion(Invalid):
    """This question can't be searched for; ask in 1 to 10,000 characters and for 1 to 100 passages."""


async def retrieve(
    session: AsyncSession,
    embedder: Embedder | None,
    question: str,
    *,
    top_k: int = 10,
    scope: Scope | None = None,
    exact_up_to: int = EXACT_UP_TO,
) -> Retrieval:
    """Return the `top_k` best passages that the session's reader may see, best first.

    Without an embedder, or with another than the tenant's chunks are embedded by, or one outside this machine where the
    reader sends no words to, words alone decide. Scores compare only within one result. A tenant with a search
    partition of its own is searched by its indexes where the reader may see more than `exact_up_to` chunks and the
    scope names no part of them; everything else is exact. Raises `UnusableQuestion`.
    """
    if not question.strip() or len(question) > LONGEST_QUESTION or not 1 <= top_k <= MOST_PASSAGES:
        raise UnusableQuestion
    scope = scope or Scope()
    units = top_k * UNITS_A_PASSAGE
    values: dict[str, Any] = {
        "terms": choose_terms(question),
        "units": units,
        "candidates": max(CANDIDATES, units),
        **bind_scope(scope),
    }
    reader: Principal | None = session.info.get(BOUND_TO)
    if embedder is not None and is_outside(embedder) and reader is not None:
        # the question is its asker's words
        embedder = None if reader.user_id in await list_withheld(session, "external_model") else embedder
    if embedder is not None:
        (vector,) = await embedder.embed([question])
        values |= {"model": embedder.name, "vector": f"[{','.join(f'{x:.5g}' for x in vector.tolist())}]"}
    by_index = False
    if embedder is not None and scope == Scope() and session.info.get(HAS_PARTITION):
        visible = (await session.execute(VISIBLE)).one()
        by_index = visible.chunks > exact_up_to
        values |= {
            "chunks": visible.chunks,
            "sources": visible.sources,
            "percent": min(100.0, 100.0 * SAMPLE / max(visible.chunks, 1)),
        }
    as_system = reader is not None and reader.role == "system"
    statement = search_statement(scope, with_meaning=embedder is not None, by_index=by_index, as_system=as_system)
    rows = (await session.execute(statement, values)).all()
    found = [row for row in rows if row.id is not None]
    return Retrieval(
        passages=tuple(_join(run) for run in grow(found, top_k)),
        chunks_in_scope=rows[0].chunks,
        sources_in_scope=rows[0].sources,
    )


def choose_terms(question: str) -> list[int]:
    """Return the question's terms without those that only ask, unless there are no others."""
    terms = term_indices(question)
    return [term for term in terms if term not in _ASKING] or terms


def grow(units: Sequence[Any], most: int) -> list[list[Any]]:
    """Join units, given best first, into runs of adjacent ones, each named by its best and no unit in two.

    A unit has `source_id`, `chunk_index` and `score`. Runs come in the order of their best units.
    """
    by_place: dict[tuple[UUID, int], Any] = {(unit.source_id, unit.chunk_index): unit for unit in units}
    runs: list[list[Any]] = []
    for best in units:
        if len(runs) == most:
            break
        if by_place.pop((best.source_id, best.chunk_index), None) is None:
            continue
        run = [best]
        while len(run) < UNITS_A_PASSAGE:
            sides = (run[0].chunk_index - 1, run[-1].chunk_index + 1)
            near = [unit for index in sides if (unit := by_place.get((best.source_id, index))) is not None]
            nearest = max(near, key=lambda unit: unit.score, default=None)
            if nearest is None or best.score <= 0 or nearest.score < LIKENESS * best.score:
                break
            del by_place[nearest.source_id, nearest.chunk_index]
            run = [nearest, *run] if nearest.chunk_index < run[0].chunk_index else [*run, nearest]
        runs.append(run)
    return runs


def _join(run: Sequence[Any]) -> Passage:
    first, last = run[0], run[-1]
    pages = [page for unit in run for page in (unit.page_first, unit.page_last) if page is not None]
    return Passage(
        chunk_ids=tuple(unit.id for unit in run), source_id=first.source_id, source_kind=first.source_kind,
        object_id=first.object_id, title=first.title, content_hash=first.content_hash, held_at=first.held_at,
        client_id=first.client_id, coaching_session_id=first.coaching_session_id,
        text=_join_text(run), char_start=first.char_start, char_end=last.char_end,
        segment_first=first.segment_first, segment_last=last.segment_last,
        speakers=tuple(dict.fromkeys(speaker for unit in run for speaker in unit.speakers)),
        started_s=first.started_s, ended_s=last.ended_s,
        page_first=min(pages, default=None), page_last=max(pages, default=None),
        heading=first.heading, score=max(unit.score for unit in run),
    )  # fmt: skip


def _join_text(run: Sequence[Any]) -> str:
    """Return the source's text from the first unit to the last; between chunks it holds line breaks alone."""
    text = ""
    end = run[0].char_start
    for unit in run:
        text += "\n" * (unit.char_start - end) + unit.text
        end = unit.char_end
    return text

"""`regenesis search`: ranked passages, each with its source, speaker, time and score."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import JsonOption, TenantOption, UserOption, get_console, print_json, run_async

if TYPE_CHECKING:
    from datetime import datetime

    from rag.passages import Passage, Retrieval


_STEPS = {
    "searchable": "passages of the organisation", "by_permission": "removed by permission",
    "by_scope": "removed by scope", "by_score": "removed by score", "kept": "left for the assistant",
}  # fmt: skip


def search(
    question: Annotated[str, typer.Argument(help="What to look for, in words.")],
    tenant: TenantOption,
    user: UserOption,
    top_k: Annotated[int, typer.Option(min=1, max=100, help="Passages at most.")] = 10,
    *,
    why: Annotated[
        str | None,
        typer.Option(metavar="ADMIN", help="Count what was left out by what, as this administrator, by e-mail."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find the passages that bear on a question, best first; or `--why` they are not found."""
    if why is not None:
        trace = run_async(_trace(question, tenant, user, why))
        if as_json:
            print_json(trace)
        else:
            _print_trace(trace)
        return
    found = run_async(_search(question, tenant, user, top_k))
    if as_json:
        print_json(
            {
                "passages": [_to_json(rank, passage) for rank, passage in enumerate(found.passages, 1)],
                "chunks_in_scope": found.chunks_in_scope,
                "sources_in_scope": found.sources_in_scope,
            }
        )
        return
    _print(found)


async def _search(question: str, tenant: str, user: str, top_k: int) -> "Retrieval":
    from core.settings import get_settings
    from db.session import tenant_session
    from domain.identity import get_principal
    from domain.reading import list_passages_read, record_reading
    from pipelines.ingest import load_embedder
    from rag.embedding.memory import VectorMemory
    from rag.retrieve import retrieve
    from rag.spending import prepare_question

    reader = await get_principal(tenant, user)
    loaded = await load_embedder(get_settings())
    embedder = await prepare_question(reader.as_system(), loaded, question, memory=VectorMemory())
    async with tenant_session(reader) as session:
        found = await retrieve(session, embedder, question, top_k=top_k)
        await record_reading(session, "passages_retrieved", list_passages_read(found.passages))
        return found


async def _trace(question: str, tenant: str, user: str, administrator: str) -> dict[str, Any]:
    from core.settings import get_settings
    from domain.identity import get_principal
    from pipelines.ingest import load_embedder
    from rag.answer import Assistant
    from rag.trace import trace_search_of

    assistant = Assistant(await load_embedder(get_settings()))
    traced = await trace_search_of(await get_principal(tenant, administrator), user, question, assistant=assistant)
    return traced.to_json()


def _print_trace(trace: dict[str, Any]) -> None:
    console = get_console()
    for name, words in _STEPS.items():
        if trace[name] is not None:
            console.print(f"{trace[name]:>9,}  {words}")
    console.print(trace["verdict"])


def _to_json(rank: int, passage: "Passage") -> dict[str, Any]:
    return {
        "rank": rank,
        "score": round(passage.score, 6),
        "source_id": passage.source_id,
        "source_kind": passage.source_kind,
        "title": passage.title,
        "held_at": passage.held_at.isoformat() if passage.held_at else None,
        "speakers": passage.speakers,
        "started_s": passage.started_s,
        "ended_s": passage.ended_s,
        "pages": [passage.page_first, passage.page_last] if passage.page_first is not None else None,
        "heading": passage.heading,
        "char_start": passage.char_start,
        "char_end": passage.char_end,
        "text": passage.text,
    }


def format_day(moment: "datetime") -> str:
    """Return the day as a person writes it."""
    return f"{moment.day} {moment:%B %Y}"


def format_seconds(seconds: float) -> str:
    """Return a time in a recording as a player shows it."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _print(found: "Retrieval") -> None:
    from rich.markup import escape
    from rich.padding import Padding

    console = get_console()
    for rank, passage in enumerate(found.passages, 1):
        where = [passage.title]
        if passage.held_at:
            where.append(format_day(passage.held_at))
        if passage.started_s is not None:
            where.append(format_seconds(passage.started_s))
        if passage.page_first is not None:
            where.append(f"page {passage.page_first}")
        if passage.speakers:
            where.append(", ".join(passage.speakers))
        console.print(f"[bold]{rank}[/]  {escape(' · '.join(where))}  [dim]score {passage.score:.3f}[/]")
        console.print(Padding(escape(passage.text), (0, 0, 1, 3)))
    sources = f"{found.sources_in_scope} source{'' if found.sources_in_scope == 1 else 's'}"
    console.print(f"[dim]{len(found.passages)} of {found.chunks_in_scope} chunks in {sources} that you may see[/]")

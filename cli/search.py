"""`regenesis search`: ranked passages, each with its source, speaker, time and score."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import JsonOption, TenantOption, UserOption, get_console, print_json, run_async

if TYPE_CHECKING:
    from datetime import datetime

    from rag.passages import Passage, Retrieval


def search(
    question: Annotated[str, typer.Argument(help="What to look for, in words.")],
    tenant: TenantOption,
    user: UserOption,
    top_k: Annotated[int, typer.Option(min=1, max=100, help="Passages at most.")] = 10,
    *,
    as_json: JsonOption = False,
) -> None:
    """Find the passages that bear on a question, best first."""
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
    from pipelines.ingest import load_embedder
    from rag.retrieve import retrieve

    reader = await get_principal(tenant, user)
    embedder = await load_embedder(get_settings())
    async with tenant_session(reader) as session:
        return await retrieve(session, embedder, question, top_k=top_k)


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

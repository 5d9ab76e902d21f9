"""`regenesis ask`: one answer, each sentence with a numbered citation of someone's exact words."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from cli.console import JsonOption, TenantOption, UserOption, get_console, print_json, run_async

if TYPE_CHECKING:
    from rich.console import Console

    from core.settings import Settings
    from db.session import Principal
    from domain.citations import CitationView
    from rag.answer import Done


def ask(
    question: Annotated[str, typer.Argument(help="The question, in words.")],
    tenant: TenantOption,
    user: UserOption,
    session: Annotated[UUID | None, typer.Option(metavar="ID", help="Continue this conversation.")] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Answer a question from what the user may see, or say what was searched in vain."""
    from core.settings import get_settings

    async def work() -> "Done":
        from domain.identity import get_principal

        return await answer_question(get_settings(), await get_principal(tenant, user), question, session_id=session)

    if as_json:
        print_json(to_json(run_async(work())))
        return
    console = get_console()
    if console.is_terminal:
        with console.status("Reading …"):
            done = run_async(work())
    else:
        done = run_async(work())
    print_answer(console, done)


async def answer_question(
    settings: "Settings", reader: "Principal", question: str, *, session_id: UUID | None = None
) -> "Done":
    """Return the whole answer."""
    from pipelines.ingest import load_embedder
    from rag.answer import Assistant, Done, answer

    assistant = Assistant(await load_embedder(settings), settings.llm)
    done = None
    async for event in answer(assistant, reader, question, session_id=session_id):
        if isinstance(event, Done):
            done = event  # the last one, but whoever leaves a generator early cancels the answer
    assert done is not None  # noqa: S101  # what rag.answer promises
    return done


def to_json(done: "Done") -> dict[str, Any]:
    """Return the answer for programs."""
    return {
        "answer": done.text,
        "sentences": [asdict(sentence) for sentence in done.sentences],
        "citations": [asdict(citation) for citation in done.citations],
        "coverage": asdict(done.coverage),
        "understood": done.understood,
        "refused": done.refused,
        "provider": done.provider,
    }


def describe_place(citation: "CitationView") -> str:
    """Return who said it, when and where, as a person would write it."""
    from cli.search import format_day, format_seconds

    parts = [citation.speaker] if citation.speaker else []
    parts.append(citation.title)
    if citation.held_at:
        parts.append(format_day(citation.held_at))
    if citation.started_s is not None:
        parts.append(format_seconds(citation.started_s))
    if citation.page is not None:
        parts.append(f"page {citation.page}")
    return " · ".join(parts)


def print_answer(console: "Console", done: "Done") -> None:
    """Print the answer, its citations and how much was searched."""
    from rich.markup import escape
    from rich.table import Table

    console.print(escape(done.text))
    if done.citations:
        table = Table.grid(padding=(0, 1))
        for citation in done.citations:
            quote = f"“{' '.join(citation.quote.split())}”"
            table.add_row(
                f"[cyan]\\[{citation.ordinal}][/]", f"{escape(quote)}\n[dim]{escape(describe_place(citation))}[/]"
            )
        console.print()
        console.print(table)
    searched = done.coverage
    understood = f"Understood: {done.understood}. " if done.understood else ""
    console.print(
        f"\n[dim]{escape(understood)}Examined {searched.sessions_examined} of {searched.sessions_in_scope} sessions and"
        f" {searched.documents_examined} of {searched.documents_in_scope} documents.[/]"
    )

"""Shows a stored answer that is proposed as a case, and asks whoever asked it what to make of it."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar
from uuid import UUID

import typer

from cli.console import get_console, print_error

if TYPE_CHECKING:
    from rich.console import Console
    from sqlalchemy.ext.asyncio import AsyncSession

    from db.session import Principal
    from evaluation.proposals import ProposalView

T = TypeVar("T")
RATED: Final = {1: "up", -1: "down"}


async def read_as(tenant: str, email: str, work: "Callable[[AsyncSession], Awaitable[T]]") -> "T":
    """Return what the work returns in one transaction as this person; raises `UserNotFound`."""
    from domain.identity import get_principal

    return await _in_session(await get_principal(tenant, email), work)


async def review(tenant: str, email: str, proposal_ids: Sequence[UUID]) -> int:
    """Ask about each proposal, no transaction open meanwhile; return how many were decided."""
    from core.errors import AppError
    from domain.identity import get_principal
    from evaluation.proposals import read_proposal

    reader = await get_principal(tenant, email)
    decided = 0
    for place, proposal_id in enumerate(proposal_ids, 1):
        typer.secho(f"\n{place} of {len(proposal_ids)}", dim=True)
        try:
            found = await _in_session(reader, partial(read_proposal, proposal_id=proposal_id))
        except AppError as error:  # somebody withdrew meanwhile
            print_error(error.message)
            continue
        print_proposal(get_console(), found)
        while (answer := _ask_what_to_do()) not in {"s", "q"}:
            try:
                await _decide(reader, found, answer)
            except AppError as error:
                print_error(error.message)
            else:
                decided += 1
                break
        if answer == "q":
            break
    return decided


def print_proposal(console: "Console", found: "ProposalView") -> None:
    """Print the question, the answer sentence by sentence, what it cites, and what its asker said of it."""
    from rich.markup import escape

    console.print(f"[bold]{found.id}[/]  {found.origin}, {found.status}, asked {found.asked_at:%Y-%m-%d %H:%M}")
    for earlier in found.earlier:
        console.print(f"[dim]before:[/] {escape(earlier)}")
    console.print(f"[bold]{escape(found.question)}[/]")
    for sentence in found.answer.sentences:
        marks = escape("".join(f"[{ordinal}]" for ordinal in sentence.citations))
        console.print(f"  {escape(sentence.text)} [cyan]{marks}[/]")
    for citation in found.answer.citations:
        said = f"{citation.speaker}: {citation.quote}" if citation.speaker else citation.quote
        mark = escape(f"[{citation.ordinal}]")
        console.print(f"  [cyan]{mark}[/] {escape(citation.title)} — {escape(said)}")
    if found.rating in RATED:
        why = "; ".join(filter(None, (found.rating_reason, found.comment)))
        console.print(f"  rated {RATED[found.rating]}{': ' if why else ''}{escape(why)}")
    if found.status == "confirmed":
        console.print(f"  asks: {escape(found.user_input or '')}")
        if not found.answerable:
            console.print("  can't be answered")
        if found.reference:
            console.print(f"  reference: {escape(found.reference)}")
        for words in found.reference_contexts:
            console.print(f"  stands on: {escape(words)}")


async def _in_session(reader: "Principal", work: "Callable[[AsyncSession], Awaitable[T]]") -> "T":
    from db.session import tenant_session

    async with tenant_session(reader) as session:
        return await work(session)


def _ask_what_to_do() -> str:
    while True:
        said: str = typer.prompt("[c]onfirm, [e]dit, [r]eject, [s]kip, [q]uit").strip().lower()[:1]
        if said in set("cersq"):
            return said
        print_error("Write the first letter of one of them.")


async def _decide(reader: "Principal", found: "ProposalView", answer: str) -> None:
    from evaluation.proposals import confirm_proposal, reject_proposal

    if answer == "r":
        reason = typer.prompt("Why it is no good case")
        await _in_session(reader, lambda session: reject_proposal(session, found.id, reason=reason))
        return
    question, answerable = None, True
    if answer == "e":
        question = typer.prompt("Question", default=found.question)
        answerable = typer.confirm("Can it be answered", default=True)
    quotes: Sequence[int] = ()
    reference = ""
    if answerable:
        if found.answer.citations:
            quotes = _ask_quotes([citation.ordinal for citation in found.answer.citations])
        reference = typer.prompt("What a good answer says, in your words", default="", show_default=False)
    await _in_session(
        reader,
        lambda session: confirm_proposal(
            session, found.id, user_input=question, reference=reference, quotes=quotes, answerable=answerable
        ),
    )


def _ask_quotes(there: Sequence[int]) -> list[int]:
    while True:
        said = typer.prompt("Citations that a good answer stands on: numbers, all or none", default="all")
        if said.strip() == "all":
            return list(there)
        words = [] if said.strip() == "none" else said.replace(",", " ").split()
        if all(word.isdecimal() for word in words):
            return [int(word) for word in words]
        print_error("Write numbers such as 1 3, or all, or none.")

"""`regenesis eval cases`: stored answers become cases of a suite, each confirmed by whoever asked."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from uuid import UUID

import typer

from cli.case_review import RATED, print_proposal, read_as
from cli.case_review import review as review_all
from cli.console import JsonOption, TenantOption, get_console, print_error, print_json, run_async

if TYPE_CHECKING:
    from evaluation.datasets import StoredSuite
    from evaluation.proposals import Origin, ProposalView, Status
    from evaluation.suites import Suite

app = typer.Typer(help="Make suites of stored answers, each case confirmed by whoever asked.", no_args_is_help=True)

MOST_LISTED: Final = 200
AsOption = Annotated[str, typer.Option("--as", metavar="EMAIL", help="Whose answers: only whoever asked decides.")]
OriginOption = Annotated[
    Literal["feedback", "production"] | None, typer.Option("--from", help="Only these: rated answers, or the sample.")
]
ProposalArgument = Annotated[UUID, typer.Argument(metavar="ID", help="As `regenesis eval cases list` shows it.")]


@app.command()
def propose(  # noqa: PLR0917  # options of a command line, given by name
    tenant: TenantOption,
    origin: Annotated[
        Literal["feedback", "production"],
        typer.Option("--from", help="Answers rated by whoever asked, or a random sample."),
    ] = "feedback",
    count: Annotated[int, typer.Option(min=1, max=1_000, help="At most so many.")] = 100,
    share: Annotated[float, typer.Option(min=0, max=1, help="Of a sample: the share of all answers.")] = 1.0,
    since: Annotated[datetime | None, typer.Option(help="Of a sample: answers since this time, in UTC.")] = None,
    seed: Annotated[int, typer.Option(help="Of a sample: another number draws others.")] = 0,
    *,
    as_json: JsonOption = False,
) -> None:
    """Propose answers that everyone whose words they hold lets be studied, and tell for whom how many wait."""
    since = None if since is None else since.replace(tzinfo=UTC)
    made, waiting = run_async(_propose(tenant, origin, count=count, share=share, since=since, seed=seed))
    if as_json:
        print_json({"proposed": made, "waiting": waiting})
        return
    typer.echo(f"{made:,} proposed from {origin}.")
    for email, number in waiting.items():
        typer.echo(f"{number:6,} wait for {email}; `regenesis eval cases review --tenant {tenant} --as {email}`")


@app.command("list")
def list_proposals(
    tenant: TenantOption,
    email: AsOption,
    status: Annotated[
        Literal["proposed", "confirmed", "rejected"] | None, typer.Option(help="Only those that are this.")
    ] = None,
    origin: OriginOption = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST_LISTED, help="The newest so many.")] = 50,
    *,
    as_json: JsonOption = False,
) -> None:
    """List your proposals, the newest first."""
    rows = run_async(_list(tenant, email, status, origin, limit))
    if as_json:
        print_json(rows)
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("id", "status", "from", "rated", "question"):
        table.add_column(heading)
    for row in rows:
        rated = RATED.get(row["rating"], "")
        table.add_row(str(row["id"]), row["status"], row["origin"], rated, escape(row["question"]))
    get_console().print(table if rows else "Nothing is proposed to you; `regenesis eval cases propose` proposes.")


@app.command()
def show(proposal: ProposalArgument, tenant: TenantOption, email: AsOption, *, as_json: JsonOption = False) -> None:
    """Show one proposal: the question, the answer with its citations, and what you said of it."""
    from evaluation.proposals import read_proposal

    found = run_async(read_as(tenant, email, lambda session: read_proposal(session, proposal)))
    if as_json:
        print_json(_to_json(found))
    else:
        print_proposal(get_console(), found)


@app.command()
def confirm(  # noqa: PLR0917  # options of a command line, given by name
    proposal: ProposalArgument,
    tenant: TenantOption,
    email: AsOption,
    question: Annotated[str | None, typer.Option(help="Ask this instead, where the question leans on others.")] = None,
    reference: Annotated[str | None, typer.Option(help="What a good answer says, in your words.")] = None,
    quote: Annotated[
        list[int] | None, typer.Option(metavar="N", help="A citation that a good answer stands on; again for more.")
    ] = None,
    *,
    unanswerable: Annotated[bool, typer.Option("--unanswerable", help="The right answer is a refusal.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a proposal a case: say what a good answer holds."""
    from evaluation.proposals import confirm_proposal

    found = run_async(
        read_as(
            tenant,
            email,
            lambda session: confirm_proposal(
                session, proposal, user_input=question, reference=reference, quotes=quote or (),
                answerable=not unanswerable,
            ),
        )
    )  # fmt: skip
    _say_decided(found, as_json=as_json)


@app.command()
def reject(
    proposal: ProposalArgument,
    tenant: TenantOption,
    email: AsOption,
    reason: Annotated[str, typer.Option(help="Why it is no good case.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Keep a proposal from becoming a case."""
    from evaluation.proposals import reject_proposal

    found = run_async(read_as(tenant, email, lambda session: reject_proposal(session, proposal, reason=reason)))
    _say_decided(found, as_json=as_json)


@app.command()
def review(tenant: TenantOption, email: AsOption, origin: OriginOption = None) -> None:
    """Go through what waits for you, one by one: confirm, edit, reject or skip."""
    if not has_terminal():
        print_error(
            "A review asks questions on a terminal; without one use `regenesis eval cases list`, `show`, `confirm` "
            "and `reject`."
        )
        raise typer.Exit(2)
    waiting = run_async(_list(tenant, email, "proposed", origin, MOST_LISTED))
    decided = run_async(review_all(tenant, email, [row["id"] for row in waiting]))
    typer.echo(f"{decided:,} decided; `regenesis eval cases build NAME --tenant {tenant}` makes them a suite.")


@app.command()
def build(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The dataset, whose next version this becomes.")],
    tenant: TenantOption,
    origin: OriginOption = None,
    description: Annotated[str | None, typer.Option(help="What the dataset is of.")] = None,
    write: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write suite.yaml and cases.jsonl here too.")
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Make all that is confirmed a version of a dataset; the same cases are the same version."""
    suite, stored = run_async(_build(tenant, name, origin, description))
    written = None
    if write is not None:
        from evaluation.suites import write_suite

        written = write_suite(suite, write)
    if as_json:
        print_json({"name": name, "version": stored.version, "cases": len(suite.loaded), "written": written})
        return
    typer.echo(f"{name}@{stored.version}: {len(suite.loaded):,} cases; `regenesis eval run {name} --tenant {tenant}`")
    if written is not None:
        typer.secho(
            f"{written.parent} holds people's words: keep it to those who may read them, and delete it once one of "
            "them takes their consent back; a run leaves their cases out by itself.",
            err=True,
        )


def has_terminal() -> bool:
    """Tell whether somebody can answer questions."""
    return sys.stdin.isatty()


def _say_decided(found: "ProposalView", *, as_json: bool) -> None:
    if as_json:
        print_json(_to_json(found))
    else:
        typer.echo(f"{found.id} is {found.status}.")


def _to_json(found: "ProposalView") -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(found)


async def _propose(
    tenant: str, origin: "Origin", *, count: int, share: float, since: datetime | None, seed: int
) -> tuple[int, dict[str, int]]:
    from cli.operator import operator_session
    from evaluation.proposals import count_waiting, propose_from_feedback, propose_from_production

    async with operator_session(tenant) as session:
        if origin == "feedback":
            made = await propose_from_feedback(session, count)
        else:
            made = await propose_from_production(session, count=count, share=share, since=since, seed=seed)
        return made, await count_waiting(session)


async def _list(
    tenant: str, email: str, status: "Status | None", origin: "Origin | None", limit: int
) -> list[dict[str, Any]]:
    from db.models import CaseProposal
    from evaluation.proposals import select_proposals

    query = (
        select_proposals(status, origin)
        .order_by(CaseProposal.created_at.desc(), CaseProposal.id.desc()).limit(limit)
    )  # fmt: skip
    rows = await read_as(tenant, email, lambda session: session.execute(query))
    return [
        {
            "id": proposal.id, "status": proposal.status, "origin": proposal.origin, "rating": rating,
            "question": question or "", "created_at": proposal.created_at,
        }
        for proposal, question, rating in rows.tuples()
    ]  # fmt: skip


async def _build(
    tenant: str, name: str, origin: "Origin | None", description: str | None
) -> "tuple[Suite, StoredSuite]":
    from cli.operator import operator_session
    from evaluation.datasets import build_dataset

    async with operator_session(tenant) as session:
        return await build_dataset(session, name, origin=origin, description=description)

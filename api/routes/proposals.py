"""Stored answers proposed as cases: whoever asked them says what a good answer holds, or that they are none."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from api.deps import SessionDep, needs
from api.errors import list_problem_responses
from api.pagination import CursorQuery, LimitQuery, Page, fetch_page
from api.schemas.evaluations import ConfirmIn, ProposalDetailOut, ProposalOut, RejectProposalIn, show_proposal
from db.models import CaseProposal
from evaluation.proposals import Origin, Status, confirm_proposal, read_proposal, reject_proposal, select_proposals

router = APIRouter(prefix="/v1/evaluations/proposals", tags=["evaluations"])

READ = [needs("read")]
DECIDE = [needs("write")]


@router.get("", operation_id="listCaseProposals", dependencies=READ, responses=list_problem_responses())
async def list_proposals(
    *,
    session: SessionDep,
    proposal_status: Annotated[Status | None, Query(alias="status", description="only with this status")] = None,
    origin: Annotated[Origin | None, Query(description="only of this origin")] = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> Page[ProposalOut]:
    """List answers to your own questions that are proposed as cases, the newest first."""
    order = (CaseProposal.created_at, CaseProposal.id)
    query = select_proposals(proposal_status, origin)
    rows, more = await fetch_page(session, query, order=order, limit=limit, cursor=cursor)
    return Page(items=[_show(row.CaseProposal, row.question, row.rating) for row in rows], next_cursor=more)


@router.get(
    "/{proposal_id}", operation_id="getCaseProposal", dependencies=READ, responses=list_problem_responses(404)
)  # fmt: skip
async def get_case_proposal(proposal_id: UUID, session: SessionDep) -> ProposalDetailOut:
    """Read one of your proposals with its answer as you may see it now."""
    return show_proposal(await read_proposal(session, proposal_id))


@router.post(
    "/{proposal_id}/confirm", operation_id="confirmCaseProposal", dependencies=DECIDE,
    responses=list_problem_responses(404),
)  # fmt: skip
async def post_confirmation(proposal_id: UUID, body: ConfirmIn, session: SessionDep) -> ProposalDetailOut:
    """Make the answer a case: say which of its quotes a good answer stands on, or what it says."""
    return show_proposal(await confirm_proposal(session, proposal_id, **body.model_dump()))


@router.post(
    "/{proposal_id}/reject", operation_id="rejectCaseProposal", dependencies=DECIDE,
    responses=list_problem_responses(404),
)  # fmt: skip
async def post_rejection(proposal_id: UUID, body: RejectProposalIn, session: SessionDep) -> ProposalDetailOut:
    """Keep the answer from becoming a case, and say why; it is not proposed again."""
    return show_proposal(await reject_proposal(session, proposal_id, reason=body.reason))


def _show(proposal: CaseProposal, question: str | None, rating: int | None) -> ProposalOut:
    return ProposalOut.model_validate(
        {
            "id": proposal.id, "origin": proposal.origin, "status": proposal.status,
            "created_at": proposal.created_at, "message_id": proposal.message_id, "question": question,
            "rating": rating, "decided_at": proposal.decided_at,
        }
    )  # fmt: skip

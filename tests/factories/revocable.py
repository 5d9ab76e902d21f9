"""A coach's view of one client through every surface that shows words, and the ways in which it can end."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import httpx
from sqlalchemy import delete, select, update

from db.models import CaseProposal, CoachingSession, EvidencePack, IngestedObject, Transcript
from db.session import tenant_session
from domain import coaching
from domain.feedback import give_feedback
from evaluation.proposals import propose_from_feedback
from tests.factories.answers import agree, store_answer
from tests.factories.evidence_world import ROTA, World, build_world
from tests.factories.people import Organisation
from tests.factories.sessions import Stored, require_id, store_document

PLAN = "The greenhouse plan says that the tomato beds are watered on Tuesdays."
NOTE = "Remember the lighthouse."
WORDS = ("rota", "checklist", "tomato beds", "lighthouse", "sleep again")
"""Words of the client's sources and of what was derived from them, never part of a question below."""

QUESTION = "What keeps Amina Diallo awake?"
OTHER = "What will Amina Diallo hand over by Friday?"


@dataclass
class Revocable:
    """One client's material and where the reader met it."""

    world: World
    organisation: Organisation
    document: Stored
    chat: str
    key: str
    pack: str
    question_pack: str
    proposal: str
    shares: dict[str, str] = field(default_factory=dict)

    @property
    def client_id(self) -> UUID:
        """Whom all is about."""
        return require_id(self.organisation.client_a)


async def build_revocable(organisation: Organisation, reader: httpx.AsyncClient) -> Revocable:
    """Store the material, and let the reader meet it through every surface once, so that every cache is warm."""
    await agree(organisation.client_a)
    world = await build_world(organisation)
    async with tenant_session(organisation.system) as session:
        await session.execute(delete(EvidencePack).where(EvidencePack.id == world.pack))  # no pack as the product's are
    document = await store_document(organisation, [PLAN], title="Greenhouse", client=organisation.client_a)
    chat = (await reader.post("/v1/chat/sessions", json={})).json()["id"]
    key = uuid4().hex
    asked = await reader.post(
        f"/v1/chat/sessions/{chat}/messages", json={"content": QUESTION}, headers={"Idempotency-Key": key}
    )
    assert "rota" in asked.text, asked.text
    packs = [
        (await reader.post("/v1/evidence-packs", json=body)).json()["id"]
        for body in ({"client_id": str(require_id(organisation.client_a))}, {"question": "What keeps them awake?"})
    ]
    async with tenant_session(organisation.system) as session:
        meeting = await session.scalar(
            select(Transcript.coaching_session_id).where(Transcript.id == world.sessions[0].source_id)
        )
    noted = await reader.put(f"/v1/sessions/{meeting}/notes/coach_notes", json={"content": NOTE})
    assert noted.status_code == 200, noted.text
    proposal = await _propose(organisation, world)
    one = Revocable(world, organisation, document, chat, key, packs[0], packs[1], proposal)
    messages = (await reader.get(f"/v1/chat/sessions/{chat}/messages")).json()["items"]
    for name, body in (("shared_answer", {"message_id": messages[1]["id"]}), ("shared_pack", {"pack_id": packs[0]})):
        made = await reader.post("/v1/shares", json=body)
        assert made.status_code == 201, made.text
        one.shares[name] = made.json()["token"]
    return one


async def _propose(organisation: Organisation, world: World) -> str:
    answer = await store_answer(organisation.coach_a, (world.sessions[0], ROTA), question=QUESTION)
    async with tenant_session(organisation.coach_a) as session:
        await give_feedback(session, target_type="message", target_id=answer.message_id, rating=1, may_be_studied=True)
    async with tenant_session(organisation.system) as session:
        assert await propose_from_feedback(session) == 1
    async with tenant_session(organisation.coach_a) as session:
        return str(await session.scalar(select(CaseProposal.id)))


Look = Callable[[httpx.AsyncClient, Revocable], Awaitable[httpx.Response]]


def _get(path: str) -> Look:
    async def look(reader: httpx.AsyncClient, one: Revocable) -> httpx.Response:
        world = one.world
        return await reader.get(
            path.format(
                client=one.client_id, transcript=world.sessions[0].source_id, document=one.document.source_id,
                object=one.document.object_id, claim=world.rota[0].claim_id, pattern=world.pattern,
                insight=world.insight, chat=one.chat, pack=one.pack, question_pack=one.question_pack,
                proposal=one.proposal, meeting=await _find_meeting(one), **one.shares,
            )
        )  # fmt: skip

    return look


async def _find_meeting(one: Revocable) -> UUID | None:
    async with tenant_session(one.organisation.system) as session:
        return (
            await session.scalars(select(CoachingSession.id).order_by(CoachingSession.scheduled_at).limit(1))
        ).one_or_none()


async def _search(reader: httpx.AsyncClient, _: Revocable) -> httpx.Response:
    return await reader.post("/v1/search", json={"query": "on-call rota awake tomato beds"})


async def _ask(reader: httpx.AsyncClient, one: Revocable) -> httpx.Response:
    return await reader.post(f"/v1/chat/sessions/{one.chat}/messages", json={"content": OTHER})


async def _ask_again(reader: httpx.AsyncClient, one: Revocable) -> httpx.Response:
    return await reader.post(
        f"/v1/chat/sessions/{one.chat}/messages", json={"content": QUESTION}, headers={"Idempotency-Key": one.key}
    )


def _complete(*, stream: bool) -> Look:
    async def look(reader: httpx.AsyncClient, _: Revocable) -> httpx.Response:
        earlier = [
            {"role": "user", "content": "Let us speak about Amina Diallo."},
            {"role": "assistant", "content": "She keeps lying awake."},
        ]
        return await reader.post(
            "/v1/chat/completions",
            json={
                "model": "sasha", "messages": [*earlier, {"role": "user", "content": "What keeps her awake?"}],
                "stream": stream,
            },
        )  # fmt: skip

    return look


async def _pack_question(reader: httpx.AsyncClient, _: Revocable) -> httpx.Response:
    return await reader.post("/v1/evidence-packs", json={"question": "What keeps them awake?"})


SURFACES: dict[str, tuple[Look, str]] = {
    "clients": (_get("/v1/clients"), "Amina Diallo"),
    "transcript": (_get("/v1/transcripts/{transcript}"), "rota"),
    "document": (_get("/v1/documents/{document}"), "tomato beds"),
    "claims": (_get("/v1/claims"), "rota"),
    "claim": (_get("/v1/claims/{claim}"), "rota"),
    "patterns": (_get("/v1/patterns"), "rota"),
    "pattern": (_get("/v1/patterns/{pattern}"), "rota"),
    "insights": (_get("/v1/insights"), "rota"),
    "insight": (_get("/v1/insights/{insight}"), "rota"),
    "insight reviews": (_get("/v1/insights/{insight}/reviews"), ""),
    "evidence of a client": (_get("/v1/clients/{client}/evidence"), ""),
    "evidence by session": (_get("/v1/clients/{client}/evidence/sessions"), "Session of"),
    "commitments": (_get("/v1/clients/{client}/commitments"), "checklist"),
    "packs": (_get("/v1/evidence-packs"), ""),
    "pack of a client": (_get("/v1/evidence-packs/{pack}"), "rota"),
    "pack of a question": (_get("/v1/evidence-packs/{question_pack}"), "rota"),
    "new pack": (_pack_question, "rota"),
    "ingestions": (_get("/v1/ingestions"), ""),
    "ingestion": (_get("/v1/ingestions/{object}"), ""),
    "sessions": (_get("/v1/sessions"), ""),
    "notes": (_get("/v1/sessions/{meeting}/notes"), "lighthouse"),
    "feedback": (_get("/v1/feedback"), ""),
    "notifications": (_get("/v1/notifications"), ""),
    "search": (_search, "rota"),
    "conversation": (_get("/v1/chat/sessions/{chat}/messages"), "rota"),
    "conversations": (_get("/v1/chat/sessions"), ""),
    "new answer": (_ask, "checklist"),
    "answer told again": (_ask_again, "rota"),
    "completion": (_complete(stream=False), "rota"),
    "streamed completion": (_complete(stream=True), "rota"),
    "shares": (_get("/v1/shares"), ""),
    "shared answer": (_get("/v1/shares/{shared_answer}"), "rota"),
    "shared pack": (_get("/v1/shares/{shared_pack}"), "rota"),
    "proposals": (_get("/v1/evaluations/proposals"), ""),
    "proposal": (_get("/v1/evaluations/proposals/{proposal}"), "rota"),
}
"""Every surface that shows a client's words or what was made of them, and a word that it shows before anything ends."""


async def look_everywhere(reader: httpx.AsyncClient, one: Revocable) -> dict[str, str]:
    """Return what every surface tells now; a refusal tells its problem."""
    told = {}
    for name, (look, _) in SURFACES.items():
        reply = await look(reader, one)
        assert reply.status_code < 500, (name, reply.text)
        told[name] = json.dumps(json.loads(reply.text), ensure_ascii=False) if _is_json(reply) else reply.text
    return told


def _is_json(reply: httpx.Response) -> bool:
    return "json" in reply.headers.get("content-type", "")


End = Callable[[Revocable, Any], Awaitable[None]]


async def end_engagement(one: Revocable, _: Any) -> None:
    """The coach works with the client no longer."""
    async with tenant_session(one.organisation.system) as session:
        await coaching.end_engagement(
            session, coach_id=require_id(one.organisation.coach_a), client_id=require_id(one.organisation.client_a)
        )


def narrow_to(visibility: str) -> End:
    """What the client's sources say is from now on for fewer readers."""

    async def narrow(one: Revocable, _: Any) -> None:
        async with tenant_session(one.organisation.system) as session:
            await session.execute(
                update(IngestedObject).where(IngestedObject.client_id == one.client_id).values(visibility=visibility)
            )

    return narrow


def withdraw(purpose: str) -> End:
    """The client agrees no longer, or objects to what was done without asking."""

    async def end(_: Revocable, connect: Any) -> None:
        reply = await connect("client_a").delete(f"/v1/me/consents/{purpose}")
        assert reply.status_code == 204, reply.text

    return end


async def erase_sources(one: Revocable, _: Any) -> None:
    """The client's sources are gone."""
    async with tenant_session(one.organisation.system) as session:
        await session.execute(delete(IngestedObject).where(IngestedObject.client_id == one.client_id))

"""Links to an answer or a pack for a colleague, who reads it under their own rights, each time anew."""

import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, Select, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Invalid, NotFound
from db.models import ChatMessage, EvidencePack, SharedLink
from db.session import BOUND_TO, Principal
from db.violations import refusing
from domain.chat import WITHHELD, MessageView, SentenceView, render_messages
from domain.packs import PackView, render_pack
from domain.reading import Read, list_citations_read, list_evidence_read, record_reading

PREFIX: Final = "rgl_"
LONGEST: Final = timedelta(days=30)
USUAL: Final = timedelta(days=7)

_OPEN: Final = text("SELECT * FROM chat.open_shared_link(:token_hash)")


class NothingToShare(NotFound):
    """There is no such answer or pack of yours with words of a source in it; share one that cites something."""


class LinkUnusable(Invalid):
    """A link leads to one answer or one pack, for a colleague other than you, for 30 days at most; correct that."""


class LinkReaderNotFound(NotFound):
    """There is nobody with this id in your organisation; leave the reader out, or name somebody else."""


class LinkNotFound(NotFound):
    """There is no such link for you: it is over, revoked, or somebody else's; ask whoever gave it to you."""


_RULES: Final = {
    "fk_shared_links_tenant_id_reader_id": LinkReaderNotFound, "ck_shared_links_reader": LinkUnusable,
    "ck_shared_links_one_thing": LinkUnusable, "ck_shared_links_expires_at": LinkUnusable,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedView:
    """What a link shows its reader now: an answer or a pack; the question only where nothing of it is withheld."""

    shared_by: UUID
    expires_at: datetime
    question: str | None
    message: MessageView | None
    pack: PackView | None


async def share(
    session: AsyncSession, *, message_id: UUID | None = None, pack_id: UUID | None = None,
    reader_id: UUID | None = None, lasts: timedelta = USUAL,
) -> tuple[SharedLink, str]:  # fmt: skip
    """Make a link to the reader's own answer or pack, and return it with its token, which is shown this once.

    For everyone of the organisation, or for `reader_id` alone. Raises `NothingToShare`, `LinkUnusable`,
    `LinkReaderNotFound`.
    """
    sharer: Principal = session.info[BOUND_TO]
    if sharer.user_id is None or (message_id is None) == (pack_id is None) or not timedelta(0) < lasts <= LONGEST:
        raise LinkUnusable
    moment = None
    if message_id is not None:
        query = select(ChatMessage).where(ChatMessage.id == message_id, ChatMessage.role == "assistant")
        message = await session.scalar(query)
        if message is None or not message.references.get("citations"):
            raise NothingToShare
        moment = message.created_at
    elif await session.scalar(select(EvidencePack.id).where(EvidencePack.id == pack_id)) is None:
        raise NothingToShare
    token = PREFIX + secrets.token_urlsafe(32)
    now = datetime.now(UTC)
    link = SharedLink(
        tenant_id=sharer.tenant_id, user_id=sharer.user_id, message_id=message_id, message_created_at=moment,
        pack_id=pack_id, reader_id=reader_id, token_hash=_hash(token), created_at=now, expires_at=now + lasts,
    )  # fmt: skip
    session.add(link)
    with refusing(_RULES):
        await session.flush()
    await session.refresh(link)
    return link, token


async def open_link(session: AsyncSession, token: str) -> SharedView:
    """Return what the link shows the session's reader at this moment; opening is counted and noted.

    Every sentence stands as in their own history: withheld unless they may read all that it cites. Raises
    `LinkNotFound`.
    """
    found = (await session.execute(_OPEN, {"token_hash": _hash(token)})).one_or_none()
    if found is None:
        raise LinkNotFound
    if found.pack_id is not None:
        shown = await _show_pack(session, found)
    else:
        shown = await _show_message(session, found)
    await record_reading(session, "share_read", *_list_read(found.id, shown), entity=("shared_link", found.id))
    return shown


def _list_read(link_id: UUID, shown: SharedView) -> Iterator[Read]:
    yield {"shared_link": [link_id]}
    if shown.pack is not None:
        yield {"pack": [shown.pack.id], "client": [shown.pack.client_id]}
        yield list_evidence_read(shown.pack.claims, shown.pack.patterns)
        yield list_citations_read(shown.pack.passages)
    if shown.message is not None:
        yield {"message": [shown.message.id]}
        yield list_citations_read(shown.message.citations)


async def _show_pack(session: AsyncSession, found: Row[Any]) -> SharedView:
    pack = await render_pack(
        session, found.pack_content, pack_id=found.pack_id, content_hash=found.pack_hash, created_at=found.created_at
    )
    if pack.withheld:
        pack = replace(pack, question=None, client_id=None)  # they name whom the withheld words are about
    return SharedView(
        shared_by=found.user_id, expires_at=found.expires_at, question=pack.question, message=None, pack=pack
    )


async def _show_message(session: AsyncSession, found: Row[Any]) -> SharedView:
    row = ChatMessage(
        id=found.message_id, role=found.role, created_at=found.created_at, content=found.content,
        references=found.facts,
    )  # fmt: skip
    (message,) = await render_messages(session, [row])
    is_whole = not any(sentence.withheld for sentence in message.sentences)
    facts: dict[str, Any] = {"provider": message.facts.get("provider"), "refused": message.facts.get("refused")}
    if is_whole:
        facts |= {"coverage": message.facts.get("coverage"), "understood": message.facts.get("understood")}
    else:
        # what cites nothing says what the rest is about
        bare = SentenceView(text=WITHHELD, citations=(), withheld=True)
        sentences = tuple(one if one.citations else bare for one in message.sentences)
        texts = [s.text for n, s in enumerate(sentences) if not (s.withheld and n and sentences[n - 1].withheld)]
        message = replace(message, sentences=sentences, text=" ".join(texts))
    return SharedView(
        shared_by=found.user_id, expires_at=found.expires_at, question=found.asked if is_whole else None,
        message=replace(message, facts=facts), pack=None,
    )  # fmt: skip


def select_links() -> Select[Any]:
    """Return the reader's own links, revoked and past ones too; order it by `(created_at, id)`."""
    return select(SharedLink)


async def revoke_link(session: AsyncSession, link_id: UUID) -> None:
    """End one of the reader's own links now; twice changes nothing. Raises `LinkNotFound`."""
    found = await session.scalar(
        update(SharedLink).where(SharedLink.id == link_id)
        .values(revoked_at=func.coalesce(SharedLink.revoked_at, func.clock_timestamp())).returning(SharedLink.id)
    )  # fmt: skip
    if found is None:
        raise LinkNotFound


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()

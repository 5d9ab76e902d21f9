"""Who speaks in a transcript, said by a person after it was taken in; what they say outlives every later ingestion."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import Row, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Forbidden, Invalid, NotFound
from db.models import IngestedObject, Transcript, TranscriptSegment, User
from db.session import BOUND_TO, Principal, acting_as_system
from domain.decisions import NAMED
from domain.governance import record_event
from domain.ingestion import hash_said
from domain.readers import PersonUnknown, may_decide

Part = Literal["client", "coach"]

MOST_LABELS: Final = 100
LONGEST_LABEL: Final = 500
FIRST_WORDS: Final = 160
"""Characters of a speaker's first turn that are shown, so that a person knows who it is."""

_PARTS: Final[Mapping[str, Part]] = {"client": "client", "coachee": "client", "coach": "coach"}
_ADDITION: Final = re.compile(r"\(.*?\)")  # an organisation, or pronouns


class TranscriptMissing(NotFound):
    """There is no transcript of this source that you may see; wait until it is ready, or list the sources."""


class SpeakersNotYours(Forbidden):
    """This is for the whole organisation, so an administrator says who speaks in it; ask one of them."""


class LabelUnknown(Invalid):
    """Nobody in this transcript is called so; read its speakers to see their labels."""


class PartUnfilled(Invalid):
    """This session is about no client, or from no coach; give the e-mail address of who speaks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """One label of a transcript: how much is said under it, how that begins, and who it is, where that is known."""

    label: str
    turns: int
    first_words: str
    user_id: UUID | None
    is_said: bool
    """Whether a person said in the product who this is, or that it is nobody known here."""
    suggested: Part | None
    """Whom the label names, where nothing is known yet; a person decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speakers:
    """Who speaks in a transcript, by the order of their first turns."""

    transcript_id: UUID
    client_id: UUID | None
    coach_id: UUID | None
    may_say: bool
    is_asked: bool
    """Whether a person should say who speaks: nobody did, and nothing is known to be said by the session's client."""
    speakers: tuple[Speaker, ...]


_SPEAK: Final = text(
    """
    UPDATE rag.transcript_segments s SET speaker_id = m.user_id
    FROM unnest(CAST(:labels AS text[]), CAST(:people AS uuid[])) AS m (label, user_id)
    WHERE s.transcript_id = :transcript_id AND s.speaker = m.label AND s.speaker_id IS DISTINCT FROM m.user_id
    """
)
_FIND_AGAIN: Final = text(
    """
    WITH heard AS MATERIALIZED (
        SELECT DISTINCT s.speaker, s.speaker_id FROM rag.transcript_segments s
        WHERE s.transcript_id = :transcript_id AND s.speaker_id IS NOT NULL
    )
    UPDATE rag.chunk_embeddings e
    SET speaker_ids = array(SELECT DISTINCT h.speaker_id FROM heard h WHERE h.speaker = ANY (e.speakers) ORDER BY 1)
    WHERE e.source_kind = 'transcript' AND e.source_id = :transcript_id
    """
)
# What was read of it told its speakers otherwise; quotes of the turns concerned are stale by the database's own rules.
_READ_AGAIN: Final = text("DELETE FROM evidence.extractions WHERE transcript_id = :transcript_id")


def fold_label(label: str) -> str:
    """Return the label as labels are compared."""
    return " ".join(label.split()).casefold()


async def get_speakers(session: AsyncSession, object_id: UUID) -> Speakers:
    """Return who speaks in a source that the session's reader may see; raises `TranscriptMissing`."""
    reader: Principal = session.info[BOUND_TO]
    row = await _get(session, object_id)
    labels = await _list_labels(session, row.transcript_id)
    settled = {fold_label(label) for label in row.sidecar.get(NAMED) or {}}
    names = await _name_parts(session, row)
    first = {index for _, _, index, _ in labels.values()}
    s = TranscriptSegment
    words = await session.execute(
        select(s.segment_index, func.left(s.text, FIRST_WORDS))
        .where(s.transcript_id == row.transcript_id, s.segment_index.in_(first))
    )  # fmt: skip
    begins = {index: begin for index, begin in words.tuples()}  # noqa: C416  # a result is no mapping
    speakers = tuple(
        Speaker(
            label=label, turns=turns, first_words=begins[index], user_id=user_id, is_said=fold_label(label) in settled,
            suggested=None if user_id or fold_label(label) in settled else suggest_part(label, names),
        )
        for label, turns, index, user_id in sorted(labels.values(), key=lambda one: one[2])
    )  # fmt: skip
    return Speakers(
        transcript_id=row.transcript_id, client_id=row.client_id, coach_id=row.coach_id,
        may_say=may_decide(reader, row.client_id, row.coach_id), speakers=speakers,
        is_asked=row.client_id is not None and not settled and bool(speakers)
        and all(one.user_id != row.client_id for one in speakers),
    )  # fmt: skip


def suggest_part(label: str, names: Mapping[Part, str]) -> Part | None:
    """Return whom a label names: the client or the coach, by that word or by their name or a part of it."""
    said = fold_label(_ADDITION.sub(" ", label))
    if said in _PARTS:
        return _PARTS[said]
    words = set(said.split())
    found: list[Part] = [part for part, name in names.items() if words and words <= set(fold_label(name).split())]
    return found[0] if len(found) == 1 else None


async def say_speakers(session: AsyncSession, object_id: UUID, said: Mapping[str, str | None]) -> None:
    """Store who speaks under these labels, in the session of whoever says it; other labels stay as they are.

    A person is `client`, `coach`, or the e-mail address of somebody whom the reader may see; None is nobody known here.
    At once the turns are theirs and the evidence from these turns is stale; later ingestions keep to it. Raises
    `TranscriptMissing`, `SpeakersNotYours`, `LabelUnknown`, `PartUnfilled`, `PersonUnknown`.
    """
    reader: Principal = session.info[BOUND_TO]
    row = await _get(session, object_id)
    if not may_decide(reader, row.client_id, row.coach_id):
        raise SpeakersNotYours
    people = {fold_label(label): await _find_person(session, row, who) for label, who in said.items()}
    async with acting_as_system(session):
        stored = await _lock(session, object_id)
        known = await _list_labels(session, stored.transcript_id)
        for label in said:
            if fold_label(label) not in known:
                raise LabelUnknown(f"Nobody in this transcript is called {label[:60]!r}; read its speakers.")
        before: Mapping[str, str | None] = stored.sidecar.get(NAMED) or {}
        kept = {label: email for label, email in before.items() if fold_label(label) in known.keys() - people.keys()}
        named = kept | {known[key][0]: email for key, (_, email) in people.items()}
        await _speak(session, stored.transcript_id, {key: user_id for key, (user_id, _) in people.items()})
        sidecar = {**stored.sidecar, NAMED: named}
        values: dict[str, Any] = {"sidecar": sidecar}
        if stored.sidecar_hash == hash_said(stored.sidecar):
            values["sidecar_hash"] = hash_said(sidecar)  # it is indexed with just that
        await session.execute(
            update(IngestedObject).where(IngestedObject.id == object_id).values(updated_at=func.now(), **values)
            .execution_options(synchronize_session=False)
        )  # fmt: skip
    told = {"labels": len(people), "people": sorted({str(user_id) for user_id, _ in people.values() if user_id})}
    await record_event(
        session, action="speakers_named", entity_type="transcript", entity_id=row.transcript_id, metadata=told
    )


async def _get(session: AsyncSession, object_id: UUID) -> Row[Any]:
    o, t = IngestedObject, Transcript
    query = select(t.id.label("transcript_id"), o.client_id, o.coach_id, o.sidecar).join(t, t.object_id == o.id)
    row = (await session.execute(query.where(o.id == object_id))).one_or_none()
    if row is None:
        raise TranscriptMissing
    return row


async def _lock(session: AsyncSession, object_id: UUID) -> Row[Any]:
    """Keep ingestion and the writers of quotes out: whoever was first is seen by the other."""
    o, t = IngestedObject, Transcript
    await session.execute(select(o.id).where(o.id == object_id).with_for_update())
    await session.execute(select(t.id).where(t.object_id == object_id).with_for_update())
    query = select(t.id.label("transcript_id"), o.sidecar, o.sidecar_hash).join(t, t.object_id == o.id)
    row = (await session.execute(query.where(o.id == object_id))).one_or_none()
    if row is None:  # an ingestion took it out meanwhile
        raise TranscriptMissing
    return row


async def _list_labels(session: AsyncSession, transcript_id: UUID) -> dict[str, tuple[str, int, int, UUID | None]]:
    """Return the labels most is said under, as they are compared: one spelling, turns, the first one, the user."""
    s = TranscriptSegment
    turns, first = func.count(), func.min(s.segment_index)
    rows = await session.execute(
        select(s.speaker, turns, first, s.speaker_id)
        .where(s.transcript_id == transcript_id, func.length(s.speaker) <= LONGEST_LABEL)
        .group_by(s.speaker, s.speaker_id)
        .order_by(turns.desc(), first)
        .limit(MOST_LABELS)
    )
    labels: dict[str, tuple[str, int, int, UUID | None]] = {}
    for given, count, index, user_id in rows.tuples():
        label = " ".join((given or "").split())
        if label:
            spelling, more, earlier, known = labels.get(fold_label(label), (label, 0, index, None))
            labels[fold_label(label)] = spelling, more + count, min(index, earlier), known or user_id
    return labels


async def _name_parts(session: AsyncSession, row: Row[Any]) -> dict[Part, str]:
    """Return the names of the session's client and coach, of those the reader may see."""
    wanted: dict[UUID | None, Part] = {row.coach_id: "coach", row.client_id: "client"}
    people = await session.execute(select(User.id, User.full_name).where(User.id.in_(filter(None, wanted))))
    return {wanted[user_id]: name for user_id, name in people.tuples() if name}


async def _find_person(session: AsyncSession, row: Row[Any], who: str | None) -> tuple[UUID | None, str | None]:
    """Return id and address of who is meant."""
    if who is None:
        return None, None
    if who not in ("client", "coach"):
        found = select(User.id, User.email).where(User.email == who.strip().lower())
        person = (await session.execute(found)).one_or_none()
        if person is None:
            raise PersonUnknown(f"Nobody you work with has the e-mail address {who[:80]!r}; check it.")
        return person.id, person.email
    part = row.client_id if who == "client" else row.coach_id
    if part is None:
        raise PartUnfilled
    async with acting_as_system(session):  # a colleague with the same client need not be shown to them
        return part, await session.scalar(select(User.email).where(User.id == part))


async def _speak(session: AsyncSession, transcript_id: UUID, people: Mapping[str, UUID | None]) -> None:
    """Make the turns under these labels these people's; where they were already, nothing changes."""
    s = TranscriptSegment
    spellings = await session.scalars(
        select(s.speaker).where(s.transcript_id == transcript_id, s.speaker.is_not(None)).distinct()
    )
    meant = [label for label in spellings if label is not None and fold_label(label) in people]
    values = {"transcript_id": transcript_id}
    spoken = {"labels": meant, "people": [people[fold_label(label)] for label in meant]}
    changed: Any = await session.execute(_SPEAK, {**values, **spoken})
    if changed.rowcount:
        await session.execute(_FIND_AGAIN, values)
        await session.execute(_READ_AGAIN, values)

"""Rows of every schema with a canary in each column that may hold a word."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Who is in it: the client to be erased, their coach, and two who stay."""

    tenant_id: UUID
    client: UUID
    coach: UUID
    colleague: UUID
    peer: UUID


class Planter:
    """Adds rows as the owner, who passes every policy but no trigger."""

    def __init__(self, connection: psycopg.Connection, cast: Cast, words: Iterator[str], store_url: str) -> None:
        self._connection, self._cast, self._words = connection, cast, words
        self.used: list[str] = []
        self.store_url = store_url
        self.name = ""

    def rename(self, person: UUID, *, full_name: str, email: str) -> None:
        """Give the person a name and an address; `name` is the name from then on."""
        self._connection.execute(
            "UPDATE identity.users SET full_name = %s, email = %s WHERE tenant_id = %s AND id = %s",
            [full_name, email, self._cast.tenant_id, person],
        )
        self.name = full_name

    def place(self, table: str, column: str, row_id: UUID, key: str) -> None:
        """Say where the row's object lies, which no row may say from its beginning."""
        self._connection.execute(f"UPDATE {table} SET {column} = %s WHERE id = %s".encode(), [key, row_id])

    def word(self) -> str:
        """Return a canary that was not used yet."""
        self.used.append(next(self._words))
        return self.used[-1]

    def say(self) -> str:
        """Return a sentence with a canary."""
        return f"They spoke of {self.word()} again."

    def add(self, table: str, **values: Any) -> UUID:  # noqa: ANN401  # whatever the columns take
        """Insert a row of the tenant and return its id."""
        values = {"tenant_id": self._cast.tenant_id, **values}
        if "id" not in values and table not in _WITHOUT_ID:
            values["id"] = uuid4()
        schema, _, name = table.partition(".")
        query = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier(schema, name),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join(sql.Placeholder() * len(values)),
        )
        wrapped = [Jsonb(value) if isinstance(value, dict) or is_json(value) else value for value in values.values()]
        self._connection.execute(query, wrapped)
        return UUID(str(values.get("id", self._cast.tenant_id)))


_WITHOUT_ID: Final = frozenset({"comms.notification_keys", "content.user_skills", "learning.progress_events"})


class Many(list[Any]):
    """A list that is a column of JSON, where a plain one is an array."""


def is_json(value: object) -> bool:
    """Tell whether the value goes into a column of JSON."""
    return isinstance(value, Many)


def plant_rows(p: Planter, cast: Cast, sources: list[UUID], connection: psycopg.Connection) -> list[tuple[str, bytes]]:
    """Add rows of every schema, and return the objects to write with them."""
    _plant_people(p, cast)
    _plant_chats(p, cast, sources, connection)
    _plant_practice(p, cast, connection)
    _plant_community(p, cast)
    _plant_learning(p, cast)
    _plant_money(p, cast)
    return _plant_objects(p, cast)


def _plant_people(p: Planter, cast: Cast) -> None:
    me = {"user_id": cast.client}
    p.rename(cast.client, full_name=f"{p.word()} Diallo", email=f"{p.word()}@client.example")
    p.add("identity.api_keys", **me, name=p.word(), hashed_key=secrets_hash())
    p.add("identity.integrations", **me, provider="zoom", scopes=[p.word(), p.word()])
    p.add(
        "identity.sessions",
        **me,
        role="client",
        token_hash=secrets_hash(),
        user_agent=p.word(),
        expires_at=datetime.now(UTC) + timedelta(hours=1),
    )
    p.add("analytics.events", **me, event_type="searched", event_data={"words": p.word()})
    p.add("comms.notifications", **me, notification_type="reminder", title=p.word(), message=p.say())
    p.add(
        "comms.notifications",
        user_id=cast.coach,
        actor_id=cast.client,
        notification_type="reply",
        title=p.word(),
        message=p.say(),
    )
    p.add(
        "comms.notifications",
        user_id=cast.colleague,
        notification_type="told",
        title="News",
        message=f"{p.name} called.",
    )
    p.add("comms.outbox", topic="told.client", payload={"user_id": str(cast.client), "words": p.word()})
    hook = p.add("comms.webhooks", url="https://hooks.example/1", events=["told.client"], secret=b"0" * 32)
    p.add(
        "comms.webhook_deliveries",
        webhook_id=hook,
        outbox_id=uuid4(),
        topic="told.client",
        payload={"client": {"id": str(cast.client), "said": [p.word()]}},
        occurred_at=datetime.now(UTC),
    )


def _plant_chats(p: Planter, cast: Cast, sources: list[UUID], connection: psycopg.Connection) -> None:
    for owner in (cast.client, cast.coach):
        chat = p.add("chat.chat_sessions", user_id=owner, client_id=cast.client, title=p.word(), summary=p.word())
        p.add("chat.chat_messages", session_id=chat, user_id=owner, role="user", content=p.say())
        answer = p.add(
            "chat.chat_messages",
            session_id=chat,
            user_id=owner,
            role="assistant",
            content=p.say(),
            references={"understood": p.word()},
        )
        run = p.add(
            "chat.agent_runs",
            session_id=chat,
            user_id=owner,
            agent_type="answer",
            status="succeeded",
            metadata={"understood": p.word()},
        )
        p.add("chat.agent_failures", agent_run_id=run, error_type="Timeout", error_message=p.say(), retryable=True)
        p.add("evidence.feedback", user_id=owner, target_type="message", target_id=answer, rating=1, comment=p.say())
    chat = p.add("chat.chat_sessions", user_id=cast.colleague, title=f"What of {p.name}?")
    p.add(
        "chat.chat_messages",
        session_id=chat,
        user_id=cast.colleague,
        role="user",
        content=f"It rains today. How does {p.name} do?",
    )
    p.add(
        "chat.agent_runs",
        session_id=chat,
        user_id=cast.colleague,
        agent_type="answer",
        status="succeeded",
        metadata={"understood": f"about {p.name}"},
    )
    kept = "Nothing else was said."
    cited = {
        "ordinal": 1,
        "source_id": str(sources[0]),
        "source_kind": "transcript",
        "chunk_id": None,
        "content_hash": "0" * 64,
        "char_start": 0,
        "char_end": 9,
    }
    told = f"They promised {p.word()}."
    p.add(
        "chat.chat_messages",
        session_id=chat,
        user_id=cast.colleague,
        role="assistant",
        content=f"{told} {kept}",
        references={
            "sentences": [{"text": told, "citations": [1]}, {"text": kept, "citations": []}],
            "citations": [cited],
            "understood": f"about {p.name}",
            "pack_id": None,
        },
    )
    p.add(
        "evidence.evidence_packs",
        user_id=cast.coach,
        client_id=cast.client,
        question=p.say(),
        content={},
        content_hash=secrets_hash(),
        sessions_in_scope=1,
        sessions_examined=1,
        sessions_supporting=1,
    )
    suite = p.add("evaluation.datasets", name="canaries", version=1, origin="files", content_hash=secrets_hash())
    p.add(
        "evaluation.dataset_cases",
        dataset_id=suite,
        case_key="1",
        user_input=p.say(),
        reference=p.say(),
        reference_contexts=Many([p.say()]),
        visibility="coach_only",
        client_id=cast.client,
        coach_id=cast.coach,
    )
    row = connection.execute("SELECT text FROM rag.document_chunks WHERE transcript_id = %s LIMIT 1", [sources[0]])
    found = row.fetchone()
    copied = str(found[0])[:200] if found else ""
    p.add(
        "evaluation.dataset_cases",
        dataset_id=suite,
        case_key="2",
        user_input="What was promised?",
        reference_contexts=Many([copied]),
        visibility="system_internal",
    )
    run = p.add(
        "evaluation.experiments",
        suite="canaries",
        dataset_id=suite,
        user_id=cast.colleague,
        config={},
        config_hash=secrets_hash(),
    )
    p.add(
        "evaluation.rag_evaluations",
        experiment_id=run,
        user_id=cast.colleague,
        query="What was promised?",
        answer=copied,
        retrieved_contexts=Many([copied]),
        status="scored",
        details={"response": {"citations": [{"quote": copied, "source_id": str(sources[0])}]}},
    )


def _plant_practice(p: Planter, cast: Cast, connection: psycopg.Connection) -> None:
    found = connection.execute(
        "SELECT id FROM coaching.coaching_sessions WHERE client_id = %s ORDER BY scheduled_at LIMIT 2", [cast.client]
    ).fetchall()
    first, second = (UUID(str(row[0])) for row in found)
    connection.execute(
        "UPDATE coaching.coaching_sessions SET notes = %s, action_items = %s, meeting_link = %s WHERE id = %s",
        [p.say(), Jsonb([{"item": p.word()}]), f"https://meet.example/{p.word()}", first],
    )
    about = {"client_id": cast.client, "coach_id": cast.coach}
    p.add(
        "coaching.session_notes",
        session_id=first,
        author_id=cast.coach,
        kind="coach_notes",
        content=p.say(),
        visibility="coach_only",
        **about,
    )
    p.add(
        "coaching.session_feedback",
        session_id=second,
        submitted_by=cast.client,
        rating=4,
        feedback_text=p.say(),
        highlights=Many([p.word()]),
        visibility="client_visible",
        **about,
    )
    rubric = p.add(
        "coaching.rubrics",
        name="Rubric",
        version=1,
        criteria=Many([{"key": "a", "label": "A", "max_score": 5, "weight": 1}]),
    )
    p.add(
        "coaching.qa_reviews",
        session_id=first,
        rubric_id=rubric,
        reviewer_id=cast.colleague,
        scores={"a": 1},
        total=20,
        notes=p.say(),
        **about,
    )


def _plant_community(p: Planter, cast: Cast) -> None:
    post = p.add(
        "community.posts",
        author_id=cast.client,
        title=p.word(),
        content=p.say(),
        category="discussion",
        tags=Many([p.word()]),
        status="published",
        published_at=datetime.now(UTC),
        visibility="client_visible",
    )
    p.add("community.comments", post_id=post, author_id=cast.peer, content=p.say())
    other = p.add(
        "community.posts",
        author_id=cast.peer,
        title="Hello",
        content="Hello all.",
        category="discussion",
        status="published",
        published_at=datetime.now(UTC),
        visibility="client_visible",
    )
    p.add("community.comments", post_id=other, author_id=cast.client, content=p.say())
    p.add(
        "community.projects",
        submitted_by=cast.client,
        title=p.word(),
        problem_statement=p.say(),
        solution_description=p.say(),
        stage="idea",
        support_needed=Many([p.word()]),
        visibility="client_visible",
    )
    p.add(
        "content.content_approvals",
        content_type="post",
        content_id=post,
        current_stage="editorial_review",
        submitted_by=cast.client,
        editorial_notes=p.say(),
        content_hash=b"0" * 32,
    )
    p.add(
        "content.faqs",
        category="x",
        question=p.say(),
        answer=p.say(),
        client_id=cast.client,
        visibility="client_visible",
    )


def _plant_learning(p: Planter, cast: Cast) -> None:
    program = p.add(
        "learning.programs",
        title="Course",
        slug=f"course-{uuid4().hex[:8]}",
        instructor_id=cast.coach,
        pricing_type="free",
        co_instructors=Many([str(cast.client), str(cast.colleague)]),
    )
    p.add("learning.enrollments", user_id=cast.client, program_id=program, review=p.say())
    event = p.add(
        "events.events",
        title="Meeting",
        slug=f"meeting-{uuid4().hex[:8]}",
        organizer_id=cast.coach,
        event_date=datetime.now(UTC) + timedelta(days=9),
        timezone="UTC",
        location_type="virtual",
        speakers=Many([{"user_id": str(cast.client), "name": p.word()}, {"name": "Sam Guest"}]),
    )
    p.add("events.event_registrations", event_id=event, user_id=cast.client, metadata={"diet": p.word()})
    partner = p.add(
        "partners.partners",
        organization_name="Partner",
        slug=f"partner-{uuid4().hex[:8]}",
        partner_type="corporate",
        primary_contact_user_id=cast.client,
        contact_email=f"{p.word()}@partner.example",
        contact_phone=p.word().encode(),
    )
    cohort = p.add(
        "partners.partner_cohorts",
        partner_id=partner,
        program_id=program,
        cohort_name="Cohort",
        start_date=datetime.now(UTC).date(),
    )
    p.add(
        "partners.cohort_members",
        cohort_id=cohort,
        partner_id=partner,
        user_id=cast.client,
        department=p.word(),
        employee_id=p.word(),
    )


def _plant_money(p: Planter, cast: Cast) -> None:
    me = {"user_id": cast.client}
    p.add(
        "commerce.transactions",
        **me,
        amount=10,
        transaction_type="course",
        payment_method="card",
        metadata={"note": p.word()},
        failure_reason=p.say(),
    )
    order = p.add(
        "commerce.orders",
        **me,
        order_number=uuid4().hex[:20],
        subtotal=10,
        total_amount=10,
        notes=p.say(),
        shipping_address=p.word().encode(),
        metadata={"gift": p.word()},
    )
    p.add(
        "commerce.order_items",
        **me,
        order_id=order,
        product_name="Book",
        unit_price=10,
        quantity=1,
        subtotal=10,
        total=10,
        download_url=f"https://files.example/{p.word()}",
    )
    now = datetime.now(UTC)
    p.add(
        "commerce.subscriptions",
        **me,
        tier="discover",
        billing_cycle="monthly",
        amount=10,
        current_period_start=now,
        current_period_end=now + timedelta(days=30),
        cancellation_note=p.say(),
        metadata={"why": p.word()},
    )


def _plant_objects(p: Planter, cast: Cast) -> list[tuple[str, bytes]]:
    tenant = cast.tenant_id
    media, export, upload = uuid4(), uuid4(), uuid4()
    portrait, copy = f"media/{tenant}/{media}.txt", f"tenants/{tenant}/exports/{export}.json"
    file = {"filename": f"{p.word()}.txt", "file_type": "document", "file_size_bytes": 1, "storage_key": portrait}
    p.add("content.media_assets", id=media, uploaded_by=cast.client, **file)
    p.add("governance.data_exports", id=export, user_id=cast.client)
    p.place("governance.data_exports", "object_key", export, copy)
    folder = f"tenants/{tenant}/uploads/{upload}"
    source = p.add("ingestion.data_sources", name=str(upload), uri=f"{p.store_url}/{folder}")
    document = p.add(
        "ingestion.ingested_objects",
        data_source_id=source,
        key=f"{p.word()}.txt",
        size_bytes=1,
        visibility="client_visible",
        client_id=cast.client,
        title=p.word(),
    )
    words = p.say()
    p.add(
        "rag.documents",
        object_id=document,
        title=p.word(),
        format="text",
        text=words,
        content_hash=hashlib.sha256(words.encode()).hexdigest(),
        visibility="client_visible",
        client_id=cast.client,
    )
    p.add(
        "ingestion.ingestion_attempts",
        object_id=document,
        run_id="1",
        stage="read",
        outcome="failed",
        finished_at=datetime.now(UTC),
        error=p.say(),
    )
    return [
        (portrait, p.word().encode()),
        (copy, p.word().encode()),
        (f"{folder}/{p.word()}.txt", words.encode()),
        (f"{folder}/manifest.jsonl", p.word().encode()),
    ]


def secrets_hash() -> str:
    """Return what looks like a hash and is of nothing."""
    return hashlib.sha256(uuid4().bytes).hexdigest()

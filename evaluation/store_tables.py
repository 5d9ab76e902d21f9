"""What the measured world is made of, table by table and column by column, each a function of the row's number."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

Value = str | int | None
Column = Callable[[int], Value]

BEGAN: Final = datetime(2025, 1, 6, tzinfo=UTC)
"""The first day of the world; all of it happens in the two years after, so it is the same in every run."""

TENANT: Final = UUID("00000001-0000-7000-8000-000000000000")
FIRST: Final = ("Amara", "Bilal", "Chipo", "Dalia", "Efua", "Farid", "Grace", "Hana", "Imani", "Jomo", "Kezia", "Linda")
LAST: Final = (
    "Abara",
    "Banda",
    "Cissé",
    "Dlamini",
    "Eze",
    "Faye",
    "Gitau",
    "Hassan",
    "Juma",
    "Kamau",
    "Lungu",
    "Mensah",
)
COUNTRIES: Final = ("KE", "NG", "ZA", "GH", "RW", "TZ", "UG", "SN")
SKILLS: Final = ("branding", "leadership", "finance", "sales", "writing", "speaking", "hiring", "strategy", "design")
CATEGORIES: Final = ("discussion", "story", "question", "project", "announcement")
TOPICS: Final = ("pricing", "a first hire", "saying no", "a slow month", "telling my story", "asking for help", "rest")
TIERS: Final = ("discover", "build", "thrive", "impact")
HELD: Final = ("completed",) * 8 + ("cancelled", "scheduled")
MODULES, LESSONS, BEGUN = 4, 5, 10
"""Modules of a program, lessons of a module, lessons begun in an enrolment."""

USER, PROGRAM, MODULE, LESSON, ENROLLMENT, PROGRESS, POST, COMMENT, REACTION, SESSION, FEEDBACK, ROLE = range(1, 13)
TRANSACTION, ENTRY, SUBSCRIPTION, EVENT, REGISTRATION, ENGAGEMENT, PROFILE, SETTING = range(13, 21)


def make_id(kind: int, number: int) -> str:
    """Return the id of the nth thing of a kind; ids of a kind sort by number."""
    return f"{0x01940000 + kind:08x}-{number >> 16:04x}-7000-8000-{number & 0xFFFF:04x}{kind:08x}"


@dataclass(frozen=True)
class World:
    """How much of everything there is: seed 001's second year at 100,000 users, the rest in proportion.

    Nine tenths of the users are in one large tenant, which holds all the rest; the others are in twenty small ones.
    """

    users: int = 100_000

    @property
    def members(self) -> int:
        """Users of the large tenant: its coaches first, then one admin, then clients."""
        return self.users * 9 // 10

    @property
    def coaches(self) -> int:
        """Its coaches."""
        return max(self.users // 50, 5)

    @property
    def clients(self) -> int:
        """Its clients."""
        return self.members - self.coaches - 1

    @property
    def programs(self) -> int:
        """Its programs."""
        return max(self.users // 200, 5)

    @property
    def events(self) -> int:
        """Its events, of a hundred registrations each."""
        return max(self.users // 500, 3)

    def coach(self, number: int) -> str:
        """Return the id of a coach, counting round."""
        return make_id(USER, number % self.coaches)

    @property
    def admin(self) -> str:
        """The id of the admin."""
        return make_id(USER, self.coaches)

    def client(self, number: int) -> str:
        """Return the id of a client, counting round; their coach has the same number."""
        return make_id(USER, self.coaches + 1 + number % self.clients)

    def program_of(self, enrollment: int) -> int:
        """Return the number of the program an enrolment is in."""
        return (enrollment * 7 + enrollment // self.clients) % self.programs


@dataclass(frozen=True)
class Table:
    """A table to fill: how many rows, and what each column holds; tenant_id is the large tenant's unless given."""

    name: str
    rows: int
    columns: Mapping[str, Column]


def _moment(number: int, total: int, days: int = 680) -> str:
    return (BEGAN + timedelta(days=days * number / max(total, 1))).isoformat()


def _spread(total: int, days: int = 680) -> Column:
    return lambda n: _moment(n, total, days)


def _always(value: Value) -> Column:
    return lambda _: value


def _ids(kind: int) -> Column:
    return lambda n: make_id(kind, n)


def _name(number: int) -> str:
    return f"{FIRST[number % 12]} {LAST[number // 12 % 12]}"


def _small_tenant(number: int) -> str:
    return f"00000002-0000-7000-8000-{number % 20:012x}"


def list_tables(world: World) -> Iterator[Table]:
    """Yield every table in the order it is filled."""
    small = ("large", *(f"small-{n}" for n in range(20)))
    yield Table(
        "platform.tenants",
        21,
        {
            "id": lambda n: str(TENANT) if n == 0 else _small_tenant(n - 1),
            "slug": lambda n: small[n],
            "name": lambda n: f"Organisation {small[n]}",
        },
    )
    for part in (_people, _learning, _community, _coaching, _commerce, _events):
        yield from part(world)


def _people(world: World) -> Iterator[Table]:
    def tenant(n: int) -> str:
        return str(TENANT) if n < world.members else _small_tenant(n)

    def role(n: int) -> str:
        return "coach" if n < world.coaches else "admin" if n == world.coaches else "client"

    def for_coaches(value: Column) -> Column:
        return lambda n: value(n) if n < world.coaches else None

    each = world.users * 3 // world.coaches
    yield Table(
        "identity.users",
        world.users,
        {
            "tenant_id": tenant,
            "id": _ids(USER),
            "email": lambda n: f"person{n}@world.example",
            "full_name": _name,
            "role": role,
            "last_login_at": lambda n: _moment(n % 997, 997, 690),
            "created_at": _spread(world.users),
        },
    )
    yield Table(
        "identity.user_roles",
        world.users,
        {
            "tenant_id": tenant,
            "id": _ids(ROLE),
            "user_id": _ids(USER),
            "role_name": role,
            "granted_at": _spread(world.users),
        },
    )
    yield Table(
        "identity.user_profiles",
        world.users,
        {
            "tenant_id": tenant,
            "id": _ids(PROFILE),
            "user_id": _ids(USER),
            "display_name": _name,
            "bio": lambda n: f"{_name(n)} works on {TOPICS[n % 7]} and {TOPICS[n % 5]}.",
            "tagline": lambda n: f"About {TOPICS[n % 7]}",
            "location": lambda n: json.dumps({"country": COUNTRIES[n % 8], "city": f"City {n % 40}"}),
            "skills": for_coaches(lambda n: json.dumps([SKILLS[n % 9], SKILLS[(n + 2) % 9], SKILLS[(n + 5) % 9]])),
            "hourly_rate": for_coaches(lambda n: 30 + n % 90),
            "is_coach": lambda n: "t" if n < world.coaches else "f",
            "availability_status": for_coaches(_always("available")),
            "average_rating": for_coaches(lambda n: f"{2 + n * 37 % 300 / 100:.2f}"),
            "rating_count": lambda n: each // 3 if n < world.coaches else 0,
            "session_count": lambda n: each if n < world.coaches else 0,
        },
    )
    yield Table(
        "identity.user_settings", world.users, {"tenant_id": tenant, "id": _ids(SETTING), "user_id": _ids(USER)}
    )


def _learning(world: World) -> Iterator[Table]:
    modules, lessons, enrollments = world.programs * MODULES, world.programs * MODULES * LESSONS, world.users
    yield Table(
        "learning.programs",
        world.programs,
        {
            "id": _ids(PROGRAM),
            "title": lambda n: f"A course on {TOPICS[n % 7]} {n}",
            "slug": lambda n: f"course-{n}",
            "description": lambda n: f"Four weeks on {TOPICS[n % 7]}, one lesson a day.",
            "category": lambda n: f"category {n % 12}",
            "tags": lambda n: json.dumps([SKILLS[n % 9]]),
            "instructor_id": world.coach,
            "pricing_type": _always("one_time"),
            "price_amount": lambda n: 20 + n % 80,
            "status": _always("published"),
            "published_at": _always(BEGAN.isoformat()),
        },
    )
    yield Table(
        "learning.modules",
        modules,
        {
            "id": _ids(MODULE),
            "program_id": lambda n: make_id(PROGRAM, n // MODULES),
            "title": lambda n: f"Week {n % MODULES + 1}",
            "sequence_order": lambda n: n % MODULES + 1,
            "is_visible": _always("t"),
        },
    )
    yield Table(
        "learning.lessons",
        lessons,
        {
            "id": _ids(LESSON),
            "program_id": lambda n: make_id(PROGRAM, n // LESSONS // MODULES),
            "module_id": lambda n: make_id(MODULE, n // LESSONS),
            "title": lambda n: f"Day {n % LESSONS + 1}",
            "sequence_order": lambda n: n % LESSONS + 1,
            "content_type": _always("text"),
            "text_content": _lesson_text,
            "is_visible": _always("t"),
        },
    )
    yield Table(
        "learning.enrollments",
        enrollments,
        {
            "id": _ids(ENROLLMENT),
            "user_id": world.client,
            "program_id": lambda n: make_id(PROGRAM, world.program_of(n)),
            "enrollment_date": _spread(enrollments),
            "progress_percent": lambda n: 40 if n % 5 else 100,
            "completed_lessons": lambda n: 8 if n % 5 else 20,
            "lesson_total": _always(MODULES * LESSONS),
            "status": lambda n: "active" if n % 5 else "completed",
            "completion_date": lambda n: None if n % 5 else _moment(n, enrollments),
            "payment_type": _always("one_time"),
            "rating": lambda n: n % 5 + 1 if n % 3 == 0 else None,
        },
    )

    def per_lesson(column: Callable[[int, int], Value]) -> Column:
        return lambda n: column(*divmod(n, BEGUN))

    yield Table(
        "learning.lesson_progress",
        enrollments * BEGUN,
        {
            "id": _ids(PROGRESS),
            "user_id": per_lesson(lambda n, _: world.client(n)),
            "program_id": per_lesson(lambda n, _: make_id(PROGRAM, world.program_of(n))),
            "lesson_id": per_lesson(lambda n, step: make_id(LESSON, world.program_of(n) * MODULES * LESSONS + step)),
            "enrollment_id": per_lesson(lambda n, _: make_id(ENROLLMENT, n)),
            "progress_percent": per_lesson(lambda _, step: 100 if step < 8 else 50),
            "time_spent_seconds": per_lesson(lambda _, step: 300 + step * 17),
            "completed_at": per_lesson(lambda n, step: _moment(n, enrollments) if step < 8 else None),
        },
    )


def _lesson_text(number: int) -> str:
    return " ".join(
        f"On day {number % 5 + 1} we look at {TOPICS[(number + step) % 7]} and note what {SKILLS[step]} asks of us."
        for step in range(6)
    )


def _community(world: World) -> Iterator[Table]:
    posts = world.users * 2

    def member(step: int) -> Column:
        return lambda n: make_id(USER, n * step % world.members)

    yield Table(
        "community.posts",
        posts,
        {
            "id": _ids(POST),
            "author_id": member(31),
            "title": lambda n: f"Thoughts on {TOPICS[n % 7]}",
            "content": lambda n: (
                f"{_name(n)} asks about {TOPICS[n % 7]}: what did you try, and what came of it? Entry {n}."
            ),
            "category": lambda n: CATEGORIES[n % 5],
            "tags": lambda n: json.dumps([SKILLS[n % 9]]),
            "status": _always("published"),
            "published_at": _spread(posts),
            "created_at": _spread(posts),
        },
    )
    yield Table(
        "community.comments",
        posts,
        {
            "id": _ids(COMMENT),
            "post_id": lambda n: make_id(POST, n * 17 % posts),
            "author_id": member(13),
            "content": lambda n: f"I tried it with {TOPICS[n % 7]} and it took a month.",
            "is_post_published": _always("t"),
            "created_at": _spread(posts),
        },
    )
    yield Table(
        "community.reactions",
        posts,
        {
            "id": _ids(REACTION),
            "user_id": member(29),
            "entity_type": _always("post"),
            "entity_id": lambda n: make_id(POST, (n * 11 + n // world.members) % posts),
            "reaction_type": _always("like"),
        },
    )


def _coaching(world: World) -> Iterator[Table]:
    sessions = world.users * 3

    def coach_of_client(n: int) -> str:
        return world.coach(n % world.clients)

    def rated(column: Column) -> Column:
        # every third session is rated, and all of those were held
        return lambda n: column(n * 30 + n % 3 * 3)

    yield Table(
        "coaching.engagements",
        world.clients,
        {
            "id": _ids(ENGAGEMENT),
            "coach_id": world.coach,
            "client_id": world.client,
            "started_at": _spread(world.clients),
        },
    )
    yield Table(
        "coaching.coaching_sessions",
        sessions,
        {
            "id": _ids(SESSION),
            "coach_id": coach_of_client,
            "client_id": world.client,
            "scheduled_at": _spread(sessions),
            "status": lambda n: HELD[n % 10],
            "topic": lambda n: f"About {TOPICS[n % 7]}",
        },
    )
    yield Table(
        "coaching.session_feedback",
        sessions // 30,
        {
            "id": _ids(FEEDBACK),
            "session_id": rated(lambda n: make_id(SESSION, n)),
            "submitted_by": rated(world.client),
            "client_id": rated(world.client),
            "coach_id": rated(coach_of_client),
            "rating": lambda n: n % 5 + 1,
        },
    )


def _commerce(world: World) -> Iterator[Table]:
    payments = world.users * 5
    yield Table(
        "commerce.transactions",
        payments,
        {
            "id": _ids(TRANSACTION),
            "user_id": lambda n: make_id(USER, n * 7 % world.members),
            "amount": lambda n: 10 + n % 90,
            "transaction_type": _always("course"),
            "payment_method": _always("mpesa"),
            "gateway_name": _always("paystack"),
            "gateway_transaction_id": lambda n: f"world-{n}",
            "status": _always("success"),
            "created_at": _spread(payments),
            "processed_at": _spread(payments),
        },
    )
    yield Table(
        "accounting.ledger_entries",
        payments * 2,
        {
            "id": _ids(ENTRY),
            "transaction_id": lambda n: make_id(TRANSACTION, n // 2),
            "account": lambda n: ("cash", "revenue")[n % 2],
            "amount": lambda n: (1, -1)[n % 2] * (10 + n // 2 % 90),
            "currency": _always("USD"),
            "memo": _always("payment"),
            "occurred_at": lambda n: _moment(n // 2, payments),
        },
    )
    yield Table(
        "commerce.subscriptions",
        world.members * 2 // 3,
        {
            "id": _ids(SUBSCRIPTION),
            "user_id": _ids(USER),
            "tier": lambda n: TIERS[n % 4],
            "billing_cycle": _always("monthly"),
            "amount": lambda n: 10 + n % 40,
            "status": _always("active"),
            "current_period_start": _always(_moment(1, 1)),
            "current_period_end": _always(_moment(1, 1, 710)),
        },
    )


def _events(world: World) -> Iterator[Table]:
    yield Table(
        "events.events",
        world.events,
        {
            "id": _ids(EVENT),
            "title": lambda n: f"An evening on {TOPICS[n % 7]} {n}",
            "slug": lambda n: f"evening-{n}",
            "event_date": _spread(world.events, 900),
            "timezone": _always("Africa/Nairobi"),
            "location_type": _always("virtual"),
            "organizer_id": world.coach,
            "capacity_limit": lambda n: 120 + n % 80,
            "status": _always("published"),
            "published_at": _always(BEGAN.isoformat()),
        },
    )
    yield Table(
        "events.event_registrations",
        world.events * 100,
        {
            "id": _ids(REGISTRATION),
            "event_id": lambda n: make_id(EVENT, n // 100),
            "user_id": lambda n: make_id(USER, n * 37 % world.members),
            "ticket_code": lambda n: f"T{n:08d}",
        },
    )

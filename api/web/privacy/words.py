"""What compliance's pages call things: subjects, states, steps, stores."""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from nicegui import ui

from api.schemas.privacy import RequestOut
from api.web.parts import element, say_time
from api.web.privacy.parts import Grid, count_days, say_count, say_person
from api.web.viewer import Viewer
from domain.privacy import OPEN

STATES: Final[Mapping[str, tuple[str, str]]] = {
    "requested": ("Waits for approval", "warn"), "verified": ("Approved", ""), "running": ("Running", ""),
    "completed": ("Done", "good"), "failed": ("Stopped", "bad"), "refused": ("Refused", ""),
    "ready": ("Ready", "good"), "expired": ("Expired", ""), "scheduled": ("Planned", ""), "held": ("Held", "warn"),
}  # fmt: skip
"""Of a state its words and its colour."""
METHODS: Final[Mapping[str, str]] = {
    "signed_in": "They asked while signed in", "document": "They showed a document", "in_person": "They came in person",
    "call_back": "They were called back at a known number", "court_order": "A court ordered it",
}  # fmt: skip
MADE_SURE: Final = {
    **METHODS,
    "operator": "Whoever runs this service carried it out",
    "retention": "The retention policy asked for it",
}
TREATMENTS: Final[Mapping[str, str]] = {
    "delete": "Deleted", "blank": "Words blanked", "keep": "Kept under a pseudonym"
}  # fmt: skip
SCHEMAS: Final[Mapping[str, str]] = {
    "evidence": "Evidence", "evaluation": "Evaluations", "chat": "Chats", "governance": "Duties and log",
    "rag": "Texts and index", "ingestion": "Ingested sources", "coaching": "Coaching",
    "learning": "Learning", "practice": "Practice", "community": "Community", "content": "Content",
    "commerce": "Orders and payments", "comms": "Messages and notices", "events": "Events", "identity": "Accounts",
    "analytics": "Figures", "accounting": "Usage", "partners": "Partners", "platform": "The organisation",
    "objects": "Stored files", "archives": "Archived months", "receipts": "Receipts",
}  # fmt: skip
STEPS: Final[Mapping[str, str]] = {
    "collect": "What is there is counted and noted down", "stop": "Their sign-ins and keys end",
    "foreign": "What lies in your own folders is noted, so that it is not read in again",
    "objects": "Stored files go, with every version", "turns": "Their turns leave other people's sessions",
    "rows": "Rows go, table by table",
    "archives": "Archived months are rewritten", "evidence": "What rests on other sources is derived anew",
    "log": "What tells of them in the audit log is blanked",
    "recount": "Every store is counted again, until nothing is left", "sign": "The receipt is signed",
}  # fmt: skip


def say_subject(viewer: Viewer, names: Mapping[UUID, str], kind: str, subject_id: UUID) -> str:
    """Return what a request, a hold or a receipt is about."""
    if kind == "person":
        return say_person(names, subject_id)
    if kind == "tenant":
        return f"All of {viewer.organisation}"
    return f"{'Session' if kind == 'session' else 'Document or transcript'} {str(subject_id)[-6:]}"


def say_state(status: str) -> None:
    """Add a state as a tag."""
    words, colour = STATES.get(status, (status, ""))
    element("span", words, f"tag {colour}")


def say_due(viewer: Viewer, one: RequestOut) -> None:
    """Add when a request must be answered, and how long that is, unless it was."""
    say_time(viewer, one.due_at, day_only=True)
    if one.status not in OPEN:
        return
    days = count_days(viewer, one.due_at)
    if one.overdue:
        element("span", f"{say_count(-days, 'day')} late" if days else "Overdue", "tag bad")
    else:
        element("span", f"in {say_count(days, 'day')}" if days else "today", "tag warn" if days < 7 else "tag")


def say_step(name: str) -> str:
    """Return what a step of an erasure does."""
    return STEPS.get(name, name)


def say_schema(schema: str) -> str:
    """Return what a schema, or a kind of objects, holds."""
    return SCHEMAS.get(schema, schema.replace("_", " ").capitalize())


def name_store(name: str) -> tuple[str, str]:
    """Return what a store belongs to and what it holds; stores are tables, parts of tables, files and archives."""
    table, _, part = name.partition(":")
    if "." not in table:
        return say_schema(table), part.rpartition(".")[2].replace("_", " ")
    schema, _, noun = table.partition(".")
    words = noun.replace("_", " ")
    return say_schema(schema), f"{words} ({part})" if part else words


def cell_store(grid: Grid, name: str) -> None:
    """Add a cell that names a store."""
    belongs, words = name_store(name)
    with grid.cell():
        element("span", belongs, "soft small block")
        element("span", words)


def facts(pairs: Mapping[str, str]) -> ui.element:
    """Add a list of names and what they are, those without anything left out, to add to."""
    with ui.element("dl").classes("facts") as made:
        for name, words in pairs.items():
            if words:
                with fact(name):
                    element("span", words)
    return made


def fact(name: str) -> ui.element:
    """Add a name to a list of facts, and return where to say what it is."""
    with ui.element("div"):
        element("dt", name)
        return ui.element("dd")

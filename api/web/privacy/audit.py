"""The audit log for compliance: who did and who read what, by filters, and whether the log is as it was written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any, Final, cast, get_args
from urllib.parse import urlencode
from uuid import UUID

from nicegui import ui

from api.routes import governance as routes
from api.web.frame import page
from api.web.parts import DayUnknown, element, read_day
from api.web.privacy.audit_chain import draw_chain
from api.web.privacy.audit_rows import draw_alarms, draw_entries, name_targets, say_word
from api.web.privacy.forms import Values, choice, form, person_field, read_id, text_field
from api.web.privacy.parts import (
    OFFICERS,
    PAGE,
    draw_head,
    get_person,
    list_addresses,
    name_people,
    officer_session,
    page_through,
    say_person,
)
from api.web.viewer import Viewer
from core.errors import Invalid
from db.models.governance import SEVERITIES
from domain.governance import Severity
from domain.reading import ACTIONS, KINDS, Kind

KNOWN: Final = (
    *ACTIONS, "erasure_requested", "erasure_verified", "erasure_refused", "subject_erased", "entries_redacted",
    "legal_hold_placed", "legal_hold_released", "receipt_verified", "data_export_requested", "data_export_link_made",
    "audit_log_read", "audit_chain_checked", "bulk_read_detected", "user_created", "user_updated",
)  # fmt: skip
"""Actions that are suggested; the log knows others too."""
LONGEST: Final = 100


class WordUnknown(Invalid):
    """The log can't be asked this; choose from the lists, and write at most 100 characters."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the log is asked for, as it stands in the page's address: ids and words of the log, never names."""

    action: str = ""
    actor_id: str = ""
    entity_type: str = ""
    entity_id: str = ""
    severity: str = ""
    read_kind: str = ""
    read_id: str = ""
    client_id: str = ""
    since: str = ""
    until: str = ""

    def list_set(self) -> dict[str, str]:
        """Return what narrows."""
        return {name: getattr(self, name) for name in self.__slots__ if getattr(self, name)}

    def path(self) -> str:
        """Return the address of the page that shows it."""
        return "/privacy/audit" + (f"?{urlencode(self.list_set())}" if self.list_set() else "")

    def to_query(self, viewer: Viewer) -> dict[str, Any]:
        """Return the parameters of the route; days are whole ones in the viewer's zone. Raises `Invalid`."""
        words = {"action": self.action or None, "entity_type": self.entity_type or None}
        if any(one and (len(one) > LONGEST or "\x00" in one) for one in words.values()):
            raise WordUnknown
        if self.severity not in ("", *SEVERITIES) or self.read_kind not in ("", *KINDS):
            raise WordUnknown
        if bool(self.read_kind) != bool(self.read_id) or self.read_kind == "chunk":
            raise WordUnknown("To ask who read a thing, give both what it is and its id.")
        ids = {name: read_id(getattr(self, name)) if getattr(self, name) else None for name in IDS}
        return {
            **words, **ids, "severity": cast(Severity, self.severity) if self.severity else None,
            "read_kind": cast(Kind, self.read_kind) if self.read_kind else None,
            "since": _read_moment(viewer, self.since), "until": _read_moment(viewer, self.until, days=1),
        }  # fmt: skip


IDS: Final = ("actor_id", "entity_id", "read_id", "client_id")


def _read_moment(viewer: Viewer, words: str, *, days: int = 0) -> datetime | None:
    """Return the beginning of this day, or so many days later."""
    day = read_day(words)
    if day is None:
        return None
    try:
        return datetime.combine(day + timedelta(days=days), time.min, viewer.zone)
    except OverflowError as error:
        raise DayUnknown from error


@page("/privacy/audit", title="Audit log", roles=OFFICERS)
async def show_audit(  # noqa: PLR0917  # parameters of the address, given by name
    viewer: Viewer, action: str = "", actor_id: str = "", entity_type: str = "", entity_id: str = "",
    severity: str = "", read_kind: str = "", read_id: str = "", client_id: str = "", since: str = "", until: str = "",
) -> None:  # fmt: skip
    """Show the state of the chain, alarms, the filters, and the entries that they leave."""
    asked = Asked(
        action, actor_id, entity_type, entity_id, severity, read_kind, read_id, client_id, since, until
    )  # fmt: skip
    query = asked.to_query(viewer)
    async with officer_session(viewer) as (_, session):
        people = [query["actor_id"], query["client_id"]]
        names, addresses = await name_people(session, people), await list_addresses(session, people)
    draw_head("/privacy/audit", "Audit log", "Who did and who read what, without the words. Looking here is noted too.")
    with ui.element("div").classes("stack"):
        if not asked.list_set():
            with ui.element("div").classes("halves"):
                draw_chain(viewer)
                await draw_alarms(viewer)
        _draw_filters(viewer, asked, addresses)
        with ui.element("section").classes("card stack tight").props('aria-label="Entries"'):
            _draw_asked(asked, query, names)
            rows = ui.element("ol").classes("plain rows entries")
            nothing = element("p", "Nothing of that is in the log.", "soft")

            async def load(cursor: str | None) -> str | None:
                async with officer_session(viewer) as (_, session):
                    found = await routes.list_audit_entries(session=session, limit=PAGE, cursor=cursor, **query)
                    known = await name_people(session, name_targets(found.items))
                nothing.set_visibility(not found.items and cursor is None)
                with rows:
                    draw_entries(viewer, found.items, known)
                return found.next_cursor

            await page_through(load)


def _draw_asked(asked: Asked, query: Mapping[str, Any], names: Mapping[UUID, str]) -> None:
    """Tell what narrows the list, and the way back to all of it."""
    if not asked.list_set():
        element("h2", "Entries, the newest first")
        return
    told = []
    for name, words in asked.list_set().items():
        if name in ("actor_id", "client_id"):
            told.append(f"{'done by' if name == 'actor_id' else 'read about'} {say_person(names, query[name])}")
        elif name in ("entity_id", "read_id"):
            told.append(f"{'about' if name == 'entity_id' else 'with the id'} {words}")
        elif name in ("since", "until"):
            told.append(f"{'from' if name == 'since' else 'until'} {words}")
        elif name == "read_kind":
            told.append(f"read a {say_word(words)}")
        else:
            told.append(f"{say_word(name)}: {say_word(words)}")
    element("h2", "Entries that fit")
    with ui.element("div").classes("line"):
        for words in told:
            element("span", words, "tag")
        element("a", "Show all").props('href="/privacy/audit"')


def _draw_filters(viewer: Viewer, asked: Asked, addresses: Sequence[str]) -> None:
    async def look(values: Values) -> None:
        people = {}
        async with officer_session(viewer) as (_, session):
            for name in ("actor_id", "client_id"):
                if values.get(name):
                    people[name] = str((await get_person(session, values[name])).id)
        given = {name: words for name, words in values.items() if name in Asked.__slots__ and words}
        wanted = Asked(**given | people)
        wanted.to_query(viewer)
        ui.navigate.to(wanted.path())

    with ui.element("details").classes("card filters") as frame:
        if asked.list_set():
            frame.props("open")
        element("summary", "Narrow the list")
        with form("Narrow the list", "Show these", look), ui.element("div").classes("fields"):
            person_field(viewer, "Done by", "actor_id", value=addresses[0], hint="Name or e-mail")
            person_field(viewer, "Client it was read about", "client_id", value=addresses[1], hint="Name or e-mail")
            acted = text_field("Did", "action", value=asked.action)
            with ui.element("datalist") as known:
                for word in sorted({*KNOWN}):
                    element("option", say_word(word)).props["value"] = word
            acted.props["list"] = known.html_id
            text_field("To what kind of thing", "entity_type", value=asked.entity_type)
            text_field("Id of that thing", "entity_id", value=asked.entity_id)
            choice(
                "Weight", "severity", {"": "Any", **{one: say_word(one) for one in SEVERITIES}},
                value=asked.severity,
            )  # fmt: skip
            kinds = sorted(kind for kind in get_args(Kind) if kind != "chunk")
            choice(
                "Read what", "read_kind", {"": "Anything", **{one: say_word(one) for one in kinds}},
                value=asked.read_kind,
            )  # fmt: skip
            text_field("Id of what was read", "read_id", value=asked.read_id)
            text_field("From", "since", kind="date", value=asked.since)
            text_field("Until and including", "until", kind="date", value=asked.until)

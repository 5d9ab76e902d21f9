"""Entries of the audit log as compliance reads them, and alarms of somebody who reads unusually much."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from nicegui import ui

from api.routes import governance as routes
from api.schemas.governance import AuditEntryOut
from api.web.parts import element, say_time
from api.web.privacy.parts import name_people, officer_session, say_count, say_person, section
from api.web.viewer import Viewer

ALARMS: Final = 5
LINKED: Final = 20
"""Ids of one kind that are shown of an entry; it may hold 2,000."""
COLOURS: Final[Mapping[str, str]] = {"critical": "bad", "error": "bad", "warning": "warn"}
SURFACES: Final[Mapping[str, str]] = {
    "api": "through the API", "web": "in a browser", "cli": "on the command line", "evaluation": "in an evaluation",
    "flow": "in a flow", "library": "in the service itself",
}  # fmt: skip


def say_word(word: str) -> str:
    """Return a word of the log for people, such as transcript read."""
    return word.replace("_", " ")


def name_targets(entries: Sequence[AuditEntryOut]) -> list[UUID | None]:
    """Return the ids of people whose names the entries need."""
    wanted: list[UUID | None] = []
    for one in entries:
        wanted += [one.actor_id, one.entity_id if one.entity_type == "user" else None]
        wanted += [UUID(str(client)) for client in _list_read(one).get("client", [])[:LINKED]]
    return wanted


def _list_read(one: AuditEntryOut) -> Mapping[str, Sequence[str]]:
    read = (one.metadata or {}).get("read")
    return read if isinstance(read, dict) else {}


def draw_entries(viewer: Viewer, entries: Sequence[AuditEntryOut], names: Mapping[UUID, str]) -> None:
    """Add the entries to a list; what more there is to one is shown when somebody opens it."""
    for one in entries:
        with ui.element("li").classes("entry"):
            with ui.element("div").classes("entry-head"):
                say_time(viewer, one.occurred_at, classes="soft small")
                with ui.element("div").classes("line"):
                    _draw_act(one, names)
            _draw_more(one, names)


def _draw_act(one: AuditEntryOut, names: Mapping[UUID, str]) -> None:
    if one.actor_id is None:
        element("span", {"system": "The service", "owner": "Maintenance"}.get(one.actor_role, one.actor_role))
    else:
        link = element("a", say_person(names, one.actor_id))
        link.props(f'href="/privacy/audit?actor_id={one.actor_id}"')
        element("span", f"as {one.actor_role}", "soft small")
    element("b", say_word(one.action))
    read = _list_read(one)
    if read:
        counted = ", ".join(say_count(len(ids), say_word(kind)) for kind, ids in read.items() if kind != "client")
        about = [say_person(names, UUID(str(client))) for client in read.get("client", [])[:3]]
        more = len(read.get("client", [])) - len(about)
        told = f"about {', '.join(about)}{f' and {more} more' if more > 0 else ''}" if about else ""
        element("span", " ".join(part for part in (counted, told) if part))
    elif one.entity_type:
        named = names.get(one.entity_id) if one.entity_id and one.entity_type == "user" else None
        about_id = f" {str(one.entity_id)[-6:]}" if one.entity_id else ""
        element("span", named or f"{say_word(one.entity_type)}{about_id}", "soft")
    if one.severity in COLOURS:
        element("span", one.severity, f"tag {COLOURS[one.severity]}")


def _draw_more(one: AuditEntryOut, names: Mapping[UUID, str]) -> None:
    with ui.element("details") as more:
        element("summary", "More").props["aria-label"] = f"More of entry {one.sequence}"
        place = ui.element("div")
    shown: list[bool] = []

    def show() -> None:
        if not shown:
            shown.append(True)
            with place:
                _draw_details(one, names)

    # Some hundred ids an entry would make the page heavy for those nobody looks into.
    more.on("toggle", show)


def _draw_details(one: AuditEntryOut, names: Mapping[UUID, str]) -> None:
    told = dict(one.metadata or {})
    read = _list_read(one)
    told.pop("read", None)
    with ui.element("dl").classes("facts"):
        surface = str(told.pop("surface", ""))
        _add("Entry", f"{one.sequence:,}" + (f", {SURFACES.get(surface, surface)}" if surface else ""))
        if one.entity_type and one.entity_id:
            _link(f"{say_word(one.entity_type)} {one.entity_id}", "About", entity_id=str(one.entity_id))
        _add("Description", one.description)
        for kind, ids in read.items():
            for place, target in enumerate(ids[:LINKED]):
                heading = f"Read {say_word(kind)}" if place == 0 else ""
                if kind == "client":
                    _link(say_person(names, UUID(target)), heading, client_id=target)
                elif kind == "chunk":
                    _add(heading, target)
                else:
                    _link(target, heading, read_kind=kind, read_id=target)
            if len(ids) > LINKED:
                _add("", f"and {len(ids) - LINKED:,} more")
        for name, value in {**(one.changes or {}), **told}.items():
            _add(say_word(name), _say_value(value))
        _add("From", " · ".join(part for part in (one.ip_address, one.user_agent) if part))
        _add("Request", str(one.request_id) if one.request_id else None)
        _add("Hash", one.hash)


def _say_value(value: Any) -> str:  # noqa: ANN401  # JSON
    """Return a value of the log: what changed as before and after."""
    if isinstance(value, list) and len(value) == 2:  # before and after
        return " → ".join("–" if part is None else _say_value(part) for part in value)
    return value if isinstance(value, str) else json.dumps(value)


def _add(name: str, words: str | None) -> None:
    if words:
        with ui.element("div"):
            element("dt", name)
            element("dd", words, "code" if name in ("Hash", "Request") else "")


def _link(words: str, name: str, **query: str) -> None:
    with ui.element("div"):
        element("dt", name)
        with ui.element("dd"):
            element("a", words).props["href"] = f"/privacy/audit?{urlencode(query)}"


async def draw_alarms(viewer: Viewer) -> None:
    """Show who read unusually much of late, the newest first."""
    async with officer_session(viewer) as (_, session):
        found = await routes.list_audit_entries(
            session=session, action="bulk_read_detected", actor_id=None, entity_type=None, entity_id=None,
            severity=None, read_kind=None, read_id=None, client_id=None, since=None, until=None, limit=ALARMS,
            cursor=None,
        )  # fmt: skip
        names = await name_people(session, name_targets(found.items))
    with section("Unusual reading"):
        if not found.items:
            element("p", "Nobody reads unusually much. You are told here, and by a notice, if somebody does.", "soft")
            return
        with ui.element("ul").classes("plain rows"):
            for one in found.items:
                _draw_alarm(viewer, one, names)
        if found.next_cursor:
            element("a", "All of them").props('href="/privacy/audit?action=bulk_read_detected"')


def _draw_alarm(viewer: Viewer, one: AuditEntryOut, names: Mapping[UUID, str]) -> None:
    told = one.metadata or {}
    counts, over = dict(told.get("counts") or {}), dict(told.get("over") or {})
    counted = ", ".join(
        f"{int(counts.get(kind, 0)):,} {kind} (expected at most {int(most):,})" for kind, most in over.items()
    )
    with ui.element("li").classes("stack tight"):
        with ui.element("div").classes("line"):
            element("b", say_person(names, one.entity_id))
            element("span", f"too much in one {told.get('span', 'day')}", "tag bad")
            say_time(viewer, one.occurred_at, classes="soft small")
        element("p", f"Read {counted}.")
        days = {"since": _read_moment(told.get("began_at")) or one.occurred_at, "until": one.occurred_at}
        query = {name: moment.astimezone(viewer.zone).date().isoformat() for name, moment in days.items()}
        link = element("a", "What they did then")
        link.props["href"] = f"/privacy/audit?{urlencode({'actor_id': str(one.entity_id), **query})}"


def _read_moment(words: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(words))
    except ValueError:
        return None
    return moment if moment.tzinfo else None

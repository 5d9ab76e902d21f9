"""A person's data as pages to read: one a table, and one that leads to them; nothing is loaded from anywhere."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from pipelines.privacy.export_rows import CREDENTIAL, OTHERS, UNREADABLE, WHY, Record
from pipelines.privacy.export_titles import AREAS, find_title, name_column

if TYPE_CHECKING:
    from jinja2 import Template

SPOKEN: Final[Mapping[str, tuple[str, str]]] = {
    "rag.transcript_segments": ("transcript_id", "text"),
    "chat.chat_messages": ("session_id", "content"),
}
"""Tables that read as a conversation: what keeps the turns together, and what is said."""

_ID: Final = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?([+-]\d\d:\d\d|Z)?")
_CODE: Final = re.compile(r"[a-z]+(_[a-z]+)+")
_TECHNICAL: Final = re.compile(
    r"(^id$|hash$|(^|_)checksum$|(^|_)key$|_version$|^version$|^run_id$|^char_|^segment_|^chunk_|^sequence$"
    r"|^references$|^external_id$|^scorer$|^method$|^model_name$|^storage_|^visibilit|^stale_at$|^updated_at$|_terms?$)"
)
_HEADINGS: Final = (
    "title", "full_name", "display_name", "question", "statement", "topic", "name", "filename", "product_name",
    "order_number", "key", "purpose", "action", "notification_type",
)  # fmt: skip
_LONG: Final = 160


@dataclass(frozen=True, slots=True)
class Fact:
    """One value with its name; `is_long` where it is a text to read rather than a word."""

    name: str
    value: Any
    is_long: bool = False


@dataclass(frozen=True, slots=True)
class Card:
    """One row to read."""

    heading: str
    facts: Sequence[Fact]
    left_out: Sequence[tuple[str, str]] = ()
    sentences: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a conversation."""

    who: str
    when: str
    words: str
    is_reader: bool
    is_part: bool


@dataclass(frozen=True, slots=True)
class Talk:
    """Turns that belong together."""

    heading: str
    turns: Sequence[Turn]


@dataclass(slots=True)
class TableFacts:
    """What the page of contents says of a table."""

    table: str
    rows: int = 0
    files: list[str] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Its name in plain words."""
        return find_title(self.table)[1]

    @property
    def area(self) -> str:
        """Where it stands on the page."""
        return find_title(self.table)[0]

    def note(self, records: Iterable[Record]) -> None:
        """Count what was left out of these."""
        for record in records:
            self.rows += 1
            for reason in set(record.left_out.values()):
                self.left_out[reason] = self.left_out.get(reason, 0) + 1


def render_table(
    about: TableFacts, records: Sequence[Record], names: Mapping[str, str], *, reader: str, page: int, more: bool
) -> str:
    """Return one page of a table's rows; `names` are people and things by id, `reader` whose page it is."""
    talks = list(_show_talks(about.table, records, names, reader)) if about.table in SPOKEN else []
    cards = [] if talks else [show_card(record, names) for record in records]
    return _template("export_table.html.j2").render(
        title=about.title, area=AREAS[about.area], talks=talks, cards=cards, page=page, more=more,
        data_file=about.files[-1], name=page_name(about.table, page + 1),
    )  # fmt: skip


def render_index(
    *, name: str, made_at: datetime, expires_at: datetime | None, tables: Sequence[TableFacts],
    originals: Sequence[Mapping[str, Any]],
) -> str:  # fmt: skip
    """Return the page that leads to all others."""
    areas = [
        (title, [one for one in tables if one.area == area and one.rows], area == "machinery")
        for area, title in AREAS.items()
    ]
    reasons = {reason for one in tables for reason in one.left_out}
    return _template("export_index.html.j2").render(
        name=name, made_at=_show_moment(made_at), expires_at=expires_at and _show_moment(expires_at),
        areas=[(title, found, machinery) for title, found, machinery in areas if found],
        rows=sum(one.rows for one in tables), originals=originals,
        why=[WHY[one] for one in (CREDENTIAL, OTHERS, UNREADABLE) if one in reasons] + [WHY["computed"]],
    )  # fmt: skip


def page_name(table: str, page: int) -> str:
    """Return the name of a table's page, counted from 1."""
    return f"{table}{'' if page == 1 else f'.{page}'}.html"


def show_card(record: Record, names: Mapping[str, str]) -> Card:
    """Return the row with what a person can read of it; the data file has all of it."""
    facts = []
    heading = ""
    for column, value in record.values.items():
        if value is None or value in ("", [], {}) or (_TECHNICAL.search(column) and column not in _HEADINGS):
            continue
        shown = _show(value, names)
        if shown is None:
            continue
        if not heading and column in _HEADINGS and isinstance(shown, str):
            heading = shown
            continue
        is_long = isinstance(shown, str) and (len(shown) > _LONG or "\n" in shown)
        facts.append(Fact(name_column(column), shown, is_long))
    left_out = [(name_column(column), WHY[reason]) for column, reason in record.left_out.items()]
    return Card(heading, sorted(facts, key=lambda fact: fact.is_long), left_out, record.sentences)


def _show_talks(
    table: str, records: Sequence[Record], names: Mapping[str, str], reader: str
) -> Iterator[Talk]:  # fmt: skip
    together, said = SPOKEN[table]
    for key, group in groupby(records, key=lambda record: str(record.values.get(together))):
        turns = []
        for record in group:
            values = record.values
            who = names.get(str(values.get("speaker_id") or values.get("user_id")), "")
            if "role" in values:
                who = "Assistant" if values["role"] == "assistant" else who or "Question"
            words, is_part = values.get(said), said in record.left_out
            if words is None:
                words = " … ".join(record.sentences) or "(other people's words, which are not about you)"
            turns.append(
                Turn(
                    who or values.get("speaker") or "Somebody", _show_place(values), str(words),
                    reader in (str(values.get("speaker_id")), str(values.get("user_id"))) and who != "Assistant",
                    is_part,
                )
            )  # fmt: skip
        yield Talk(names.get(key, ""), turns)


def _show_place(values: Mapping[str, Any]) -> str:
    if values.get("started_s") is not None:
        minutes, seconds = divmod(int(values["started_s"]), 60)
        return f"{minutes}:{seconds:02}"
    return _show_moment(datetime.fromisoformat(values["created_at"])) if values.get("created_at") else ""


def _show(value: Any, names: Mapping[str, str]) -> Any:  # noqa: ANN401  # any value of JSON
    """Return the value for reading: moments as people write them, ids as what they name, None for a bare id."""
    if isinstance(value, list):
        return [shown for one in value if (shown := _show(one, names)) is not None] or None
    if isinstance(value, dict):
        shown_items = {name_column(name): _show(one, names) for name, one in value.items()}
        return {name: shown for name, shown in shown_items.items() if shown is not None} or None
    if isinstance(value, str):
        return _show_text(value, names)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _show_text(value: str, names: Mapping[str, str]) -> str | None:
    if _ID.fullmatch(value):
        return names.get(value)
    if _MOMENT.fullmatch(value):
        return _show_moment(datetime.fromisoformat(value))
    return value.replace("_", " ") if _CODE.fullmatch(value) else value


def _show_moment(moment: datetime) -> str:
    zone = " UTC" if moment.utcoffset() is not None and not moment.utcoffset() else f" {moment:%z}".rstrip()
    return f"{moment.day} {moment:%B %Y, %H:%M}{zone}"


@cache
def _template(name: str) -> "Template":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    pages = Environment(
        loader=PackageLoader("pipelines.privacy"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return pages.get_template(name)

"""How the pages of sources say things: kinds, states, sizes, who may read."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from nicegui import ui

from api.web.parts import element

KINDS: Final = {"transcript": "Transcript", "document": "Document"}
STATES: Final = {
    "received": ("On its way", ""), "indexed": ("Ready", "good"), "failed": ("Failed", "bad"),
    "refused": ("Waits for quota", "warn"), "vanished": ("Gone from its source", ""),
    "expired": ("Taken out by retention", ""),
}  # fmt: skip
"""What a state is called, and the colour of its tag, which never stands alone."""
STAGES: Final = {
    "read": "Read the file", "parse": "Find turns and text", "chunk": "Cut into passages", "embed": "Work out meaning",
    "index": "Make searchable",
}  # fmt: skip
VISIBILITIES: Final = {
    "client_visible": "Clients and coaches", "coach_only": "Coaches alone",
    "admin_aggregate": "Administrators and executives", "system_internal": "Nobody",
}  # fmt: skip


def say_readers(
    visibility: str, client: str | None, coach: str | None, *, is_about: bool, is_own: bool, has_coach: bool
) -> str:
    """Say who may read a source.

    `is_about` a client, also one whose name the viewer may not see; `is_own`: its coach is the viewer.
    """
    if visibility == "system_internal":
        return "Nobody, until somebody says whose it is"
    if visibility == "admin_aggregate":
        return "Administrators and executives"
    if is_about:
        whose = client or "The client"
        return (
            f"{whose} and their coaches" if visibility == "client_visible" else f"Coaches of {client or 'the client'}"
        )
    if has_coach:
        return "You alone" if is_own else f"{coach or 'One coach'} alone"
    return "Everyone in the organisation" if visibility == "client_visible" else "All coaches"


def say_size(count: int) -> str:
    """Return a number of bytes as people say it, such as 1.4 MB."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":  # a thousand is a thousand
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "bytes" or size >= 10 else f"{size:.1f} {unit}"


def count(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun, such as 1 claim or 3 claims."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def add_choice(
    label: str, name: str, options: Sequence[tuple[str, str]], chosen: str | UUID | None = None
) -> ui.element:
    """Add a labelled list to choose from, of values and words, and return it; `name` is its id."""
    with ui.element("div").classes("field"):
        element("label", label).props["for"] = name
        made = ui.element("select")
        made.props["id"] = name
        with made:
            for value, words in options:
                option = element("option", words)
                option.props["value"] = value
                if chosen is not None and value == str(chosen):
                    option.props["selected"] = True
    return made

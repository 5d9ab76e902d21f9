"""A thumb, a reason and some words about an answer."""

from typing import Any, Final
from uuid import UUID

from nicegui import ui

from api.web.parts import button, element, icon_button, notify
from api.web.viewer import Viewer
from domain.feedback import Rating, give_feedback

REASONS: Final = ("Not what was asked", "Not in the sources", "Misses something", "Out of date", "Other")
LONGEST: Final = 4_000


def add_feedback(viewer: Viewer, message_id: UUID) -> None:
    """Add two thumbs to the line; a thumb down asks why."""
    up, down = icon_button("thumb_up", "Helpful"), icon_button("thumb_down", "Not helpful")
    for one in (up, down):
        one.props["aria-pressed"] = "false"

    async def give(rating: Rating, reason: str | None = None, comment: str | None = None) -> None:
        async with viewer.session() as session:
            await give_feedback(
                session, target_type="message", target_id=message_id, rating=rating, reason=reason, comment=comment
            )
        up.props["aria-pressed"], down.props["aria-pressed"] = str(rating == 1).lower(), str(rating == -1).lower()
        notify("Thank you; your feedback is kept.")

    async def praise() -> None:
        await give(1)

    async def complain() -> None:
        answer: dict[str, Any] | None = await _ask_why()
        if answer is not None:
            await give(-1, answer["reason"], answer["comment"])

    up.on("click", praise)
    down.on("click", complain)


async def _ask_why() -> dict[str, Any] | None:
    """Ask what was wrong; None where they change their mind."""
    chosen: dict[str, Any] = {"reason": REASONS[0], "comment": None}
    with ui.dialog() as dialog, ui.element("div").classes("card stack dialog"):
        dialog.props('aria-label="What was wrong?"')
        element("h2", "What was wrong?")
        with ui.element("fieldset").classes("plain stack tight"):
            element("legend", "Reason", "unseen")
            for reason in REASONS:
                with ui.element("label").classes("line"):
                    radio = ui.element("input")
                    radio.props["type"], radio.props["name"], radio.props["value"] = "radio", "why", reason
                    if reason == REASONS[0]:
                        radio.props["checked"] = True
                    radio.on("change", lambda reason=reason: chosen.update(reason=reason))
                    element("span", reason)
        with ui.element("div").classes("field"):
            element("label", "In your words (if you like)").props["for"] = "why-words"
            words = ui.element("textarea")
            words.props["id"], words.props["maxlength"], words.props["rows"] = "why-words", LONGEST, 3
            words.on(
                "change", lambda event: chosen.update(comment=(event.args or "").strip() or None),
                js_handler="(e) => emit(e.target.value)",
            )  # fmt: skip
        with ui.element("div").classes("line"):
            button("Send", lambda: dialog.submit(chosen), "main")
            button("Cancel", lambda: dialog.submit(None))
    result: dict[str, Any] | None = await dialog
    dialog.delete()
    return result

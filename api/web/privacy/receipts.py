"""Receipts of erasures: what went by counts and hashes, whether the signature is genuine, and what is left today."""

import json
from collections.abc import Mapping
from typing import Any

from nicegui import ui

from api.routes import privacy as routes
from api.schemas.privacy import VerificationOut
from api.web.frame import page
from api.web.parts import button, element, say_time
from api.web.privacy.forms import read_id
from api.web.privacy.parts import (
    OFFICERS,
    PAGE,
    Grid,
    ask_in,
    draw_head,
    name_people,
    officer_session,
    page_through,
    say_code,
    say_count,
    section,
)
from api.web.privacy.words import TREATMENTS, cell_store, fact, facts, say_subject
from api.web.viewer import Viewer
from core.signing import load_signing_key
from pipelines.privacy.receipts import Receipt, read_receipt


@page("/privacy/receipts", title="Receipts", roles=OFFICERS)
async def list_receipts(viewer: Viewer) -> None:
    """List the receipts, the newest first."""
    draw_head("/privacy/receipts", "Receipts", "Signed proof of what was erased, by counts and hashes.")
    with ui.element("section").classes("card"):
        grid = Grid(("About", "Erased", "Signed by the key"), caption="Receipts")
        nothing = element("p", "Nothing was erased yet; each erasure leaves a receipt here.", "soft")

        async def load(cursor: str | None) -> str | None:
            async with officer_session(viewer) as (_, session):
                found = await routes.list_receipts(
                    session=session, subject_kind=None, subject_id=None, limit=PAGE, cursor=cursor
                )
                names = await name_people(session, [one.subject_id for one in found.items])
            grid.frame.set_visibility(bool(found.items) or cursor is not None)
            nothing.set_visibility(not found.items and cursor is None)
            for one in found.items:
                with grid.row():
                    with grid.cell():
                        words = say_subject(viewer, names, one.subject_kind, one.subject_id)
                        element("a", words).props(f'href="/privacy/receipts/{one.id}"')
                    with grid.cell():
                        say_time(viewer, one.completed_at)
                    with grid.cell():
                        say_code(one.signing_key)
            return found.next_cursor

        await page_through(load)


@page("/privacy/receipts/{receipt_id}", title="Receipt", roles=OFFICERS)
async def show_receipt(viewer: Viewer, receipt_id: str) -> None:
    """Show a receipt by its id or its request's; verify it, and hand it out."""
    async with officer_session(viewer) as (_, session):
        document = await routes.get_receipt(read_id(receipt_id), session)
        receipt = read_receipt(document)
        names = await name_people(session, [receipt.subject_id])
    title = say_subject(viewer, names, receipt.subject_kind, receipt.subject_id)
    draw_head("/privacy/receipts", f"Receipt: {title}")
    with ui.element("div").classes("stack"):
        _draw_facts(viewer, receipt, document)
        with section("What is left today"):
            outcome = ui.element("div").classes("stack tight").props('aria-live="polite"')
            with outcome:
                element("p", "Every store is counted again, and the signature is checked.", "soft")
            verifying = button("Verify now", None, "main")
        with section(
            "Stores", "What each held before the erasure; hashes are over the keys of rows, never over words."
        ):
            stores = ui.element("div")
            _draw_stores(stores, receipt, {})

    async def count() -> VerificationOut:
        async with officer_session(viewer) as (principal, session):
            return await routes.check_receipt(receipt.id, principal, session, viewer.settings)

    async def verify() -> None:
        if (found := await ask_in(outcome, verifying, count)) is not None:
            with outcome:
                _tell(found)
            _draw_stores(stores, receipt, found.left)

    verifying.on("click", verify)


def _draw_facts(viewer: Viewer, receipt: Receipt, document: dict[str, Any]) -> None:
    is_ours = receipt.public_key == load_signing_key(viewer.settings).public
    taken = sum(one.get("items") or 0 for one in receipt.stores.values() if one.get("treatment") != "keep")

    def hand_out() -> None:
        content = json.dumps(document, indent=2, sort_keys=True).encode() + b"\n"
        ui.download.content(content, f"receipt-{receipt.id}.json", "application/json")

    with ui.element("section").classes("card stack tight").props('aria-label="About the receipt"'):
        with ui.element("div").classes("line"):
            if receipt.is_signed and is_ours:
                element("span", "Signature genuine, signed here", "tag good")
            else:
                words = "Signed by another installation" if receipt.is_signed else "Signature does not fit"
                element("span", words, "tag bad")
        with facts({"Taken": f"{say_count(taken, 'row or file', 'rows and files')}"}):
            with fact("Counted"):
                say_time(viewer, receipt.collected_at)
            with fact("Erased"):
                say_time(viewer, receipt.completed_at)
            with fact("Signing key"):
                say_code(receipt.signing_key)
            with fact("Ids"):
                say_code(f"receipt {receipt.id}", "block")
                say_code(f"{receipt.subject_kind} {receipt.subject_id}", "block")
        with ui.element("div").classes("line"):
            button("Download as JSON", hand_out)
            element("a", "Open the request").props(f'href="/privacy/requests/{receipt.request_id}"')


def _tell(found: VerificationOut) -> None:
    left = sum(found.left.values())
    words = f"{left:,} left in {say_count(len(found.left), 'store')}"
    if found.holds:
        element("p", f"The receipt holds: {words}, and it was signed here.", "note")
        return
    signed = "signed here" if found.is_signed and found.is_ours else "not signed here"
    element("p", f"The receipt does not hold: {words}, {signed}.", "note bad")


def _draw_stores(place: ui.element, receipt: Receipt, left: Mapping[str, int]) -> None:
    """Show the stores that held something, or hold something now, and on demand all others."""
    rows = {name: dict(receipt.stores.get(name, {})) for name in sorted({*receipt.stores, *left})}
    telling = [name for name, one in rows.items() if one.get("items") or left.get(name)]
    place.clear()
    with place:
        _draw_some(telling, rows, left)
        rest = [name for name in rows if name not in telling]
        if rest:
            with ui.element("details").classes("more-of-it"):
                element("summary", f"{say_count(len(rest), 'store')} held nothing about it")
                _draw_some(rest, rows, left)


def _draw_some(chosen: list[str], rows: Mapping[str, Mapping[str, Any]], left: Mapping[str, int]) -> None:
    grid = Grid(
        ("Store", "Held", "Outcome", "Left today", "SHA-256 of the keys"), numbers=frozenset({1, 3}),
        caption="Stores of the receipt",
    )  # fmt: skip
    for name in chosen:
        one = rows[name]
        with grid.row():
            cell_store(grid, name)
            grid.cell(f"{one.get('items') or 0:,}")
            grid.cell(TREATMENTS.get(str(one.get("treatment", "")), "–"))
            none = "kept" if one.get("treatment") == "keep" and left else "–"
            grid.cell(f"{left[name]:,}" if name in left else none, "bad-figure" if left.get(name) else "")
            with grid.cell():
                say_code(str(one.get("sha256") or "–")) if one.get("items") else element("span", "–")

"""Services: whether all this organisation's work stands on answers at this moment, and how old the last backup is."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import Response
from nicegui import ui
from sqlalchemy import select

from api.routes.health import CHECK_TIMEOUT_S, find_newest_revision, get_readiness
from api.web.operations.section import Concern, Section, draw_sentence, say_span
from api.web.parts import element
from api.web.viewer import Viewer
from core.cache import Cache
from core.errors import AppError
from core.findings import Finding
from db.models import EmbeddingsRegistry
from pipelines.backup.history import OLD_BACKUP_SECONDS, OLD_DRILL_SECONDS, Remembered, read_last
from rag.answer_models import list_models
from rag.embedding.counting import is_paid
from rag.providers.chain import is_resting

_WORDS: Final = {"ok": "answers", "warn": "look at this", "fail": "does not work"}
_COLOURS: Final = {"ok": "good", "warn": "warn", "fail": "bad"}
_CURES: Final = {
    "database": "No page works without it; the operator runs `regenesis doctor`.",
    "object store": "Uploads and sources wait for it; the operator runs `regenesis doctor`.",
    "flow server": "Uploads wait and nothing is retried until it is back; the operator runs `regenesis up`.",
}


class ServicesSection(Section[list[Finding]]):
    """The section."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer, "services", "Services", self._read, self._draw_all, find_concerns=find_concerns)

    async def _read(self) -> list[Finding]:
        viewer = self._viewer
        cache: Cache = viewer.service.state.cache
        await asyncio.to_thread(find_newest_revision)  # or the first check would take its time for the database's
        ready, cached, embedded, models, backups = await asyncio.gather(
            get_readiness(Response(), viewer.settings),
            _check("cache", lambda: _ask_cache(cache)),
            _check("embedder", self._ask_embedder),
            self._list_models(),
            _check("backups", _ask_backups),
        )
        found = [
            Finding(one.name, "ok" if one.ok else "fail", one.detail, None if one.ok else _CURES.get(one.name))
            for one in ready.checks
        ]
        return [*found, cached, embedded, *models, backups]

    async def _ask_embedder(self) -> Finding:
        embedder = self._viewer.assistant.embedder
        if embedder is None:
            return Finding("embedder", "warn", "none, so words alone decide what is found", "Configure one.")
        async with self._viewer.session() as session:
            model = await session.scalar(
                select(EmbeddingsRegistry.model_name).where(EmbeddingsRegistry.status == "active")
            )
        if model is not None and model != embedder.name:
            cure = "Run the flow reembed-chunks; until then words alone decide what is found."
            return Finding("embedder", "warn", f"{embedder.name}, while passages are embedded by {model}", cure)
        if is_paid(embedder):  # asking it would cost
            return Finding("embedder", "ok", f"{embedder.name}, a paid service, not asked here")
        began = time.perf_counter()
        await embedder.embed(["Are you there?"])
        return Finding("embedder", "ok", f"{embedder.name}, a question in {say_span(time.perf_counter() - began)}")

    async def _list_models(self) -> list[Finding]:
        async with self._viewer.session() as session:
            choices = await list_models(session, self._viewer.assistant.model)
        found = []
        for place, choice in enumerate(choices, 1):
            name = f"model {place}: {choice.provider.name}"
            where = "outside this installation" if choice.is_outside else "on this machine"
            if is_resting(choice.provider):
                cure = "It failed several times in a row and is tried again within half a minute; others answer."
                found.append(Finding(name, "fail", f"left alone for now, {where}", cure))
            else:
                found.append(Finding(name, "ok", f"asked in its turn, {where}"))
        last = "always last, quotes without any model" if choices else "the only one, quotes without any model"
        return [*found, Finding(f"model {len(choices) + 1}: extractive", "ok", last)]

    def _draw_all(self, findings: list[Finding]) -> None:
        with ui.element("ul").classes("plain ops-checks"):
            for one in findings:
                with ui.element("li").classes("ops-check"):
                    with ui.element("div").classes("line"):
                        element("h3", one.name[0].upper() + one.name[1:])
                        element("span", _WORDS[one.status], f"tag {_COLOURS[one.status]}")
                    draw_sentence(one.detail[0].upper() + one.detail[1:].rstrip(".") + ".", "soft small")
                    if one.cure:
                        draw_sentence(one.cure, "small")
        element(
            "p", "Models are seen as this process of the service sees them; they are not asked for this page.",
            "soft small",
        )  # fmt: skip


def find_concerns(findings: list[Finding]) -> list[Concern]:
    """Return which services ask for somebody."""
    return [
        Concern(
            "bad" if one.status == "fail" else "warn", f"{one.name[0].upper()}{one.name[1:]}: {one.detail.rstrip('.')}"
        )
        for one in findings
        if one.status != "ok"
    ]


def judge_backups(last: Remembered) -> Finding:
    """Return how old the last good backup is and whether it was ever restored; a night and a week are the limits."""
    if last.last_good is None:
        return Finding("backups", "warn", "none yet", "The operator runs `regenesis db backup`, best every night.")
    age = (last.now - last.last_good).total_seconds()
    detail = f"last good backup {say_span(age)} ago"
    drilled = None if last.drilled_at is None else (last.now - last.drilled_at).total_seconds()
    if drilled is None:
        detail += ", never drilled"
    else:
        detail += f", last drill {say_span(drilled)} ago {'passed' if last.passed else 'failed'}"
    if last.passed is False:
        return Finding("backups", "fail", detail, "It did not restore as it was; the operator runs `regenesis doctor`.")
    if last.last_status == "failed":
        return Finding("backups", "fail", f"{detail}, and the last try failed", "The operator runs `regenesis doctor`.")
    if age > OLD_BACKUP_SECONDS:
        return Finding("backups", "warn", detail, "The operator lets the flow back-up run every night.")
    if drilled is None or drilled > OLD_DRILL_SECONDS:
        return Finding("backups", "warn", detail, "The operator runs `regenesis db drill`: only what restores counts.")
    return Finding("backups", "ok", detail)


async def _ask_cache(cache: Cache) -> Finding:
    await cache.get("operations")
    return Finding("cache", "ok", "Redis, shared by all processes" if cache.is_shared else "in this process's memory")


async def _ask_backups() -> Finding:
    return judge_backups(await read_last())


async def _check(name: str, ask: Callable[[], Awaitable[Finding]]) -> Finding:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return await ask()
    except TimeoutError:
        return Finding(name, "fail", f"no answer within {CHECK_TIMEOUT_S:g} s", "The operator runs `regenesis doctor`.")
    except AppError as error:
        detail, _, cure = error.message.rstrip(".").partition("; ")
        return Finding(name, "fail", detail, f"{cure[:1].upper()}{cure[1:]}." if cure else None)

"""Measures the assistant's answers against questions whose answer is known, down to the words that give it.

A fact is one line of JSON: `question`, `type`, `tenant`, `answerable_by` (addresses or roles) and `quotes`, the exact
words an answer should stand on. Run `python -m evaluation.answer_truth FOLDER [--json]` where the folder holds
`truth.jsonl` and `organisations.json` and the organisations are in the store, as `regenesis up --once` leaves them.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from core.errors import Invalid
from db.session import Principal, close_store
from domain import identity
from rag.answer import Assistant, Done, answer

UNANSWERABLE: Final = "unanswerable"
_OPENING: Final = 40
"""Characters of an expected quote by which a longer citation is known to hold it; two quotes may share fewer."""

FindReader = Callable[[str, str], Awaitable[Principal]]
"""Returns the person of an organisation (its slug, their address)."""


class UnusableTruth(Invalid):
    """This folder holds no facts to ask for; it needs truth.jsonl and organisations.json."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One question with the words that answer it; `askers` may see them, `strangers` are the others of its tenant."""

    id: str
    tenant: str
    kind: str
    question: str
    quotes: tuple[str, ...]
    askers: tuple[str, ...]
    strangers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What came of one question: expected quotes cited, of how many; milliseconds until the answer was whole."""

    id: str
    kind: str
    refused: bool
    found: int
    wanted: int
    citations: int
    apt: int
    """Citations that hold an expected quote or lie in one."""
    milliseconds: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Questions of one kind; shares from 0 to 1, of expected quotes but for `precision`.

    `cited` is any of a question's, `cited_all` every, `recall` their mean share; `precision` is the share of citations
    that are expected; `milliseconds` is the median.
    """

    questions: int
    cited: float
    cited_all: float
    recall: float
    refused: float
    citations: float
    precision: float
    milliseconds: float


def load_facts(folder: Path) -> list[Fact]:
    """Return the facts of a folder; raises `UnusableTruth`."""
    try:
        tenants = json.loads((folder / "organisations.json").read_text())["tenants"]
        lines = (folder / "truth.jsonl").read_text().splitlines()
        people = {tenant["slug"]: {user["email"]: user["roles"] for user in tenant["users"]} for tenant in tenants}
        return [_read_fact(json.loads(line), people) for line in lines if line.strip()]
    except (OSError, ValueError, KeyError) as error:
        raise UnusableTruth from error


def _read_fact(line: Mapping[str, Any], people: Mapping[str, Mapping[str, Sequence[str]]]) -> Fact:
    ours = people[line["tenant"]]
    named = line["answerable_by"]
    able = [who for who in ours if who in named or set(ours[who]) & set(named)]
    coaches = [who for who, roles in ours.items() if "coach" in roles]
    return Fact(
        id=line["id"], tenant=line["tenant"], kind=line["type"], question=line["question"],
        quotes=tuple(quote["exact"] for quote in line["quotes"]),
        # what nobody can answer is asked by a coach, who sees most
        askers=tuple(sorted(able, key=lambda who: named.index(who) if who in named else len(named)) or coaches),
        strangers=tuple(who for who in ours if who not in able) if line["quotes"] else (),
    )  # fmt: skip


async def ask_facts(
    assistant: Assistant, facts: Sequence[Fact], find_reader: FindReader, *, now: datetime
) -> list[Asked]:
    """Ask each question as the first who may know the answer, one after the other."""
    return [
        await _ask(assistant, fact, await find_reader(fact.tenant, fact.askers[0]), now)
        for fact in facts
        if fact.askers
    ]


async def find_leaks(
    assistant: Assistant, facts: Sequence[Fact], find_reader: FindReader, *, now: datetime
) -> list[tuple[str, str]]:
    """Ask each question as everyone who may not know the answer; return (fact, who) of those who were shown it."""
    leaks = []
    for fact in facts:
        for stranger in fact.strangers:
            asked = await _ask(assistant, fact, await find_reader(fact.tenant, stranger), now)
            # another may have said a few of the same words, so only one's whole words are a leak
            if any(quote in asked.text for quote in fact.quotes if len(quote) > _OPENING):
                leaks.append((fact.id, stranger))
    return leaks


async def _ask(assistant: Assistant, fact: Fact, reader: Principal, now: datetime) -> Asked:
    started = time.perf_counter()
    done: Done | None = None
    async for event in answer(assistant, reader, fact.question, now=now):
        if isinstance(event, Done):
            done = event
    assert done is not None  # noqa: S101  # an answer ends so
    elapsed = 1000 * (time.perf_counter() - started)
    matches = [[_match(citation.quote, quote) for quote in fact.quotes] for citation in done.citations]
    found = sum(any(row[n] for row in matches) for n in range(len(fact.quotes)))
    apt = sum(any(row) for row in matches)
    return Asked(
        id=fact.id, kind=fact.kind, refused=done.refused, found=found, wanted=len(fact.quotes),
        citations=len(done.citations), apt=apt, milliseconds=elapsed, text=done.text,
    )  # fmt: skip


def _match(cited: str, expected: str) -> bool:
    return expected[:_OPENING] in cited or cited in expected


def tally(asked: Sequence[Asked]) -> dict[str, Tally]:
    """Return the figures of each kind of question, and of all that have an answer under "answerable"."""
    groups: dict[str, list[Asked]] = defaultdict(list)
    for one in asked:
        groups[one.kind].append(one)
        if one.kind != UNANSWERABLE:
            groups["answerable"].append(one)
    return {kind: _sum_up(group) for kind, group in sorted(groups.items())}


def _sum_up(group: Sequence[Asked]) -> Tally:
    count = len(group)
    wanted = [one for one in group if one.wanted]
    most = max(len(wanted), 1)
    return Tally(
        questions=count,
        cited=sum(one.found > 0 for one in wanted) / most,
        cited_all=sum(one.found == one.wanted for one in wanted) / most,
        recall=sum(one.found / one.wanted for one in wanted) / most,
        refused=sum(one.refused for one in group) / count,
        citations=sum(one.citations for one in group) / count,
        precision=sum(one.apt for one in wanted) / max(sum(one.citations for one in wanted), 1),
        milliseconds=sorted(one.milliseconds for one in group)[count // 2],
    )


def format_tally(tallies: Mapping[str, Tally]) -> str:
    """Return the figures as a table."""
    rows = [
        f"{'kind':<14}{'asked':>6}{'cited':>7}{'all':>6}{'recall':>8}{'refused':>9}{'cites':>7}{'apt':>6}{'p50 ms':>8}"
    ]
    rows += [
        f"{kind:<14}{one.questions:>6}{one.cited:>7.0%}{one.cited_all:>6.0%}{one.recall:>8.0%}{one.refused:>9.0%}"
        f"{one.citations:>7.1f}{one.precision:>6.0%}{one.milliseconds:>8.0f}"
        for kind, one in tallies.items()
    ]
    return "\n".join(rows)


async def measure(folder: Path, *, as_json: bool, leaks: bool) -> str:
    """Return the figures for the organisations of the store that the settings name."""
    from core.logging import configure_logging
    from core.settings import get_settings
    from pipelines.ingest import load_embedder

    configure_logging(get_settings().log)
    facts = load_facts(folder)
    assistant = Assistant(await load_embedder(get_settings()))
    now = datetime(2026, 10, 1, tzinfo=UTC)  # behind every session that the facts speak of
    try:
        asked = await ask_facts(assistant, facts, identity.get_principal, now=now)
        leaked = await find_leaks(assistant, facts, identity.get_principal, now=now) if leaks else []
    finally:
        await close_store()
    tallies = tally(asked)
    if as_json:
        return json.dumps(
            {
                "kinds": {kind: asdict(one) for kind, one in tallies.items()},
                "leaks": leaked,
                "asked": [asdict(one) for one in asked],
            }
        )
    return format_tally(tallies) + (f"\nleaks: {leaked or 'none'}" if leaks else "")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--leaks", action="store_true", help="ask as everyone who may not know the answer, too")
    given = parser.parse_args()
    sys.stdout.write(asyncio.run(measure(given.folder, as_json=given.json, leaks=given.leaks)) + "\n")

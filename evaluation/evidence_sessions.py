"""Sessions to measure evidence on: made ones of a client of any length, and public ones, as folders to ingest."""

import csv
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from core.errors import Invalid

FIRST_DAY: Final = datetime(2024, 1, 8, 9, tzinfo=UTC)
WORDS_PER_SESSION: Final = 1_123
"""The mean of AnnoMI's 86 sessions (96,607 words)."""
COACH: Final = "coach@evidence.example"

_THINGS: Final = (
    "the release checklist", "the hiring plan", "the weekly report", "the talk with my sister", "the evening run",
    "the budget draft", "the on-call rota", "the garden", "the reading list", "the savings plan", "the piano practice",
    "the team retrospective", "the letter to the landlord", "the course on statistics", "the morning walk",
    "the kitchen repairs", "the portfolio", "the bedtime routine", "the board presentation", "the invoice backlog",
)  # fmt: skip
_DAYS: Final = ("by Friday", "by next Monday", "before the end of the month", "tomorrow", "this week", "by Wednesday")
_FEELINGS: Final = ("relieved", "anxious", "proud", "tired", "hopeful", "frustrated")
_PROMISES: Final = (
    "I'll finish {} {}.",
    "I will start {} {}.",
    "I'm going to work on {} {}.",
    "I promise to do {} {}.",
)
_KEPT: Final = ("I finished {} after all.", "I did {} last week.", "I worked on {} every day.")
_BROKEN: Final = ("I didn't do {}.", "I never got round to {}.", "I haven't started {}.")
_SMALL: Final = (
    "It was one of those weeks where nothing went as planned.", "We spent the weekend with friends by the lake.",
    "The trains were late again, so I read a little on the platform.", "Honestly, I lost track of the days somewhere.",
    "My colleague was away, which made the office very quiet.", "There was a long meeting about the new building.",
    "I keep turning that over in my head on the way home.", "Some mornings are easier than others, as you know.",
)  # fmt: skip
_QUESTIONS: Final = (
    "How has the week been?", "What would you like to use our time for?", "What got in the way?",
    "And what would a first step look like?", "How did that feel?", "What do you want instead?", "Say more about that.",
)  # fmt: skip


class NoSessions(Invalid):
    """This folder holds no public sessions; name the one that has annomi/turns.jsonl and qmsum/turns.jsonl."""


@dataclass(frozen=True, slots=True)
class SpokenSession:
    """One session to be written as a file: whose it is, and (speaker, seconds, words) a turn."""

    key: str
    client: str
    held_at: datetime
    turns: Sequence[tuple[str, int, str]]
    speakers: dict[str, str]


def make_sessions(count: int, *, words: int = WORDS_PER_SESSION, seed: int = 0) -> list[SpokenSession]:
    """Return a client's weekly sessions: promises, what became of them, wishes, feelings, and talk around them."""
    chosen, client = random.Random(seed), "client@evidence.example"  # noqa: S311  # no secret
    sessions, open_promises = [], list[str]()
    for week in range(count):
        said = [chosen.choice(_KEPT if chosen.random() < 0.6 else _BROKEN).format(thing) for thing in open_promises]
        open_promises = chosen.sample(_THINGS, 2)
        said += [chosen.choice(_PROMISES).format(thing, chosen.choice(_DAYS)) for thing in open_promises]
        said += [
            f"I want to get better at {chosen.choice(_THINGS)}.", f"I feel {chosen.choice(_FEELINGS)} about it all.",
            f"The hardest part is that {chosen.choice(_THINGS)} takes so long.",
        ]  # fmt: skip
        held_at = FIRST_DAY + timedelta(weeks=week)
        turns = list(_spread(said, words, chosen))
        sessions.append(
            SpokenSession(f"session-{week:04}.csv", client, held_at, turns, {"coach": COACH, "client": client})
        )
    return sessions


def _spread(said: Sequence[str], words: int, chosen: random.Random) -> Iterator[tuple[str, int, str]]:
    """Yield turns of about so many words in all, what is said among small talk."""
    turns, spoken = list[str](), 0
    while spoken < words:
        turns.append(" ".join(chosen.choices(_SMALL, k=chosen.randint(1, 4))))
        spoken += len(turns[-1].split()) + 6  # the coach's question before it
    places = sorted(chosen.sample(range(len(turns)), min(len(said), len(turns))))
    for place, sentence in zip(places, said, strict=False):
        turns[place] = f"{turns[place]} {sentence}"
    for n, turn in enumerate(turns):
        yield "coach", 40 * n, chosen.choice(_QUESTIONS)
        yield "client", 40 * n + 8, turn


def read_public_sessions(folder: Path) -> list[SpokenSession]:
    """Return AnnoMI's sessions, those on one topic as one client's, and QMSum's meetings; raises `NoSessions`."""
    sessions: list[SpokenSession] = []
    if (folder / "annomi/turns.jsonl").exists():
        topics = {row["session_id"]: row["topic"] for row in _read(folder / "annomi/sessions.jsonl")}
        clients = {topic: f"annomi-{n}@evidence.example" for n, topic in enumerate(sorted(set(topics.values())))}
        grouped = _group(_read(folder / "annomi/turns.jsonl"), "session_id")
        for week, (name, rows) in enumerate(grouped.items()):
            client = clients[topics[name]]
            turns = [(row["speaker"], int(row["t_start"] or 0), row["text"]) for row in rows]
            held_at, speakers = FIRST_DAY + timedelta(weeks=week), {"therapist": COACH, "client": client}
            sessions.append(SpokenSession(f"{name}.csv", client, held_at, turns, speakers))
    if (folder / "qmsum/turns.jsonl").exists():
        grouped = _group(_read(folder / "qmsum/turns.jsonl"), "meeting")
        for week, (name, rows) in enumerate(grouped.items()):
            turns = [(row["speaker"], 5 * n, row["text"]) for n, row in enumerate(rows)]
            held_at = FIRST_DAY + timedelta(weeks=week)
            sessions.append(SpokenSession(f"{name}.csv", "qmsum@evidence.example", held_at, turns, {}))
    if not sessions:
        raise NoSessions(f"{folder} holds no public sessions; name the folder with annomi/ and qmsum/ in it.")
    return sessions


def _read(path: Path) -> list[dict[str, Any]]:
    with path.open() as lines:
        return [json.loads(line) for line in lines]


def _group(rows: Iterable[dict[str, Any]], by: str) -> dict[str, list[dict[str, Any]]]:
    grouped: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        grouped[row[by]].append(row)
    return grouped


def write_sessions(sessions: Sequence[SpokenSession], folder: Path) -> None:
    """Write a table of turns a session, and the manifest that says whose they are."""
    lines = []
    for one in sessions:
        with (folder / one.key).open("w", newline="") as file:
            turns = [
                (speaker, f"{at // 3600:02}:{at // 60 % 60:02}:{at % 60:02}", said) for speaker, at, said in one.turns
            ]
            csv.writer(file).writerows([("speaker", "timestamp", "text"), *turns])
        lines.append(
            {
                "key": one.key, "kind": "transcript", "visibility": "coach_only", "client": one.client, "coach": COACH,
                "held_at": one.held_at.isoformat(), "session": one.key, "speakers": one.speakers,
            }
        )  # fmt: skip
    (folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

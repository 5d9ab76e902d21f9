"""The sample tenants are what a newcomer meets first and what other tests stand on, so their content is checked."""

import json
import re
from collections import Counter, defaultdict
from datetime import date, datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pipelines.documents import parse_document
from pipelines.parsed import ParsedTranscript, Turn
from pipelines.transcripts import find_transcript_format, parse_transcript

SAMPLE = Path(__file__).parents[2] / "cli" / "sample"
TENANTS = ("harbourlight", "fieldstone")
TODAY = date(2026, 10, 1)  # after the last session: what engagements are active when the questions are asked
MANIFEST_FIELDS = {"key", "kind", "title", "visibility", "client", "coach", "held_at", "session", "speakers"}
TRUTH_FIELDS = {"id", "tenant", "client", "type", "statement", "quotes", "question", "answerable_by", "expected"}
ROLES = {"client", "coach", "admin", "executive", "compliance", "evaluator"}
TYPES = {"commitment", "kept", "broken", "change", "contradiction", "recurrence", "trend", "decision", "feeling"}
TYPES |= {"goal", "obstacle", "feedback", "injection", "private", "leak_probe", "unanswerable"}
# A word that gives each private fact away, to be found nowhere that a client may read.
TELL_TALES = {
    "harbourlight.amina-recruiter-private": "Quayline",
    "harbourlight.daniel-heart-private": "monitor",
    "harbourlight.marisol-mother-private": "second fall",
    "harbourlight.board-private": "84,000",
    "fieldstone.amina-baby-private": "baby",
    "fieldstone.joel-blood-pressure-private": "blood pressure",
    "fieldstone.counseling-private": "sixth counseling",
}

Row = dict[str, Any]  # one object of a JSON file, whose fields the tests themselves check


def read_rows(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@cache
def organisations() -> Row:
    found: Row = json.loads((SAMPLE / "organisations.json").read_text(encoding="utf-8"))
    return found


@cache
def tenant(slug: str) -> Row:
    return next(row for row in organisations()["tenants"] if row["slug"] == slug)


@cache
def manifest(slug: str) -> dict[str, Row]:
    return {row["key"]: row for row in read_rows(SAMPLE / slug / "manifest.jsonl")}


@cache
def truth() -> list[Row]:
    return read_rows(SAMPLE / "truth.jsonl")


@cache
def transcript(slug: str, key: str) -> ParsedTranscript:
    return parse_transcript(key, (SAMPLE / slug / key).read_bytes())


@cache
def passages(slug: str, key: str) -> tuple[str, ...]:
    """What one file says: a transcript's turns, or a document's blocks with their lines unwrapped."""
    if manifest(slug)[key]["kind"] == "transcript":
        return tuple(turn.text for turn in transcript(slug, key).turns)
    blocks = parse_document(key, (SAMPLE / slug / key).read_bytes()).blocks
    return tuple(" ".join(block.text.split()) for block in blocks)


def list_sources(kind: str) -> list[tuple[str, str]]:
    return [(slug, key) for slug in TENANTS for key, row in manifest(slug).items() if row["kind"] == kind]


def list_facts() -> list[Row]:
    return [fact for fact in truth() if fact["type"] != "unanswerable"]


def emails(slug: str, role: str) -> set[str]:
    return {user["email"] for user in tenant(slug)["users"] if role in user["roles"]}


def active_coaches(slug: str, client: str, day: date) -> set[str]:
    return {
        row["coach"]
        for row in tenant(slug)["engagements"]
        if row["client"] == client
        and date.fromisoformat(row["from"]) <= day
        and (row["until"] is None or day <= date.fromisoformat(row["until"]))
    }


def list_readers(slug: str, source: Row) -> set[str]:
    """Return who may read the source today, by the table of roles: e-mails, or roles where it is for the tenant."""
    client = source.get("client")
    match source["visibility"], client:
        case "client_visible", None:
            return {"client", "coach", "admin"}
        case "client_visible", str():
            return {client} | active_coaches(slug, client, TODAY)
        case "coach_only", str():
            return active_coaches(slug, client, TODAY)
        case "admin_aggregate", None:
            return {"admin", "executive"}
    raise AssertionError(f"{source['key']} has an audience the sample does not foresee")


def test_organisations_have_the_people_a_newcomer_needs() -> None:
    assert [row["slug"] for row in organisations()["tenants"]] == list(TENANTS)
    assert [len(emails(slug, "coach")) for slug in TENANTS] == [2, 1]
    assert [len(emails(slug, "client")) for slug in TENANTS] == [3, 2]
    for slug in TENANTS:
        users = tenant(slug)["users"]
        assert {role for user in users for role in user["roles"]} == ROLES
        assert all(user["email"].endswith(f"@{slug}.example") for user in users)
        assert len({user["email"] for user in users}) == len(users)


def test_engagements_join_a_coach_and_a_client_and_one_has_ended() -> None:
    ended = []
    for slug in TENANTS:
        for row in tenant(slug)["engagements"]:
            assert row["coach"] in emails(slug, "coach")
            assert row["client"] in emails(slug, "client")
            if row["until"] is not None:
                assert row["from"] < row["until"]
                ended.append((slug, row["client"], row["coach"]))
        assert all(len(active_coaches(slug, client, TODAY)) == 1 for client in emails(slug, "client"))
    [(slug, client, former)] = ended
    assert former not in active_coaches(slug, client, TODAY)


def test_a_first_name_is_shared_between_the_tenants() -> None:
    names = [{user["full_name"].split()[0] for user in tenant(slug)["users"]} for slug in TENANTS]
    assert names[0] & names[1] == {"Amina"}


@pytest.mark.parametrize("slug", TENANTS)
def test_manifest_and_folder_agree(slug: str) -> None:
    files = {path.name for path in (SAMPLE / slug).iterdir()} - {"manifest.jsonl"}
    assert files == set(manifest(slug))
    for row in manifest(slug).values():
        assert set(row) <= MANIFEST_FIELDS
        assert row["title"]
        assert ("client" in row) == ("coach" in row)
        if "client" in row:
            assert row["client"] in emails(slug, "client")
            assert row["coach"] in emails(slug, "coach")


@pytest.mark.parametrize("slug", TENANTS)
def test_material_is_dated_and_in_order(slug: str) -> None:
    rows = list(manifest(slug).values())
    moments = [datetime.fromisoformat(row["held_at"]) for row in rows]
    assert all(moment.utcoffset() is not None for moment in moments)
    days = [moment.date() for moment in moments]
    assert days == sorted(days)
    assert all(date(2026, 1, 1) <= day < TODAY for day in days)
    sessions = defaultdict(list)
    for row, moment in zip(rows, moments, strict=True):
        if row["kind"] == "transcript":
            assert row["coach"] in active_coaches(slug, row["client"], moment.date())
            assert row["visibility"] == "client_visible"
            sessions[row["client"]].append((row["session"], moment))
        elif "session" in row:
            session = next(r for r in rows if r["kind"] == "transcript" and r["session"] == row["session"])
            assert session["client"] == row["client"]
            assert timedelta(0) < moment - datetime.fromisoformat(session["held_at"]) < timedelta(hours=1)
    for held in sessions.values():
        assert [int(name.rsplit("-", 1)[1]) for name, _ in held] == list(range(1, len(held) + 1))
        assert all(earlier < later for (_, earlier), (_, later) in pairwise(held))


def test_there_are_enough_sessions_in_many_layouts() -> None:
    sources = list_sources("transcript")
    assert len(sources) == 18
    formats = Counter(transcript(slug, key).format for slug, key in sources)
    assert len(formats) >= 7
    assert {key.rsplit(".", 1)[1] for _, key in list_sources("document")} == {"md", "docx", "pdf", "html"}


@pytest.mark.parametrize(("slug", "key"), list_sources("transcript"))
def test_session_reads_as_a_conversation(slug: str, key: str) -> None:
    row, parsed = manifest(slug)[key], transcript(slug, key)
    assert parsed.warnings == ()
    assert 35 <= len(parsed.turns) <= 70
    assert 600 <= sum(len(turn.text.split()) for turn in parsed.turns) <= 1300
    assert set(row["speakers"]) == {turn.speaker for turn in parsed.turns}
    assert set(row["speakers"].values()) == {row["client"], row["coach"]}
    starts = [turn.start for turn in parsed.turns if turn.start is not None]
    assert len(starts) == len(parsed.turns)
    assert starts == sorted(starts)
    assert sum("?" in turn.text for turn in spoken_by(slug, key, row["coach"])) >= 10


def spoken_by(slug: str, key: str, email: str) -> list[Turn]:
    speakers = manifest(slug)[key]["speakers"]
    return [turn for turn in transcript(slug, key).turns if turn.speaker and speakers[turn.speaker] == email]


@pytest.mark.parametrize(("slug", "key"), list_sources("document"))
def test_document_is_read_as_a_document(slug: str, key: str) -> None:
    content = (SAMPLE / slug / key).read_bytes()
    assert find_transcript_format(key, content) is None
    parsed = parse_document(key, content)
    assert parsed.warnings == ()
    assert sum(len(block.text.split()) for block in parsed.blocks) >= 60
    if key.endswith(".pdf"):
        assert {block.page for block in parsed.blocks} >= {1, 2}


def test_facts_are_many_and_of_every_kind() -> None:
    assert len({fact["id"] for fact in truth()}) == len(truth())
    kinds = Counter(fact["type"] for fact in truth())
    assert set(kinds) == TYPES
    assert len(list_facts()) >= 45
    assert kinds["unanswerable"] >= 8
    for fact in truth():
        assert set(fact) == TRUTH_FIELDS
        assert fact["client"] is None or fact["client"] in emails(fact["tenant"], "client")
        assert all(fact[field] for field in ("statement", "question", "expected"))


@pytest.mark.parametrize("fact", list_facts(), ids=lambda fact: fact["id"])
def test_fact_is_quoted_verbatim_and_asked_of_those_who_may_read(fact: Row) -> None:
    slug, readers = fact["tenant"], []
    assert fact["quotes"]
    for quote in fact["quotes"]:
        source = manifest(slug)[quote["key"]]
        assert source.get("client") == fact["client"]
        said = passages(slug, quote["key"])
        if source["kind"] == "transcript":
            said = tuple(turn.text for turn in spoken_by(slug, quote["key"], quote["speaker"]))
        else:
            assert quote["speaker"] is None
        assert sum(quote["exact"] in text for text in said) == 1, quote
        readers.append(list_readers(slug, source))
    assert set(fact["answerable_by"]) == set.intersection(*readers)


@pytest.mark.parametrize(
    ("kind", "sessions", "quotes"),
    [
        ("recurrence", 3, 3),
        ("trend", 2, 2),
        ("change", 2, 2),
        ("contradiction", 2, 2),
        ("kept", 1, 2),
        ("broken", 1, 2),
    ],
)
def test_what_spans_sessions_is_quoted_from_enough_of_them(kind: str, sessions: int, quotes: int) -> None:
    for fact in (fact for fact in truth() if fact["type"] == kind):
        assert len({quote["key"] for quote in fact["quotes"]}) >= sessions, fact["id"]
        assert len(fact["quotes"]) >= quotes, fact["id"]


def test_open_questions_have_nothing_to_stand_on() -> None:
    for fact in (fact for fact in truth() if fact["type"] == "unanswerable"):
        assert fact["quotes"] == []
        assert fact["answerable_by"] == []


def test_private_facts_appear_nowhere_a_client_may_read() -> None:
    private = {fact["id"]: fact for fact in truth() if fact["type"] == "private"}
    assert set(private) == set(TELL_TALES)
    for name, word in TELL_TALES.items():
        holders = {
            manifest(slug)[key]["visibility"]
            for slug in TENANTS
            for key in manifest(slug)
            if any(word in text for text in passages(slug, key))
        }
        assert len(holders) == 1, name
        assert holders <= {"coach_only", "admin_aggregate"}, name


def test_the_same_question_has_another_answer_in_the_other_tenant() -> None:
    answers: dict[str, dict[str, str]] = defaultdict(dict)
    for fact in list_facts():
        answers[fact["question"]][fact["tenant"]] = fact["expected"]
    twins = [both for both in answers.values() if len(both) == 2]
    assert len(twins) >= 3
    assert all(both["harbourlight"] != both["fieldstone"] for both in twins)


def test_the_first_question_is_answered_by_the_last_session() -> None:
    welcome = organisations()["welcome"]
    [fact] = [f for f in truth() if (f["tenant"], f["question"]) == (welcome["tenant"], welcome["question"])]
    assert welcome["user"] in fact["answerable_by"]
    sources = manifest(fact["tenant"]).values()
    sessions = [row["key"] for row in sources if row["kind"] == "transcript" and row["client"] == fact["client"]]
    assert {quote["key"] for quote in fact["quotes"]} == {sessions[-1]}


def test_no_sentence_is_shared_between_the_files_of_different_clients() -> None:
    owners: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for slug in TENANTS:
        for key, row in manifest(slug).items():
            for sentence in re.split(r"(?<=[.!?])\W*\s", " \n".join(passages(slug, key))):
                words = re.findall(r"[^\W_]+", sentence.lower())
                if len(words) >= 5:
                    owners[" ".join(words)].add((slug, row.get("client", key)))
    assert len(owners) > 1000
    assert {sentence: files for sentence, files in owners.items() if len(files) > 1} == {}

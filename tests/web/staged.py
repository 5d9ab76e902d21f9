"""What happens in the sample before its pages are photographed: verdicts, a file that fails, runs, a receipt.

Everything is done over HTTP with the sample's keys, as people would, and once by the operator's command.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx

from cli.first_start import KEYS

PATIENCE_S: Final = 180.0
GONE: Final = "Parking note: the visitors' bays at Harbour House are numbered eleven to fourteen."
UNNAMED: Final = (
    "Speaker 1: How did the handover go this week?\n\nSpeaker 2: I'll call the depot by Friday and ask for the list.\n"
)


@contextmanager
def open_people(url: str, home: Path) -> Iterator[dict[str, httpx.Client]]:
    """Yield one client a role, which asks with the sample's key."""
    keys = {one["role"]: one["key"] for one in json.loads((home / KEYS).read_text())}
    people = {
        role: httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60)
        for role, key in keys.items()
    }
    try:
        yield people
    finally:
        for one in people.values():
            one.close()


def stage(url: str, home: Path) -> dict[str, list[str]]:
    """Let things happen, and return by role the pages no link leads to."""
    with open_people(url, home) as people:
        coach, compliance = people["coach"], people["compliance"]
        clients = {one["email"].split(".")[0]: one["id"] for one in ask(coach, "GET", "/v1/clients")["items"]}
        first, second = ask(coach, "GET", "/v1/insights", params={"status": "draft", "client": clients["amina"]})[
            "items"
        ][:2]
        ask(coach, "POST", f"/v1/insights/{first['id']}/accept", json={"share": True})
        ask(
            coach,
            "POST",
            f"/v1/insights/{second['id']}/reject",
            json={"reason": "It was one bad week."},
        )
        ask(coach, "POST", "/v1/evidence-packs", json={"client_id": clients["amina"]})
        add_files(coach, home)
        ask(compliance, "POST", "/v1/privacy/holds", json=about(clients["daniel"], "A complaint is being looked into."))
        ask(compliance, "POST", "/v1/privacy/requests", json=about(clients["daniel"], "Asked by letter."))
        ask(people["client"], "POST", "/v1/privacy/exports", json={})
        return {"evaluator": [run_twice(people["evaluator"])]}


def about(person: str, reason: str) -> dict[str, str]:
    """Return what names a person and why."""
    return {"subject_kind": "person", "subject_id": person, "reason": reason}


def add_files(coach: httpx.Client, home: Path) -> None:
    """Add a file that fails, one whose speakers have no names, and one that is erased again."""
    kept = {"visibility": "coach_only"}
    for name, content in (("scan.pdf", b"%PDF-1.7 broken off"), ("handover.txt", UNNAMED.encode())):
        ask(coach, "POST", "/v1/ingestions", files={"file": (name, content)}, data=kept)
    ask(coach, "POST", "/v1/ingestions", files={"file": ("parking.txt", GONE.encode())}, data=kept)
    wait(lambda: {one["status"] for one in ask(coach, "GET", "/v1/ingestions")["items"]} <= {"indexed", "failed"})
    (found, *_) = ask(coach, "POST", "/v1/search", json={"query": GONE, "top_k": 1})["items"]
    command = [str(Path(sys.executable).with_name("regenesis")), "privacy", "erase", "--tenant", "harbourlight"]
    command += ["--document", found["source_id"], "--reason", "Put there by mistake", "--yes"]
    subprocess.run(command, env={**os.environ, "REGENESIS_HOME": str(home)}, check=True, stdout=subprocess.DEVNULL)


def run_twice(evaluator: httpx.Client) -> str:
    """Run the sample's suite twice, and return the page that compares the runs."""
    (suite,) = ask(evaluator, "GET", "/v1/evaluations/suites")["items"]
    for _ in range(2):
        known = len(list_runs(evaluator))
        ask(evaluator, "POST", "/v1/evaluations", json={"suite": suite["name"]})
        wait(partial(has_ended, evaluator, known + 1))
    after, before = list_runs(evaluator)
    return f"/evaluations/compare?a={before['id']}&b={after['id']}"


def has_ended(evaluator: httpx.Client, count: int) -> bool:
    """Tell whether there are so many runs and all are whole."""
    return [one["status"] for one in list_runs(evaluator)] == ["completed"] * count


def list_runs(evaluator: httpx.Client) -> list[dict[str, Any]]:
    """Return the runs, the newest first."""
    found: list[dict[str, Any]] = ask(evaluator, "GET", "/v1/evaluations")["items"]
    return found


def wait(is_so: Callable[[], bool]) -> None:
    """Wait until it is so; raises `TimeoutError`."""
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError("What was asked for has not happened; `regenesis doctor` says what is wrong.")
        time.sleep(1)


def ask(person: httpx.Client, method: str, path: str, **sent: Any) -> Any:  # what the path answers
    """Return the answer; raises where it is a problem."""
    reply = person.request(method, path, **sent)
    if reply.is_error:
        raise RuntimeError(f"{method} {path}: {reply.text}")
    return reply.json()

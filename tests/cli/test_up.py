"""`regenesis up` for real: processes, ports, the sample ingested through its deployed flow, one cited answer."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from cli.first_start import KEYS, read_sample
from cli.run_file import find_run, hold_home
from core.settings import Settings
from pipelines.transcripts import find_transcript_format, parse_transcript
from tests.cli.ports import free_port

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LONG = 240
HOLDER = """
import socket, sys, time
held = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("ready", flush=True)
time.sleep(60)
"""


@dataclass
class Home:
    """A home of its own, with ports nobody uses."""

    folder: Path
    api_port: int = field(default_factory=free_port)
    prefect_port: int = field(default_factory=free_port)
    first: str = ""

    @property
    def up(self) -> tuple[str, ...]:
        return ("up", "--port", str(self.api_port), "--prefect-port", str(self.prefect_port))

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", "from cli.main import main; main()", *arguments],
            cwd=ROOT,
            env={**os.environ, "REGENESIS_HOME": str(self.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        with self.start(*arguments) as process:
            try:
                out, err = process.communicate(timeout=LONG)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return process.returncode, out, err

    def processes(self) -> list[psutil.Process]:
        """Whatever still runs for this home."""
        found = []
        for process in psutil.process_iter():
            try:
                if str(self.folder) in (process.environ().get("REGENESIS_HOME"), process.environ().get("PGDATA")):
                    found.append(process)
            except psutil.Error:
                continue
        return [one for one in found if one.pid != os.getpid()]


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    """A home that saw one whole first start."""
    folder = Path(tempfile.mkdtemp(prefix="regenesis-up-"))
    folder.chmod(0o755)  # as root, PostgreSQL runs as a user of its own that must pass through
    made = Home(folder)
    code, made.first, err = made.run(*made.up, "--once")
    try:
        assert code == 0, made.first + err
        yield made
    finally:
        for process in made.processes():
            process.kill()
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(condition: Callable[[], Any], process: "subprocess.Popen[str]") -> Any:
    deadline = time.monotonic() + LONG
    while time.monotonic() < deadline:
        if value := condition():
            return value
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    raise AssertionError("not in time")


@cache
def spoken() -> list[str]:
    """Every turn of the sample's transcripts."""
    folders = [tenant.folder for tenant in read_sample().tenants]
    files = [path for folder in folders for path in folder.iterdir()]
    files = [path for path in files if path.suffix not in {".docx", ".pdf", ".html", ".jsonl"}]
    read = [(path.name, path.read_bytes()) for path in files]
    transcripts = [parse_transcript(*one) for one in read if find_transcript_format(*one)]
    return [" ".join(turn.text.split()) for transcript in transcripts for turn in transcript.turns]


def test_first_start_prints_a_cited_answer_keys_and_stops(home: Home) -> None:
    assert read_sample().welcome.question in home.first
    citations = re.findall(r"\[(\d+)\]\s+“(.+?)”\s*\n\s+(\S.*)", home.first)
    assert citations, home.first
    for _, quote, place in citations:
        assert any(quote in turn for turn in spoken()), quote
        assert re.search(r"\S+ · .* 2026 · \d+:\d\d", place), place
    for key in json.loads((home.folder / KEYS).read_text()):
        assert key["key"] in home.first
    for tenant in read_sample().tenants:
        # the schedule may have come first, where a start is slow
        built = r"(built; \d+ claims, \d+ patterns|nothing new)"
        assert re.search(rf"evidence of {tenant.slug} .* {built}", home.first), home.first
    assert re.search(r"figures .* counted anew every hour", home.first), home.first
    assert "Traceback" not in home.first
    assert find_run(home.folder) is None
    assert home.processes() == []


def test_questions_are_answered_without_a_server(home: Home) -> None:
    welcome = read_sample().welcome
    who = ("--tenant", welcome.tenant, "--user", welcome.user)
    code, out, err = home.run("ask", welcome.question, *who, "--json")
    assert code == 0, err
    answer = json.loads(out)
    assert any(answer["citations"][0]["quote"] in turn for turn in spoken())
    assert all(sentence["citations"] for sentence in answer["sentences"])
    code, out, err = home.run("search", "delegating decisions to the team", *who, "--top-k", "3", "--json")
    assert code == 0, err
    scores = [one["score"] for one in json.loads(out)["passages"]]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)


def test_second_start_ingests_nothing_serves_and_stops_on_sigterm(home: Home, tmp_path: Path) -> None:
    with home.start(*home.up) as process:
        run = wait_for(lambda: (found := find_run(home.folder)) and found.is_serving and found, process)
        code, _, err = home.run(*home.up)
        assert code == 1
        assert run.api_url in err
        assert len(err.strip().splitlines()) == 1
        assert "[1]" in ask_by_http(home, run.api_url)
        code, out, _ = home.run("doctor", "--json")
        findings = {check["name"]: check for check in json.loads(out)["checks"]}
        assert findings["API"]["status"] == "ok", findings
        assert findings["flow server"]["status"] == "ok", findings
        assert code == 0
        check_ingest(home, tmp_path)
        check_evidence(home)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=LONG)
    assert process.returncode == 0, out + err
    assert out.count("unchanged since the last start") == len(read_sample().tenants), out
    assert out.count("nothing new") == len(read_sample().tenants), out
    assert "curl " in out
    assert f":{home.prefect_port}" in out
    assert "Stopped." in out
    assert home.processes() == []


def check_ingest(home: Home, folder: Path) -> None:
    """One bad file beside a good one: the good one can be asked about, the bad one says what is wrong."""
    (folder / "note.md").write_text("# Parking\n\nThe blue gate opens at seven and closes at nineteen.\n")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 nothing follows")
    welcome = read_sample().welcome
    tenant = ("--tenant", welcome.tenant)
    code, out, err = home.run("ingest", str(folder), *tenant, "--visibility", "client_visible", "--json")
    assert code == 1, err
    (report,) = json.loads(out)
    outcomes = {one["key"]: one for one in report["outcomes"]}
    assert outcomes["note.md"]["outcome"] == "indexed"
    assert outcomes["broken.pdf"]["outcome"] == "failed"
    assert "broken.pdf" in outcomes["broken.pdf"]["error"]
    assert err.strip().splitlines()[-1].startswith("1 could not be ingested")
    code, out, _ = home.run("ask", "When does the blue gate open?", *tenant, "--user", welcome.user)
    assert code == 0
    assert "seven" in out


def check_evidence(home: Home) -> None:
    """Built already, found again by the flow, and all of it proved."""
    welcome = read_sample().welcome
    code, out, err = home.run("evidence", "build", "--tenant", welcome.tenant, "--all", "--json")
    assert code == 0, err
    report = json.loads(out)
    outcomes = {one["outcome"] for client in report["clients"] for one in client["sessions"]}
    assert outcomes == {"unchanged"}
    code, out, err = home.run("evidence", "verify", "--json")
    assert code == 0, out + err
    assert json.loads(out)["broken"] == 0


def ask_by_http(home: Home, api_url: str) -> str:
    """Ask as the screen proposes."""
    welcome = read_sample().welcome
    keys = {key["email"]: key["key"] for key in json.loads((home.folder / KEYS).read_text())}
    reply = httpx.post(
        f"{api_url}/v1/chat/completions",
        headers={"Authorization": f"Bearer {keys[welcome.user]}"},
        json={"model": "sasha", "messages": [{"role": "user", "content": welcome.question}]},
        timeout=LONG,
    )
    assert reply.status_code == 200, reply.text
    return str(reply.json()["choices"][0]["message"]["content"])


def test_what_a_killed_start_leaves_is_stopped_by_the_next(home: Home) -> None:
    with home.start(*home.up) as process:
        run = wait_for(lambda: (found := find_run(home.folder)) and len(found.children) == 2 and found, process)
        process.kill()
        process.communicate(timeout=LONG)
    assert find_run(home.folder) is None
    left = [child.pid for child in run.children if psutil.pid_exists(child.pid)]
    assert len(left) == 2, "API and flow server outlive it"
    with hold_home(home.folder):
        assert not [pid for pid in left if psutil.pid_exists(pid)]


def test_interrupt_while_starting_is_clean(home: Home) -> None:
    with home.start(*home.up) as process:
        wait_for(lambda: (found := find_run(home.folder)) and found.children, process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=LONG)
    assert process.returncode == 130
    assert "Traceback" not in out + err
    assert home.processes() == []


def test_port_in_use_is_one_sentence_and_starts_nothing(home: Home) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(home.prefect_port)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        code, out, err = home.run(*home.up, "--once")
        other.kill()
    assert code == 1
    assert f"Port {home.prefect_port} is in use" in err
    assert f"process {other.pid}" in err
    assert "--prefect-port" in err
    assert len(err.strip().splitlines()) == 1
    assert "PostgreSQL" not in out


def test_home_that_cannot_be_written_is_one_sentence(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "file").touch()
    code, _, err = Home(tmp_path / "file" / "home").run("up", "--once")
    assert code == 1
    assert "REGENESIS_HOME" in err
    assert len(err.strip().splitlines()) == 1

"""The same sessions in ten layouts give the same turns; real exports of the tools people use are read."""

import json
import os
from pathlib import Path

import pytest

from pipelines.transcripts import find_transcript_format, parse_transcript

FORMATS = (
    Path(os.environ.get("REGENESIS_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data") / "transcript_formats"
)
LABELS: dict[str, dict[str | None, str | None]] = {
    "bracket.txt": {"Therapist": "therapist", "Client": "client"},
    "changelog.md": {"Therapist": "therapist", "Client": "client"},
    "otter.txt": {"Therapist": "therapist", "Client": "client"},
    "plain_no_times.txt": {"T": "therapist", "C": "client"},
    "srt": {"Therapist": "therapist", "Client": "client"},
    "teams.docx": {"Therapist": "therapist", "Client": "client"},
    "teams.vtt": {"Therapist": "therapist", "Client": "client"},
    "whisper_no_speakers.json": {},
    "whisperx.json": {"SPEAKER_00": "therapist", "SPEAKER_01": "client"},
    "zoom.vtt": {"Therapist": "therapist", "Client": "client"},
}
WITH_ENDS = {"srt", "teams.docx", "teams.vtt", "whisper_no_speakers.json", "whisperx.json", "zoom.vtt"}
NO_TRANSCRIPTS = {"tldr.json", "key_decisions.json", "summary.json", "transcript_changelog.tsv"}

pytestmark = pytest.mark.skipif(
    not FORMATS.is_dir(),
    reason="the public development data is not here; set REGENESIS_TEST_DATA to its folder",
)


def list_sessions() -> list[Path]:
    return sorted(FORMATS.glob("rendered/*.truth.jsonl"))


@pytest.mark.parametrize("layout", LABELS)
def test_layout_gives_the_true_turns(layout: str) -> None:
    sessions = list_sessions()
    assert sessions
    for truth_file in sessions:
        truth = [json.loads(line) for line in truth_file.read_text("utf-8").splitlines()]
        path = truth_file.with_name(truth_file.name.replace("truth.jsonl", layout))
        parsed = parse_transcript(path.name, path.read_bytes())
        assert [turn.text for turn in parsed.turns] == [turn["text"] for turn in truth]
        if speakers := LABELS[layout]:
            assert [speakers[turn.speaker] for turn in parsed.turns] == [turn["speaker"] for turn in truth]
        else:
            assert {turn.speaker for turn in parsed.turns} == {None}
        has_times, has_ends = layout != "plain_no_times.txt", layout in WITH_ENDS
        assert [turn.start for turn in parsed.turns] == [turn["start"] if has_times else None for turn in truth]
        assert [turn.end for turn in parsed.turns] == [turn["end"] if has_ends else None for turn in truth]


def test_real_exports_are_read_and_their_companions_are_not() -> None:
    files = [path for path in sorted(FORMATS.glob("real/**/*")) if path.is_file()]
    assert files
    for path in files:
        content = path.read_bytes()
        if path.name in NO_TRANSCRIPTS:
            assert find_transcript_format(path.name, content) is None, path
        else:
            assert parse_transcript(path.name, content).turns, path


@pytest.mark.parametrize(
    ("pattern", "expected", "named"),
    [
        ("zoom_*/transcript*.vtt", "vtt", True),
        ("zoom_*/chat.txt", "zoom-chat", True),
        ("otter*.txt", "otter", True),
        ("changelog*.md", "markdown", True),
        ("teams*.docx", "teams-docx", True),
        ("youtube*.vtt", "vtt", False),
        ("*.srt", "srt", False),
        ("*.sbv", "sbv", False),
    ],
)
def test_real_export_has_its_format_and_names(pattern: str, expected: str, named: bool) -> None:
    paths = sorted(FORMATS.glob(f"real/{pattern}"))
    assert paths
    for path in paths:
        parsed = parse_transcript(path.name, path.read_bytes())
        assert parsed.format == expected
        assert all((turn.speaker is not None) == named for turn in parsed.turns), path

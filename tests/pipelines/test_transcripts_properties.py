"""What is written down in a layout is read back as it was said, and no bytes crash the reader."""

import contextlib
import csv
import html
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.parsed import Turn, UnreadableSource
from pipelines.transcripts import find_transcript_format, parse_transcript

SPEAKERS = ("Coach", "Client", "Speaker 1", "SPEAKER_02", "T", "Interviewer")
AWKWARD = (
    "R&D", "1<2", "10:30", "—", "5%", "well,", "so:", "“no”", "[inaudible 00:09:27]", "(laughs)",
    "a/b", "it's", "naïve", "😀", "42", "- yes", "=>", "#1", "Ana:", "&amp;", "'n'", "*so*", "e.g.", "...",
)  # fmt: skip

words = st.sampled_from(AWKWARD) | st.text(st.characters(categories=["L"], max_codepoint=0x24F), min_size=1, max_size=8)
texts = st.lists(words, min_size=1, max_size=12).map(" ".join)


@st.composite
def conversations(draw: st.DrawFn) -> list[Turn]:
    count = draw(st.integers(2, 12))
    starts = sorted(draw(st.lists(st.integers(0, 15_000), min_size=count, max_size=count)))
    return [
        Turn(draw(st.sampled_from(SPEAKERS)), draw(texts), float(start), float(start + draw(st.integers(0, 60))))
        for start in starts
    ]


def clock(seconds: float | None, point: str = ".") -> str:
    whole = int(seconds or 0)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{point}000"


def short(seconds: float | None) -> str:
    whole = int(seconds or 0)
    return (
        f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}" if whole >= 3600 else f"{whole // 60}:{whole % 60:02}"
    )


def write_zoom(turns: list[Turn]) -> str:
    cues = (
        f"{i}\n{clock(t.start)} --> {clock(t.end)}\n{t.speaker}: {html.escape(t.text)}\n"
        for i, t in enumerate(turns, 1)
    )
    return "WEBVTT\n\n" + "\n".join(cues)


def write_teams(turns: list[Turn]) -> str:
    """Cut every turn in two cues, the second parts after all the first, as overlapping speech may have it."""
    parts = [
        f"6f-1/{i}-{part}\n{clock(t.start)} --> {clock(t.end)}\n<v {t.speaker}>{html.escape(said)}</v>\n"
        for part in (0, 1)
        for i, t in enumerate(turns)
        for said in [t.text.partition(" ")[2 * part]]
    ]
    return "WEBVTT\n\n" + "\n".join(parts)


def write_srt(turns: list[Turn]) -> str:
    return "\n".join(
        f"{i}\n{clock(t.start, ',')} --> {clock(t.end, ',')}\n{t.speaker}: {t.text}\n" for i, t in enumerate(turns, 1)
    )


def write_teams_word(turns: list[Turn]) -> bytes:
    space = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    body = "".join(
        f"<w:p><w:r><w:t>{clock(t.start)} --&gt; {clock(t.end)}</w:t><w:br/><w:t>{t.speaker}</w:t><w:br/>"
        f"<w:t>{escape(t.text)}</w:t></w:r></w:p>"
        for t in turns
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as package:
        package.writestr("word/document.xml", f'<w:document xmlns:w="{space}"><w:body>{body}</w:body></w:document>')
    return buffer.getvalue()


def write_table(turns: list[Turn], delimiter: str) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter)
    writer.writerow(["speaker", "start", "end", "text"])
    writer.writerows([t.speaker, t.start, t.end, t.text] for t in turns)
    return buffer.getvalue()


def write_segments(turns: list[Turn], *, with_speakers: bool) -> str:
    segments = [{"start": t.start, "end": t.end, "text": f" {t.text}", "speaker": t.speaker} for t in turns]
    if not with_speakers:
        for segment in segments:
            del segment["speaker"]
    return json.dumps({"segments": segments})


def write_markdown(turns: list[Turn]) -> str:
    return "\n\n".join(f"**{t.speaker}:** \\[{clock(t.start)}\\] {t.text}" for t in turns)


Writer = Callable[[list[Turn]], str | bytes]
# What writes the layout, its name, and the parts of a turn it does not carry.
LAYOUTS: dict[str, tuple[Writer, str, tuple[str, ...]]] = {
    "zoom": (write_zoom, "vtt", ()),
    "teams": (write_teams, "vtt", ()),
    "srt": (write_srt, "srt", ()),
    "teams-docx": (write_teams_word, "teams-docx", ()),
    "whisper": (lambda turns: write_segments(turns, with_speakers=False), "whisper", ("speaker",)),
    "whisperx": (lambda turns: write_segments(turns, with_speakers=True), "whisperx", ()),
    "jsonl": (
        lambda turns: "\n".join(
            json.dumps({"role": t.speaker, "t_start": t.start, "t_end": t.end, "content": t.text}) for t in turns
        ),
        "jsonl",
        (),
    ),
    "csv": (lambda turns: write_table(turns, ","), "csv", ()),
    "tsv": (lambda turns: write_table(turns, "\t"), "tsv", ()),
    "zoom-chat": (
        lambda turns: "".join(f"{clock(t.start)[:8]}\t{t.speaker}:\t{t.text}\r\n" for t in turns),
        "zoom-chat",
        ("end",),
    ),
    "markdown": (write_markdown, "markdown", ("end",)),
    "brackets": (
        lambda turns: "\n".join(f"[{clock(t.start)[:8]}] {t.speaker}: {t.text}" for t in turns),
        "timed-text",
        ("end",),
    ),
    "names, then times": (
        lambda turns: "\n\n".join(f"{t.speaker} ({clock(t.start)[:8]}): {t.text}" for t in turns),
        "timed-text",
        ("end",),
    ),
    "otter": (
        lambda turns: "\n\n".join(f"{t.speaker}  {short(t.start)}  \n{t.text}" for t in turns),
        "otter",
        ("end",),
    ),
    "headed": (
        lambda turns: "\n".join(f"{t.speaker} {clock(t.start)[:8]}\n{t.text}" for t in turns),
        "headed-text",
        ("end",),
    ),
    "labels": (lambda turns: "\n".join(f"{t.speaker}: {t.text}" for t in turns), "text", ("start", "end")),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=60)
@given(turns=conversations())
def test_what_was_said_is_read_back(layout: str, turns: list[Turn]) -> None:
    write, expected_format, lost = LAYOUTS[layout]
    written = write(turns)
    parsed = parse_transcript("x", written if isinstance(written, bytes) else written.encode())
    assert parsed.format == expected_format
    kept = [asdict(turn) | dict.fromkeys(lost) for turn in turns]
    assert [asdict(turn) for turn in parsed.turns] == kept


def read(content: bytes) -> None:
    found = find_transcript_format("transcript.txt", content)
    try:
        parsed = parse_transcript("transcript.txt", content)
    except UnreadableSource:
        return  # any other exception is the failure
    else:
        assert found == parsed.format
        assert parsed.turns
        assert all(turn.text for turn in parsed.turns)


@settings(max_examples=300)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    read(content)


PIECES = (
    "WEBVTT", "\n", "\n\n", "\r", " ", "\t", "00:01", "00:00:01.000", "0:0:1,5", " --> ", ",", ":", "Ana",
    "Coach: ", "<v Ana>", "</v>", "<00:00:01.0>", "**", "[", "]", "\\[", "(", "{", "}", '"', '"text"',
    '"speaker"', "speaker,text", "NOTE", "1", "a/1-0", "PK\x03\x04", "\ufeff", "\x00", "&amp;", "#",
    "[0:01]", "Ana  0:01\n", "\x85", "9" * 400,
)  # fmt: skip


@settings(max_examples=400)
@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join), st.sampled_from(["utf-8", "utf-16", "utf-16-be"]))
def test_any_mixture_is_read_or_refused(content: str, encoding: str) -> None:
    read(content.encode(encoding))


@settings(max_examples=100)
@given(conversations(), st.data())
def test_a_damaged_docx_is_read_or_refused(turns: list[Turn], data: st.DataObject) -> None:
    content = bytearray(write_teams_word(turns))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(4, len(content) - 1))] = data.draw(st.integers(0, 255))
    read(bytes(content[: data.draw(st.integers(5, len(content)))]))


OPENINGS = {
    "nothing": "",
    "cues": "WEBVTT\n\n00:01.000 --> 00:02.000\n",
    "brackets": "[0:01] A: x\n[0:02] B: x\n",
    "otter": "Ana  0:01\nx\n\nAna  0:02\n",
    "chat": "00:00:01\tA:\t",
    "markdown": "**A:** [0:01] ",
}


@pytest.mark.parametrize("opening", OPENINGS)
def test_hostile_lines_take_linear_time(opening: str) -> None:
    """A pattern that backtracks over a long line would not come back within the run."""
    for seed in (
        " ",
        "[",
        "**",
        "<v ",
        "<c ",
        "00:00:",
        "0 ",
        "a ",
        "a:",
        "\\[0:0",
        "(0:00 ",
        "a, ",
        '{"',
        "\t",
        "&",
        "0:0-",
    ):
        line = seed * (2_000_000 // 16 // len(seed))
        for content in (OPENINGS[opening] + line, OPENINGS[opening] + (seed * 40 + "\n") * 1000):
            with contextlib.suppress(UnreadableSource):
                assert parse_transcript("x", content.encode()).turns

"""Reading session transcripts in any layout people export, so that the rest of the product sees turns only."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from pipelines.parsed import EmptySource, ParsedTranscript, Turn, UnreadableSource
from pipelines.transcripts import cues, plain, structured, timed
from pipelines.transcripts.source import Source, open_source

MAX_TURNS = 200_000  # a week of uninterrupted talk at one turn in three seconds
_TIME_OF_DAY = 6 * 3600.0  # seconds; no recording of a session begins this late

__all__ = ["LAYOUTS", "MAX_TURNS", "Layout", "find_transcript_format", "parse_transcript"]


class NotATranscript(UnreadableSource):
    """The file has none of the transcript layouts known here; export it as VTT, SRT, DOCX or `Name: words` lines."""


class TooManyTurns(UnreadableSource):
    """The transcript has more than 200,000 turns; split it and upload the parts."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One way to write a transcript down: its name, whether a file is written so, and how to read it."""

    name: str
    recognises: Callable[[Source], bool]
    parse: Callable[[Source], Iterator[Turn]]


# The first that recognises a file reads it: those no other file looks like come first.
LAYOUTS = (
    Layout("teams-docx", plain.is_teams_word, plain.parse_teams_word),
    Layout("vtt", cues.is_vtt, cues.parse_vtt),
    Layout("srt", cues.is_srt, cues.parse_srt),
    Layout("sbv", cues.is_sbv, cues.parse_sbv),
    Layout("whisper", structured.is_whisper, structured.parse_segments),
    Layout("whisperx", structured.is_whisperx, structured.parse_segments),
    Layout("jsonl", structured.is_jsonl, structured.parse_jsonl),
    Layout("csv", structured.is_csv, structured.parse_table),
    Layout("tsv", structured.is_tsv, structured.parse_table),
    Layout("zoom-chat", plain.is_chat, plain.parse_chat),
    Layout("markdown", plain.is_markdown, plain.parse_markdown),
    Layout("timed-text", timed.is_timed, timed.parse_timed),
    Layout("otter", timed.is_otter, timed.parse_headed),
    Layout("headed-text", timed.is_headed, timed.parse_headed),
    Layout("text", plain.is_labelled, plain.parse_labelled),
)


def find_transcript_format(name: str, content: bytes) -> str | None:
    """Return the name of the layout the file is written in, None when it is no transcript.

    The content decides; a name that speaks of a transcript only asks for less evidence where labels carry no times.
    """
    try:
        layout = _find_layout(open_source(name, content))
    except UnreadableSource:
        return None
    return layout.name if layout else None


def parse_transcript(name: str, content: bytes) -> ParsedTranscript:
    """Return the turns in the order of the file; what the layout does not carry is None.

    Raises UnreadableSource, or EmptySource when nobody says anything in it.
    """
    source = open_source(name, content)
    layout = _find_layout(source)
    if layout is None:
        raise NotATranscript
    turns, warnings = _check(layout.parse(source))
    return ParsedTranscript(layout.name, turns, warnings)


def _find_layout(source: Source) -> Layout | None:
    return next((layout for layout in LAYOUTS if layout.recognises(source)), None)


def _check(spoken: Iterable[Turn]) -> tuple[tuple[Turn, ...], tuple[str, ...]]:
    """Drop turns without words and ends before their starts, and say what a reader should know."""
    turns = list(islice((turn for turn in spoken if turn.text), MAX_TURNS + 1))
    if len(turns) > MAX_TURNS:
        raise TooManyTurns
    if not turns:
        raise EmptySource
    warnings = []
    begin = min((turn.start for turn in turns if turn.start is not None), default=0.0)
    if begin >= _TIME_OF_DAY:
        turns = [replace(turn, start=None, end=None) for turn in turns]
        warnings.append(f"The times begin at {begin / 3600:.0f} hours, so they are times of day; they were left out.")
    untimed = sum(turn.start is None for turn in turns)
    if 0 < untimed < len(turns):
        warnings.append(f"{untimed} of {len(turns)} turns have no time.")
    backward = [
        i for i, turn in enumerate(turns) if turn.start is not None and turn.end is not None and turn.end < turn.start
    ]
    for index in backward:
        turns[index] = replace(turns[index], end=None)
    if backward:
        warnings.append(f"{len(backward)} of {len(turns)} turns end before they start; their ends were left out.")
    return tuple(turns), tuple(warnings)

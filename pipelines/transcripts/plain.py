"""Transcripts as lines with names: chat logs, markdown, plain labels, and what Teams writes for Word."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from pipelines.parsed import Turn
from pipelines.transcripts.cues import has_spans, read_spans
from pipelines.transcripts.labels import is_dialogue, is_name_like, is_role, split_label
from pipelines.transcripts.lines import (
    GAP,
    HEAD,
    REST,
    TRAILER,
    Opening,
    count_written,
    find_below,
    open_at,
    read_between,
    write_mark,
)
from pipelines.transcripts.source import Source
from pipelines.transcripts.times import CLOCK, to_seconds

_CLOCK_ALONE = re.compile(rf"{GAP}[\[(]?({CLOCK})[\])]?{GAP}$")
_CHAT = re.compile(
    rf"(?P<start0>{CLOCK})\t{GAP}(?P<speaker>[^\t\n]{{1,120}}?){GAP}:{GAP}\t{REST}"
    rf"|[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}[ \t]{GAP}From[ \t]{GAP}(?P<sender>[^\t\n]{{1,120}}?)"
    rf"(?:[ \t]{GAP}to[ \t][^\t\n:]{{1,80}})?{GAP}:(?:[ \t](?P<message>.*)|)$",
    re.IGNORECASE,
)
_BOLD = re.compile(
    rf"{GAP}\*\*(?:{write_mark(0)}{GAP})?(?P<speaker>[^*:\n]{{1,120}})(?P<inside>:)?\*\*(?P<outside>:)?"
    rf"{GAP}(?:{write_mark(2)})?(?P<after>:)?{GAP}{REST}"
)
_MARK_ALONE = re.compile(rf"\\?\[{CLOCK}\\?\][ \t]?")
_ESCAPE = re.compile(r"\\([\\`*_{}\[\]()#+\-.!<>|~])")
_SECTION = re.compile(r"#{1,6}[ \t]|(?:-{3,}|\*{3,}|_{3,})$")


# --- Zoom's chat log --------------------------------------------------------------------------------------------------


def _open_chat(lines: Sequence[str]) -> list[Opening]:
    openings = []
    for index, line in enumerate(lines):
        if match := _CHAT.match(line):
            speaker = (match["speaker"] or match["sender"]).strip()
            openings.append(open_at(index, match, speaker, match["rest"] or match["message"]))
    return openings


def is_chat(source: Source) -> bool:
    """Whether the first written line is a message of a Zoom chat log."""
    first = next((line for line in source.lines if line.strip()), "")
    return _CHAT.match(first) is not None


def parse_chat(source: Source) -> Iterator[Turn]:
    """Yield a turn per message, its own line breaks kept; a log saved with the time of day has no times."""
    return read_between(source.lines, _open_chat(source.lines), line_end="\n")


# --- Teams in Word: a range, a name, the words ------------------------------------------------------------------------


def is_teams_word(source: Source) -> bool:
    """Whether a Word document has Teams' lines `0:0:0.0 --> 0:0:1.510`."""
    return source.is_word and has_spans(source.lines[:HEAD])


def parse_teams_word(source: Source) -> Iterator[Turn]:
    """Yield a turn per time line: the line below it names the speaker when another follows with the words."""
    for start, end, below in read_spans(source.lines):
        said = [line for line in below if not TRAILER.fullmatch(line)]
        speaker = said.pop(0) if len(said) > 1 else None
        yield Turn(speaker, " ".join(said), start, end)


# --- markdown: **Name:** \[hh:mm:ss.ms\] words ------------------------------------------------------------------------


def _open_bold(lines: Sequence[str]) -> list[Opening]:
    openings = []
    for index, line in enumerate(lines):
        match = _BOLD.match(line)
        if match is None:
            continue
        opening = open_at(index, match, match["speaker"].strip(), match["rest"])
        if opening.start is not None or match["inside"] or match["outside"] or match["after"]:
            openings.append(opening)
    return openings


def is_markdown(source: Source) -> bool:
    """Whether bold names open the paragraphs, with times or as people take turns."""
    lines = source.lines[:HEAD]
    openings = _open_bold(lines)
    labels = [opening.speaker or "" for opening in openings]
    written = count_written(lines)
    if any(opening.start is not None for opening in openings) and all(map(is_name_like, labels)):
        return len(openings) >= 2 or written <= 3
    return is_dialogue(labels, written, is_expected=source.is_named_like_one)


def parse_markdown(source: Source) -> Iterator[Turn]:
    """Yield a turn per bold name, of as many paragraphs as follow; headings and rules end it, time marks inside go."""
    for turn in read_between(source.lines, _open_bold(source.lines), section=_SECTION):
        text = _ESCAPE.sub(r"\1", _MARK_ALONE.sub("", turn.text)).strip()
        yield Turn(_ESCAPE.sub(r"\1", turn.speaker or "") or None, text, turn.start, turn.end)


# --- names only -------------------------------------------------------------------------------------------------------


def open_labelled(lines: Sequence[str]) -> list[Opening]:
    """Find `Name: words` lines, some below a time alone on its line.

    Where turns run over lines, a label that comes once and is no role is part of the words.
    """
    found = [
        (index, label) for index, line in enumerate(lines) if (label := split_label(line)) and is_name_like(label[0])
    ]
    counts = Counter(speaker for _, (speaker, _) in found)
    has_line_per_turn = 10 * len(found) >= 9 * count_written(lines)
    clocks = {
        below: (index, match)
        for index, line in enumerate(lines)
        if (match := _CLOCK_ALONE.match(line)) and (below := find_below(lines, index)) is not None
    }
    openings = []
    for line, (speaker, text) in found:
        if has_line_per_turn or counts[speaker] > 1 or is_role(speaker):
            since, match = clocks.get(line, (line, None))
            start = to_seconds(match[1]) if match else None
            openings.append(Opening(since, line, speaker, start, None, text))
    return openings


def is_labelled(source: Source) -> bool:
    """Whether the lines open with the names of people who take turns."""
    lines = source.lines[:HEAD]
    accepted = [opening.speaker or "" for opening in open_labelled(lines)]
    refused = [found[0] for line in lines if (found := split_label(line)) and not is_name_like(found[0])]
    return is_dialogue(accepted + refused, count_written(lines), is_expected=source.is_named_like_one)


def parse_labelled(source: Source) -> Iterator[Turn]:
    """Yield a turn per label; only one below a line with a time has a start."""
    return read_between(source.lines, open_labelled(source.lines))

"""Transcripts as lines of text: with times, with labels, or both, from a text file, markdown or a Word document."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pipelines.parsed import Turn
from pipelines.transcripts.cues import has_spans, read_spans
from pipelines.transcripts.labels import choose_speakers, is_dialogue, is_name_like, is_role, split_label
from pipelines.transcripts.source import Source
from pipelines.transcripts.times import CLOCK, to_seconds

_HEAD = 2000  # lines looked at to recognise a layout
_EARLY = 600.0  # seconds; a first time below this counts from a session's start and not from midnight
_TRAILER = re.compile(r"Transcribed by https?://otter\.ai/?|\S.{0,80} (?:started|stopped) transcription", re.IGNORECASE)


_GAP = r"[ \t]{0,8}"  # bounded, so that a line of a million blanks is refused at once


def _range(number: int) -> str:
    """Return the pattern of a time or a range of two; the number tells the groups of one pattern apart."""
    return rf"(?P<start{number}>{CLOCK})(?:{_GAP}(?:-{{1,3}}>?|\u2013|\u2014|to){_GAP}(?P<end{number}>{CLOCK}))?"


def _mark(number: int) -> str:
    """Return the pattern of a range in brackets, in markdown escaped, or in parentheses."""
    return rf"(?:\\?\[{_GAP}{_range(number)}{_GAP}\\?\]|\({_GAP}{_range(number + 1)}{_GAP}\))"


_DASH = r"[-\u2013]"
_REST = r"(?P<rest>.*)$"
_NAME = r"(?P<speaker>[^\s:\[\]()](?:[^:\n\t\[\]]{0,78}[^\s:\[\]])?)"

_MARKED = re.compile(rf"{_GAP}{_mark(0)}{_GAP}{_DASH}?{_GAP}:?{_GAP}{_REST}")
_BARE = re.compile(rf"{_GAP}{_range(0)}(?:{_GAP}$|[ \t]{_GAP}(?:{_DASH}[ \t])?{_GAP}{_REST})")
_NAMED = re.compile(rf"{_GAP}{_NAME}{_GAP}(?:{_mark(0)}|{_range(2)}){_GAP}:(?:[ \t]{_REST}|$)")
_LABELLED = re.compile(rf"{_GAP}{_NAME}:{_GAP}{_mark(0)}{_GAP}{_REST}")
_HEADING = re.compile(
    rf"{_GAP}(?P<speaker>\S(?:.{{0,78}}?[^\s:])??)(?P<gap>{_GAP}-[ \t]|[ \t]{{1,8}})"
    rf"(?:{_mark(0)}|{_range(2)}){_GAP}$"
)
_CHAT = re.compile(
    rf"(?P<start0>{CLOCK})\t{_GAP}(?P<speaker>[^\t\n]{{1,120}}?){_GAP}:{_GAP}\t{_REST}"
    rf"|[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}[ \t]{_GAP}From[ \t]{_GAP}(?P<sender>[^\t\n]{{1,120}}?)"
    rf"(?:[ \t]{_GAP}to[ \t][^\t\n:]{{1,80}})?{_GAP}:(?:[ \t](?P<message>.*)|)$",
    re.IGNORECASE,
)
_BOLD = re.compile(
    rf"{_GAP}\*\*(?:{_mark(0)}{_GAP})?(?P<speaker>[^*:\n]{{1,80}})(?P<inside>:)?\*\*(?P<outside>:)?"
    rf"{_GAP}(?:{_mark(2)})?(?P<after>:)?{_GAP}{_REST}"
)
_MARK_ALONE = re.compile(rf"\\?\[{CLOCK}\\?\][ \t]?")
_ESCAPE = re.compile(r"\\([\\`*_{}\[\]()#+\-.!<>|~])")
_SECTION = re.compile(r"#{1,6}[ \t]|(?:-{3,}|\*{3,}|_{3,})$")


@dataclass(frozen=True, slots=True)
class _Opening:
    """A line that opens a turn; `text` is what it says after name and time."""

    line: int
    speaker: str | None
    start: float | None
    end: float | None
    text: str


def _open_at(line: int, match: re.Match[str], speaker: str | None, text: str | None) -> _Opening:
    groups = {name: clock for name, clock in match.groupdict().items() if clock}
    start = next((clock for name, clock in groups.items() if name.startswith("start")), None)
    end = next((clock for name, clock in groups.items() if name.startswith("end")), None)
    return _Opening(
        line, speaker, to_seconds(start) if start else None, to_seconds(end) if end else None, (text or "").strip()
    )


def _read_between(
    lines: Sequence[str], openings: Sequence[_Opening], *, line_end: str = " ", section: re.Pattern[str] | None = None
) -> Iterator[Turn]:
    """Yield each opening with the lines below it, paragraphs apart by an empty line; a section line ends a turn."""
    for opening, stop in zip(openings, [*(later.line for later in openings[1:]), len(lines)], strict=True):
        paragraphs = [[opening.text] if opening.text else []]
        for line in lines[opening.line + 1 : stop]:
            said = line.strip()
            if section and section.match(said):
                break
            if said and not _TRAILER.fullmatch(said):
                paragraphs[-1].append(said)
            elif paragraphs[-1]:
                paragraphs.append([])
        text = "\n\n".join(line_end.join(paragraph) for paragraph in paragraphs if paragraph)
        yield Turn(opening.speaker, text, opening.start, opening.end)


def _count_written(lines: Sequence[str]) -> int:
    return sum(1 for line in lines if line.strip())


def _recurs(openings: Sequence[_Opening]) -> bool:
    """Whether someone speaks twice or has a part in a conversation."""
    speakers = [opening.speaker for opening in openings if opening.speaker]
    return len(set(speakers)) < len(speakers) or any(map(is_role, speakers))


def _is_ordered(openings: Sequence[_Opening]) -> bool:
    """Whether the times mostly grow, as in a record of speech and not in a list of scores."""
    times = [opening.start for opening in openings if opening.start is not None]
    return 5 * sum(1 for one, later in pairwise(times) if later >= one) >= 4 * (len(times) - 1)


# --- Zoom's chat log --------------------------------------------------------------------------------------------------


def _open_chat(lines: Sequence[str]) -> list[_Opening]:
    openings = []
    for index, line in enumerate(lines):
        if match := _CHAT.match(line):
            speaker = (match["speaker"] or match["sender"]).strip()
            openings.append(_open_at(index, match, speaker, match["rest"] or match["message"]))
    return openings


def is_chat(source: Source) -> bool:
    """Whether the first written line is a message of a Zoom chat log."""
    first = next((line for line in source.lines if line.strip()), "")
    return _CHAT.match(first) is not None


def parse_chat(source: Source) -> Iterator[Turn]:
    """Yield a turn per message, its own line breaks kept; a log saved with the time of day has no times."""
    return _read_between(source.lines, _open_chat(source.lines), line_end="\n")


# --- Teams in Word: a range, a name, the words ------------------------------------------------------------------------


def is_teams_word(source: Source) -> bool:
    """Whether a Word document has Teams' lines `0:0:0.0 --> 0:0:1.510`."""
    return source.is_word and has_spans(source.lines[:_HEAD])


def parse_teams_word(source: Source) -> Iterator[Turn]:
    """Yield a turn per time line: the line below it names the speaker when another follows with the words."""
    for start, end, below in read_spans(source.lines):
        said = [line for line in below if not _TRAILER.fullmatch(line)]
        speaker = said.pop(0) if len(said) > 1 else None
        yield Turn(speaker, " ".join(said), start, end)


# --- markdown: **Name:** \[hh:mm:ss.ms\] words ------------------------------------------------------------------------


def _open_bold(lines: Sequence[str]) -> list[_Opening]:
    openings = []
    for index, line in enumerate(lines):
        match = _BOLD.match(line)
        if match is None:
            continue
        opening = _open_at(index, match, match["speaker"].strip(), match["rest"])
        if opening.start is not None or match["inside"] or match["outside"] or match["after"]:
            openings.append(opening)
    return openings


def is_markdown(source: Source) -> bool:
    """Whether bold names open the paragraphs, with times or as people take turns."""
    lines = source.lines[:_HEAD]
    openings = _open_bold(lines)
    labels = [opening.speaker or "" for opening in openings]
    written = _count_written(lines)
    if any(opening.start is not None for opening in openings) and all(map(is_name_like, labels)):
        return len(openings) >= 2 or written <= 3
    return is_dialogue(labels, written, is_expected=source.is_named_like_one)


def parse_markdown(source: Source) -> Iterator[Turn]:
    """Yield a turn per bold name, of as many paragraphs as follow; headings and rules end it, time marks inside go."""
    for turn in _read_between(source.lines, _open_bold(source.lines), section=_SECTION):
        text = _ESCAPE.sub(r"\1", _MARK_ALONE.sub("", turn.text)).strip()
        yield Turn(_ESCAPE.sub(r"\1", turn.speaker or "") or None, text, turn.start, turn.end)


# --- a time, and perhaps a name, on the line of the words -------------------------------------------------------------


def _open_timed(lines: Sequence[str]) -> list[_Opening]:
    """Find `[t] Name: words`, `t Name: words`, `Name [t]: words`, `Name: [t] words` and `[t] words`.

    A time alone on its line belongs to the next written one.
    """
    named = [
        (index, match) for index, line in enumerate(lines) if (match := _NAMED.match(line) or _LABELLED.match(line))
    ]
    timed = [(index, match) for index, line in enumerate(lines) if (match := _MARKED.match(line) or _BARE.match(line))]
    if len(named) > len(timed):
        openings = [_open_at(index, match, match["speaker"].strip(), match["rest"]) for index, match in named]
        return [opening for opening in openings if is_name_like(opening.speaker or "")]
    starts = []
    for index, match in timed:
        rest, line = match["rest"] or "", index
        if not rest.strip():
            line = next(
                (below for below in range(index + 1, min(index + 4, len(lines))) if lines[below].strip()), index
            )
            rest = lines[line] if line > index else ""
        starts.append((match, index, line, rest))
    speakers = choose_speakers([rest for *_, rest in starts])
    openings = []
    for match, index, line, rest in starts:
        found = split_label(rest)
        speaker, text = found if found and found[0] in speakers else (None, rest)
        # Without brackets, a name or a line of its own a time is as good as part of the words.
        if speaker or match.re is _MARKED or line > index:
            openings.append(_open_at(line, match, speaker, text))
    return openings


def is_timed(source: Source) -> bool:
    """Whether lines open with growing times, and with people who speak again or from a session's start."""
    lines = source.lines[:_HEAD]
    openings = _open_timed(lines)
    written = _count_written(lines)
    if not openings or (len(openings) < 2 and written > 3) or 5 * len(openings) < written:
        return False
    return _is_ordered(openings) and (_recurs(openings) or (openings[0].start or 0.0) < _EARLY)


def parse_timed(source: Source) -> Iterator[Turn]:
    """Yield a turn per line with a time and what follows it; an end only where the line gives a range."""
    return _read_between(source.lines, _open_timed(source.lines))


# --- a heading of name and time above the words -----------------------------------------------------------------------


def _open_headings(lines: Sequence[str]) -> list[_Opening]:
    """Find `Name  m:ss` lines.

    Words may end in a time as well, so the file's habits decide: where most headings have two blanks before the
    time, or an empty line above them, all have.
    """
    found = []
    for index, line in enumerate(lines):
        match = _HEADING.match(line)
        if match is None or not is_name_like(match["speaker"]):
            continue
        is_wide = len(match["gap"].replace("\t", "  ")) > 1
        is_apart = index == 0 or not lines[index - 1].strip()
        found.append((match, index, is_wide, is_apart))
    needs_wide = 2 * sum(is_wide for *_, is_wide, _ in found) > len(found)
    needs_apart = 2 * sum(is_apart for *_, is_apart in found) > len(found)
    return [
        _open_at(index, match, match["speaker"].strip(), "")
        for match, index, is_wide, is_apart in found
        if (is_wide or not needs_wide) and (is_apart or not needs_apart)
    ]


def is_headed(source: Source) -> bool:
    """Whether lines of a name and a growing time stand above words, and not above each other as in a timetable."""
    lines = source.lines[:_HEAD]
    openings = _open_headings(lines)
    if not openings or not _is_ordered(openings) or 2 * len(openings) > _count_written(lines):
        return False
    return is_otter(source) or (len(openings) > 1 and (_recurs(openings) or source.is_named_like_one))


def is_otter(source: Source) -> bool:
    """Whether the first written line is an Otter heading: a name, two blanks, a time without leading zeros."""
    first = next((line for line in source.lines if line.strip()), "")
    match = _HEADING.match(first)
    return match is not None and match["gap"] == "  " and is_name_like(match["speaker"])


def parse_headed(source: Source) -> Iterator[Turn]:
    """Yield a turn per heading, with all paragraphs down to the next."""
    return _read_between(source.lines, _open_headings(source.lines))


# --- names only -------------------------------------------------------------------------------------------------------


def _open_labelled(lines: Sequence[str]) -> list[_Opening]:
    """Find `Name: words` lines.

    Where turns run over lines, a label that comes once and is no role is part of the words.
    """
    found = [
        (index, label) for index, line in enumerate(lines) if (label := split_label(line)) and is_name_like(label[0])
    ]
    counts = Counter(speaker for _, (speaker, _) in found)
    has_line_per_turn = 10 * len(found) >= 9 * _count_written(lines)
    return [
        _Opening(index, speaker, None, None, text)
        for index, (speaker, text) in found
        if has_line_per_turn or counts[speaker] > 1 or is_role(speaker)
    ]


def is_labelled(source: Source) -> bool:
    """Whether the lines open with the names of people who take turns."""
    lines = source.lines[:_HEAD]
    accepted = [opening.speaker or "" for opening in _open_labelled(lines)]
    refused = [found[0] for line in lines if (found := split_label(line)) and not is_name_like(found[0])]
    return is_dialogue(accepted + refused, _count_written(lines), is_expected=source.is_named_like_one)


def parse_labelled(source: Source) -> Iterator[Turn]:
    """Yield a turn per label; this layout carries no times."""
    return _read_between(source.lines, _open_labelled(source.lines))

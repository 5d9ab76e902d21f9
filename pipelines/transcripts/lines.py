"""What all transcripts written as lines of text share: how a line may open a turn, and what follows it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pipelines.parsed import Turn
from pipelines.transcripts.labels import is_role
from pipelines.transcripts.times import CLOCK, to_seconds

HEAD = 2000  # lines looked at to recognise a layout
GAP = r"[ \t]{0,8}"  # bounded, so that a line of a million blanks is refused at once
REST = r"(?P<rest>.*)$"
TRAILER = re.compile(r"Transcribed by https?://otter\.ai/?|\S.{0,80} (?:started|stopped) transcription", re.IGNORECASE)


def write_range(number: int) -> str:
    """Return the pattern of a time or a range of two; the number tells the groups of one pattern apart."""
    return rf"(?P<start{number}>{CLOCK})(?:{GAP}(?:-{{1,3}}>?|\u2013|\u2014|to){GAP}(?P<end{number}>{CLOCK}))?"


def write_mark(number: int) -> str:
    """Return the pattern of a range in brackets, in markdown escaped, or in parentheses."""
    return rf"(?:\\?\[{GAP}{write_range(number)}{GAP}\\?\]|\({GAP}{write_range(number + 1)}{GAP}\))"


@dataclass(frozen=True, slots=True)
class Opening:
    """What opens a turn: line `since` may hold a time alone, `line` holds `text` after the name and the time."""

    since: int
    line: int
    speaker: str | None
    start: float | None
    end: float | None
    text: str


def open_at(
    line: int, match: re.Match[str], speaker: str | None, text: str | None, *, since: int | None = None
) -> Opening:
    """Return the opening a match of one of the patterns built here stands for, its times taken from the groups."""
    groups = {name: clock for name, clock in match.groupdict().items() if clock}
    start = next((to_seconds(clock) for name, clock in groups.items() if name.startswith("start")), None)
    end = next((to_seconds(clock) for name, clock in groups.items() if name.startswith("end")), None)
    return Opening(line if since is None else since, line, speaker, start, end, (text or "").strip())


def read_between(
    lines: Sequence[str], openings: Sequence[Opening], *, line_end: str = " ", section: re.Pattern[str] | None = None
) -> Iterator[Turn]:
    """Yield each opening with the lines below it, paragraphs apart by an empty line; a section line ends a turn."""
    stops = [*(later.since for later in openings[1:]), len(lines)]
    for opening, stop in zip(openings, stops, strict=False):  # no opening, no turn
        paragraphs = [[opening.text] if opening.text else []]
        for line in lines[opening.line + 1 : stop]:
            said = line.strip()
            if section and section.match(said):
                break
            if said and not TRAILER.fullmatch(said):
                paragraphs[-1].append(said)
            elif paragraphs[-1]:
                paragraphs.append([])
        text = "\n\n".join(line_end.join(paragraph) for paragraph in paragraphs if paragraph)
        yield Turn(opening.speaker, text, opening.start, opening.end)


def count_written(lines: Sequence[str]) -> int:
    """Return how many lines are not blank."""
    return sum(1 for line in lines if line.strip())


def recurs(openings: Sequence[Opening]) -> bool:
    """Whether someone speaks twice or has a part in a conversation."""
    speakers = [opening.speaker for opening in openings if opening.speaker]
    return len(set(speakers)) < len(speakers) or any(map(is_role, speakers))


def is_ordered(openings: Sequence[Opening]) -> bool:
    """Whether the times mostly grow, as in a record of speech and not in a list of scores."""
    times = [opening.start for opening in openings if opening.start is not None]
    return 5 * sum(1 for one, later in pairwise(times) if later >= one) >= 4 * (len(times) - 1)


def find_below(lines: Sequence[str], index: int) -> int | None:
    """Return where the next written line is, unless more than two empty ones lie between."""
    return next((below for below in range(index + 1, min(index + 4, len(lines))) if lines[below].strip()), None)

"""Transcripts as lines with times: beside the words, or in a heading above them as Otter writes."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from pipelines.parsed import Turn
from pipelines.transcripts.labels import choose_speakers, is_name_like, is_role, split_label
from pipelines.transcripts.lines import (
    GAP,
    HEAD,
    REST,
    Opening,
    count_written,
    find_below,
    is_ordered,
    open_at,
    read_between,
    recurs,
    write_mark,
    write_range,
)
from pipelines.transcripts.plain import open_labelled
from pipelines.transcripts.source import Source

_EARLY = 600.0  # seconds; a first time below this counts from a session's start and not from midnight
_DASH = r"[-\u2013]"
_NAME = r"(?P<speaker>[^\s:\[\]()](?:[^:\n\t\[\]]{0,118}[^\s:\[\]])?)"
_MARKED = re.compile(rf"{GAP}{write_mark(0)}{GAP}{_DASH}?{GAP}:?{GAP}{REST}")
_BARE = re.compile(rf"{GAP}{write_range(0)}(?:{GAP}$|[ \t]{GAP}(?:{_DASH}[ \t])?{GAP}{REST})")
_NAMED = re.compile(rf"{GAP}{_NAME}{GAP}(?:{write_mark(0)}|[ \t]{write_range(2)}){GAP}:(?:[ \t]{REST}|$)")
_LABELLED = re.compile(rf"{GAP}{_NAME}:{GAP}{write_mark(0)}{GAP}{REST}")
_HEADING = re.compile(
    rf"{GAP}(?P<speaker>[^\s:](?:[^:]{{0,118}}?[^\s:])??)(?P<gap>{GAP}-[ \t]|[ \t]{{1,8}})"
    rf"(?:{write_mark(0)}|{write_range(2)}){GAP}$"
)


# --- a time, and perhaps a name, on the line of the words -------------------------------------------------------------


def _open_timed(lines: Sequence[str]) -> list[Opening]:
    """Find `[t] Name: words`, `t Name: words`, `Name [t]: words`, `Name: [t] words` and `[t] words`.

    A time alone on its line belongs to the next written one; `[t] Name` may stand above the words.
    """
    named = [
        (index, match) for index, line in enumerate(lines) if (match := _NAMED.match(line) or _LABELLED.match(line))
    ]
    timed = [(index, match) for index, line in enumerate(lines) if (match := _MARKED.match(line) or _BARE.match(line))]
    if len(named) > len(timed):
        openings = [open_at(index, match, match["speaker"].strip(), match["rest"]) for index, match in named]
        return [opening for opening in openings if is_name_like(opening.speaker or "")]
    starts = []
    for index, match in timed:
        rest, line = match["rest"] or "", index
        if not rest.strip():
            line = find_below(lines, index) or index
            rest = lines[line] if line > index else ""
        starts.append((index, line, match, rest))
    speakers = choose_speakers([rest for *_, rest in starts])
    headings = _choose_headings(lines, [(line, rest.strip()) for _, line, _, rest in starts])
    openings = []
    for index, line, match, rest in starts:
        found = (rest.strip(), "") if rest.strip() in headings else split_label(rest)
        speaker, text = found if found and found[0] in speakers | headings else (None, rest)
        # Without brackets, a name or a line of its own a time is as good as part of the words.
        if speaker or match.re is _MARKED or line > index:
            openings.append(open_at(line, match, speaker, text, since=index))
    return openings


def _choose_headings(lines: Sequence[str], rests: Sequence[tuple[int, str]]) -> frozenset[str]:
    """Return the names that stand alone after their times, if that is how most of the words are headed."""
    alone = Counter(
        rest
        for line, rest in rests
        if is_name_like(rest)
        and (below := find_below(lines, line)) is not None
        and not (_MARKED.match(lines[below]) or _BARE.match(lines[below]))
    )
    names = [rest for rest, times in alone.items() if times > 1 or is_role(rest)]
    return frozenset(alone) if names and 2 * sum(alone[name] for name in names) > len(rests) else frozenset()


def is_timed(source: Source) -> bool:
    """Whether lines open with growing times, and with people who speak again or from a session's start."""
    lines = source.lines[:HEAD]
    openings = _open_timed(lines)
    written = count_written(lines)
    if not openings or (len(openings) < 2 and written > 3) or 5 * len(openings) < written:
        return False
    # Fewer than the labels or headings, the times are marks or words in another layout.
    if max(len(open_labelled(lines)), len(_open_headings(lines))) > len(openings):
        return False
    return is_ordered(openings) and (recurs(openings) or (openings[0].start or 0.0) < _EARLY)


def parse_timed(source: Source) -> Iterator[Turn]:
    """Yield a turn per line with a time and what follows it; an end only where the line gives a range."""
    return read_between(source.lines, _open_timed(source.lines))


# --- a heading of name and time above the words -----------------------------------------------------------------------


def _open_headings(lines: Sequence[str]) -> list[Opening]:
    """Find `Name  m:ss` lines.

    Words may end in a time as well, so the file's habits decide: where most headings have two blanks before the
    time, or an empty line above them, all have. What stands right below a heading is words.
    """
    found = []
    for index, line in enumerate(lines):
        match = _match_heading(line)
        if match is not None:
            is_wide = len(match["gap"].replace("\t", "  ")) > 1
            is_apart = index == 0 or not lines[index - 1].strip()
            found.append((match, index, is_wide, is_apart))
    needs_wide = 2 * sum(is_wide for *_, is_wide, _ in found) > len(found)
    needs_apart = 2 * sum(is_apart for *_, is_apart in found) > len(found)
    openings: list[Opening] = []
    for match, index, is_wide, is_apart in found:
        is_below = bool(openings) and openings[-1].line == index - 1
        has_words = find_below(lines, index) is not None
        if has_words and not is_below and (is_wide or not needs_wide) and (is_apart or not needs_apart):
            openings.append(open_at(index, match, match["speaker"].strip(), ""))
    return openings


def _match_heading(line: str) -> re.Match[str] | None:
    match = _HEADING.match(line)
    return match if match and is_name_like(match["speaker"]) else None


def is_headed(source: Source) -> bool:
    """Whether lines of a name and a growing time stand above words, and not above each other as in a timetable."""
    lines = source.lines[:HEAD]
    openings = _open_headings(lines)
    if not openings or not is_ordered(openings):
        return False
    has_parts = any(is_role(opening.speaker or "") for opening in openings)
    stacked = sum(_match_heading(lines[find_below(lines, opening.line) or 0]) is not None for opening in openings)
    if 2 * stacked > len(openings) and not has_parts:
        return False
    return _begins_as_otter(source) or (len(openings) > 1 and (recurs(openings) or source.is_named_like_one))


def is_otter(source: Source) -> bool:
    """Whether headings have Otter's two blanks between the name and the time."""
    return _begins_as_otter(source) and is_headed(source)


def _begins_as_otter(source: Source) -> bool:
    first = next((line for line in source.lines if line.strip()), "")
    match = _match_heading(first)
    return match is not None and match["gap"] == "  "


def parse_headed(source: Source) -> Iterator[Turn]:
    """Yield a turn per heading, with all paragraphs down to the next."""
    return read_between(source.lines, _open_headings(source.lines))

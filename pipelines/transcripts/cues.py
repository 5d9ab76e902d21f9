"""Captions: WebVTT, SubRip and SBV as Zoom, Teams, YouTube and editors write them, valid or not.

No caption library reads these files: the ones at hand stop at a cue without its time line, at one-digit times, or
at a missing header, and none keeps cue ids and voices together.
"""

import html
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from pipelines.parsed import Turn
from pipelines.transcripts.labels import choose_speakers, split_label
from pipelines.transcripts.source import Source
from pipelines.transcripts.times import CLOCK, to_seconds

_SPAN = re.compile(rf"[ \t]*({CLOCK})[ \t]*--?>[ \t]*({CLOCK})?(?=[ \t]|$)")
_SBV_SPAN = re.compile(rf"[ \t]*({CLOCK.replace('[.,]', '[.]')}),({CLOCK.replace('[.,]', '[.]')})[ \t]*$")
_COMMA_SPAN = re.compile(r"[0-9],[0-9]{1,9}[ \t]*--?>")
_TEAMS_ID = re.compile(r"([^\s/]{1,100})/([0-9]{1,9})-[0-9]{1,9}")
_ID = re.compile(rf"[ \t]*(?:[0-9]{{1,9}}|{_TEAMS_ID.pattern})[ \t]*")
_ASIDE = re.compile(r"(?:NOTE(?:[ \t].*)?|STYLE|REGION)[ \t]*")
_VOICE = re.compile(r"</v>|<v(?:\.[^\s<>]{0,200})?[ \t]([^<>]{0,200})>")
_WORD_TIME = re.compile(rf"<{CLOCK}>")
_MARKUP = re.compile(rf"</?(?:[vcibu]|ruby|rt|lang|font)(?:[.\s][^<>]{{0,200}})?>|<{CLOCK}>|\{{\\an?[0-9]{{1,2}}\}}")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")


@dataclass(frozen=True, slots=True)
class _Cue:
    """One caption; `lines` still carry markup."""

    id: str | None
    start: float | None
    end: float | None
    lines: tuple[str, ...]


def is_vtt(source: Source) -> bool:
    """Whether the file says it is WebVTT, or has its cues without saying so."""
    return source.text.lstrip().startswith("WEBVTT") or (_has_cues(source) and not _has_commas(source))


def is_srt(source: Source) -> bool:
    """Whether the file has cues with SubRip's comma before the milliseconds."""
    return _has_cues(source) and _has_commas(source)


def is_sbv(source: Source) -> bool:
    """Whether the first written line is an SBV time line."""
    return any(_SBV_SPAN.match(line) for line in _list_written(source.lines)[:1])


def parse_vtt(source: Source) -> Iterator[Turn]:
    """Yield a turn per cue in file order, entities resolved, but for parts of a turn and rolling captions."""
    cues = list(_read_cues(source.lines, _SPAN))
    return _merge_parts(_speak(cues, has_entities=True))


def parse_srt(source: Source) -> Iterator[Turn]:
    """Yield a turn per cue in file order; a cue that lost its time line has no times."""
    cues = list(_read_cues(source.lines, _SPAN))
    return (turn for _, turn in _speak(cues, has_entities=False))


def parse_sbv(source: Source) -> Iterator[Turn]:
    """Yield a turn per cue in file order."""
    cues = list(_read_cues(source.lines, _SBV_SPAN))
    return (turn for _, turn in _speak(cues, has_entities=False))


def read_spans(lines: Sequence[str]) -> Iterator[tuple[float | None, float | None, tuple[str, ...]]]:
    """Yield start, end and the written lines below each `start --> end` line."""
    for cue in _read_cues(lines, _SPAN):
        yield cue.start, cue.end, tuple(line.strip() for line in cue.lines if line.strip())


def has_spans(lines: Iterable[str]) -> bool:
    """Whether a line is a `start --> end` line."""
    return any((match := _SPAN.match(line)) and match[2] for line in lines)


def _list_written(lines: Iterable[str]) -> list[str]:
    return [line for line in lines if line.strip()]


def _has_cues(source: Source) -> bool:
    """Whether a time line is among the first lines written, or an id and then a time line."""
    return not source.is_word and has_spans(_list_written(source.lines[:50])[:4])


def _has_commas(source: Source) -> bool:
    return any(_COMMA_SPAN.search(line) for line in source.lines[:200])


def _read_cues(lines: Sequence[str], span: re.Pattern[str]) -> Iterator[_Cue]:
    """Yield the cues in file order.

    Time lines are what can be relied on: a cue is what lies between two of them, and the line above one is its id when
    a blank line or the look of an id says so. A block below a cue that has an id but no time line is a cue whose
    time is not known; any other is more of the cue, for blank lines inside captions are a common fault and no word
    may be lost.
    """
    matches = [(index, match) for index, line in enumerate(lines) if (match := span.match(line))]
    begins = [_find_id_line(lines, index) for index, _ in matches]
    first = begins[0] if begins else len(lines)
    for block in _list_blocks(lines[:first]):
        if not block[0].lstrip().startswith("WEBVTT"):
            yield from _read_untimed(block)
    for position, (index, match) in enumerate(matches):
        stop = begins[position + 1] if position + 1 < len(matches) else len(lines)
        cue_id = lines[index - 1].strip() if begins[position] < index else None
        end = match[2]
        own: list[str] = []
        untimed: list[_Cue] = []
        for block in _list_blocks(lines[index + 1 : stop]):
            if found := list(_read_untimed(block)):
                untimed += found
            elif not _ASIDE.fullmatch(block[0]):
                own += block
        yield _Cue(cue_id, to_seconds(match[1]), to_seconds(end) if end else None, tuple(own))
        yield from untimed


def _find_id_line(lines: Sequence[str], index: int) -> int:
    """Return where the cue whose time line is at `index` begins: at its id if it has one."""
    above = index - 1
    if above < 0 or not lines[above].strip() or "-->" in lines[above]:
        return index
    is_first_of_block = above == 0 or not lines[above - 1].strip()
    is_aside = lines[above].lstrip().startswith("WEBVTT") or _ASIDE.fullmatch(lines[above])
    return above if (is_first_of_block and not is_aside) or _ID.fullmatch(lines[above]) else index


def _list_blocks(lines: Sequence[str]) -> Iterator[list[str]]:
    block: list[str] = []
    for line in lines:
        if line.strip():
            block.append(line)
        elif block:
            yield block
            block = []
    if block:
        yield block


def _read_untimed(block: list[str]) -> Iterator[_Cue]:
    if len(block) > 1 and _ID.fullmatch(block[0]):
        yield _Cue(block[0].strip(), None, None, tuple(block[1:]))


def _speak(cues: Sequence[_Cue], *, has_entities: bool) -> Iterator[tuple[_Cue, Turn]]:
    """Yield what is said in each cue and by whom: by voice tags if the file has any, else by `Name:` labels."""

    def clean(text: str) -> str:
        text = _MARKUP.sub("", text)
        if has_entities:
            text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
        return text.strip()

    if any(_VOICE.search(line) for cue in cues for line in cue.lines):
        for cue in cues:
            for voice, text in _split_voices(cue):
                yield cue, _say(cue, clean(voice), (clean(line) for line in text.split("\n")))
        return
    has_word_times = any(_WORD_TIME.search(line) for cue in cues for line in cue.lines)
    plain = [replace(cue, lines=tuple(line for raw in cue.lines if (line := clean(raw)))) for cue in cues]
    speakers = choose_speakers([cue.lines[0] for cue in plain if cue.lines])
    if not speakers:
        plain = _drop_repeats(plain, is_rolling=has_word_times)
    for cue in plain:
        for speaker, lines in _split_labels(cue.lines, speakers):
            yield cue, _say(cue, speaker, lines)


def _say(cue: _Cue, speaker: str | None, lines: Iterable[str]) -> Turn:
    return Turn(speaker or None, " ".join(line for line in lines if line), cue.start, cue.end)


def _split_voices(cue: _Cue) -> Iterator[tuple[str, str]]:
    text = "\n".join(cue.lines)
    speaker, begin = "", 0
    for tag in _VOICE.finditer(text):
        yield speaker, text[begin : tag.start()]
        speaker, begin = (tag[1] or "").strip(), tag.end()
    yield speaker, text[begin:]


def _split_labels(lines: Sequence[str], speakers: frozenset[str]) -> Iterator[tuple[str | None, list[str]]]:
    speaker: str | None = None
    said: list[str] = []
    for line in lines:
        found = split_label(line) if speakers else None
        if found and found[0] in speakers:
            yield speaker, said
            speaker, said = found[0], [found[1]]
        else:
            said.append(line)
    yield speaker, said


def _drop_repeats(cues: Sequence[_Cue], *, is_rolling: bool) -> list[_Cue]:
    """Leave out of each cue the lines that were still on the screen from the one before.

    Done only for rolling captions: those with a time per word, or where half of the cues begin with the line that
    ended the last one. Elsewhere a line said twice was said twice.
    """
    shown: tuple[str, ...] = ()
    fresh = []
    repeats = 0
    for cue in cues:
        kept = max(
            (n for n in range(1, min(len(shown), len(cue.lines), 3) + 1) if shown[-n:] == cue.lines[:n]), default=0
        )
        repeats += kept > 0
        fresh.append(replace(cue, lines=cue.lines[kept:]))
        shown = cue.lines or shown
    return fresh if is_rolling or (repeats >= 3 and 2 * repeats >= len(cues)) else list(cues)


def _merge_parts(spoken: Iterable[tuple[_Cue, Turn]]) -> Iterator[Turn]:
    """Join what the layout says is one turn, and only that.

    Teams cuts a turn into cues with ids ending in 15-0, 15-1, and other people's cues may lie between: the same number
    before the dash and the same speaker is one turn, in the place of its first part. Zoom and the others give each cue
    an id of its own, a sentence or so long; nothing in the file says that two of them belong together, and a turn
    that is a cue keeps the exact time a citation opens at.
    """
    turns: dict[object, list[Turn]] = {}
    for index, (cue, turn) in enumerate(spoken):
        part = _TEAMS_ID.fullmatch(cue.id or "")
        key: object = (part[1], part[2], turn.speaker) if part else index
        if turn.text:
            turns.setdefault(key, []).append(turn)
    for parts in turns.values():
        yield replace(parts[0], text=" ".join(part.text for part in parts), end=parts[-1].end)

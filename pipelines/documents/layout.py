"""From the lines of a page to its paragraphs in reading order, by geometry alone."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from pipelines.parsed import Block, BlockKind

# Pages with more pieces than this are drawings or forms; their drawing order is as good as any.
MAX_SORTED_PARAGRAPHS = 400
MAX_CUTS = 40
# Paragraphs of one column stand no further apart than this many line heights.
COLUMN_GAP = 2.5
BOLD = 600

_BULLET = re.compile(r"(?:[•‣◦▪●○■□\u2013*·-]|\(?\d{1,2}[.)]|\(?[a-z][.)])\s+\S")
_NUMBER = re.compile(r"[$€£(]*-?\d(?:[\d,.]*\d)?%?\)?|[\u2014\u2013-]")
_LIGATURES = str.maketrans({"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"})
_SOFT_HYPHEN = re.compile("(\\w?)\ufffe\\s*(\\w?)")
# Chinese and Japanese put no space where a line ends.
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u3001\u3002\uff0c]")
_SENTENCE_END = (".", "?", "!", ":", "。", "”", '"')


@dataclass(frozen=True, slots=True)
class Line:
    """One drawn line of text; its box in points, y upwards, `height` of its font and `weight` 100 to 900 or 0."""

    text: str
    left: float
    right: float
    top: float
    bottom: float
    height: float
    weight: int

    @property
    def is_row(self) -> bool:
        """Whether numbers end the line or make up much of it, as in a table."""
        numbers = [_NUMBER.fullmatch(word) is not None for word in self.text.split()]
        return sum(numbers) >= 2 and (all(numbers[-2:]) or sum(numbers) >= 0.3 * len(numbers))


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Lines that belong together, and the box around them."""

    lines: tuple[Line, ...]
    left: float
    right: float
    top: float
    bottom: float


def order_paragraphs(lines: Sequence[Line], *, page: int, body_height: float) -> Iterator[Block]:
    """Yield the paragraphs of one page as blocks, columns one after the other.

    The order in which a file draws its text is kept unless it jumps back up inside a column.
    """
    paragraphs = _group(lines)
    if len(paragraphs) <= MAX_SORTED_PARAGRAPHS and _jumps_back(paragraphs):
        paragraphs = _cut(paragraphs, MAX_CUTS)
    for paragraph in paragraphs:
        yield _build_block(paragraph, page, body_height)


def _group(lines: Sequence[Line]) -> list[Paragraph]:
    gaps = [
        above.bottom - below.top
        for above, below in pairwise(lines)
        if _overlap(above, below) > 0 and abs(above.bottom - below.top) < 0.8 * above.height
    ]
    usual_gap = median(gaps) if gaps else 0.0
    groups: list[list[Line]] = []
    for line in lines:
        if groups and _continues(groups[-1], line, usual_gap):
            groups[-1].append(line)
        else:
            groups.append([line])
    return [
        Paragraph(
            lines=tuple(group),
            left=min(line.left for line in group),
            right=max(line.right for line in group),
            top=max(line.top for line in group),
            bottom=min(line.bottom for line in group),
        )
        for group in groups
    ]


def _continues(group: Sequence[Line], line: Line, usual_gap: float) -> bool:
    above = group[-1]
    if _is_beside(above, line):
        return True
    gap, height = above.bottom - line.top, max(above.height, line.height)
    loose = above.is_row and line.is_row  # rows of a table often stand further apart than lines
    if not -0.5 * height <= gap <= max((1.0 if loose else 0.25) * height, usual_gap + 0.3 * height):
        return False
    if _overlap(above, line) <= 0 or _BULLET.match(line.text):
        return False
    if min(above.height, line.height) < 0.88 * height or (above.weight >= BOLD) != (line.weight >= BOLD):
        return False
    indented = line.left > above.left + 0.6 * height and not _BULLET.match(group[0].text)
    return not (indented and above.text.endswith(_SENTENCE_END) and not line.is_row)


def _is_beside(first: Line, second: Line) -> bool:
    """Whether the second goes on where the first ended, as after a raised footnote mark."""
    shared = min(first.top, second.top) - max(first.bottom, second.bottom)
    close = -1 <= second.left - first.right <= 0.6 * max(first.height, second.height)
    return close and shared >= 0.3 * min(first.height, second.height)


def _overlap(first: Line | Paragraph, second: Line | Paragraph) -> float:
    return min(first.right, second.right) - max(first.left, second.left)


def _jumps_back(paragraphs: Sequence[Paragraph]) -> bool:
    """Whether some paragraph is drawn after one that stands below it in the same column."""
    return any(
        later.bottom >= earlier.top and _overlap(earlier, later) > 0
        for index, earlier in enumerate(paragraphs)
        for later in paragraphs[index + 1 :]
    )


def _cut(paragraphs: list[Paragraph], cuts_left: int) -> list[Paragraph]:
    """Order by cutting the page along its white space: into regions from top to bottom, each into its columns."""
    if len(paragraphs) < 2 or cuts_left == 0:
        return sorted(paragraphs, key=_position)
    parts = _find_regions(paragraphs)
    if len(parts) == 1:
        parts = _find_columns(paragraphs)
    if len(parts) == 1:
        return sorted(paragraphs, key=_position)
    return [paragraph for part in parts for paragraph in _cut(part, cuts_left - 1)]


def _position(paragraph: Paragraph) -> tuple[float, float]:
    return -paragraph.top, paragraph.left


def _find_regions(paragraphs: Sequence[Paragraph]) -> list[list[Paragraph]]:
    """Return the bands between white space that runs across; bands of the same columns stay one region.

    Else columns would be read across. A lone band far below, such as a footer, belongs to no column.
    """
    regions: list[list[Paragraph]] = []
    for band in _find_bands(paragraphs):
        if regions and len(_find_columns(regions[-1] + band)) > 1:
            gap = min(p.bottom for p in regions[-1]) - max(p.top for p in band)
            if gap <= COLUMN_GAP * band[0].lines[0].height or len(_find_columns(band)) > 1:
                regions[-1] += band
                continue
        regions.append(band)
    return regions


def _find_columns(paragraphs: Sequence[Paragraph]) -> list[list[Paragraph]]:
    """Return what is left and right of the first white gutter between parts that stand side by side, or all as one."""
    by_left = sorted(paragraphs, key=lambda p: p.left)
    reach = by_left[0].right
    for index, paragraph in enumerate(by_left[1:], start=1):
        if paragraph.left >= reach:
            left, right = by_left[:index], by_left[index:]
            top = min(max(p.top for p in left), max(p.top for p in right))
            bottom = max(min(p.bottom for p in left), min(p.bottom for p in right))
            heights = [max(p.top for p in side) - min(p.bottom for p in side) for side in (left, right)]
            if top - bottom >= 0.5 * min(heights):
                return [left, right]
        reach = max(reach, paragraph.right)
    return [list(paragraphs)]


def _find_bands(paragraphs: Sequence[Paragraph]) -> list[list[Paragraph]]:
    """Return the paragraphs from top to bottom, split wherever white space runs across."""
    bands: list[list[Paragraph]] = []
    floor = 0.0
    for paragraph in sorted(paragraphs, key=lambda p: -p.top):
        if bands and paragraph.top > floor:
            bands[-1].append(paragraph)
            floor = min(floor, paragraph.bottom)
        else:
            bands.append([paragraph])
            floor = paragraph.bottom
    return bands


def _build_block(paragraph: Paragraph, page: int, body_height: float) -> Block:
    lines = paragraph.lines
    if len(lines) > 1 and sum(line.is_row for line in lines) * 2 >= len(lines):
        return Block(text="\n".join(_mend(line.text) for line in lines), kind="table", page=page)
    text = _join(lines)
    kind: BlockKind = "list" if _BULLET.match(text) else "text"
    if level := _find_heading_level(paragraph, text, body_height):
        kind = "heading"
    return Block(text=text, kind=kind, page=page, level=level)


def _find_heading_level(paragraph: Paragraph, text: str, body_height: float) -> int:
    """Return 1 to 3 for a short stretch larger or bolder than the body, 0 for anything else."""
    lines = paragraph.lines
    short = len(lines) <= 3 and len(text) <= 160 and sum(map(str.isalpha, text)) >= 3
    if not short or text.endswith((".", ",", ";")) or lines[0].is_row:
        return 0
    height = median(line.height for line in lines)
    if height >= 1.4 * body_height:
        return 1
    if height >= 1.08 * body_height:
        return 2
    return 3 if all(line.weight >= BOLD for line in lines) else 0


def _join(lines: Sequence[Line]) -> str:
    text = lines[0].text
    for above, line in pairwise(lines):
        glued = (
            text.endswith("\ufffe")
            or (_is_beside(above, line) and line.left - above.right < 0.15 * above.height)
            or (_UNSPACED.match(text[-1]) and _UNSPACED.match(line.text))
        )
        text = f"{text}{line.text}" if glued else f"{text} {line.text}"
    return _mend(text)


def _mend(text: str) -> str:
    """Close words hyphenated at a line's end, which pdfium marks with U+FFFE, and spell out drawn ligatures."""
    return _SOFT_HYPHEN.sub(_mend_one, text).translate(_LIGATURES)


def _mend_one(match: re.Match[str]) -> str:
    before, after = match.groups()
    return before + after if before.islower() and after.islower() else f"{before}-{after}"

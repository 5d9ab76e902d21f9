"""What HTML needs beside the library: its title, its depth, its table rows, and its text at any depth."""

import html
import re
from collections.abc import Iterator
from html.parser import HTMLParser

from pipelines.parsed import Block

# The HTML standard, 13.1.2: elements without an end tag, and those whose end tag may be left out.
_UNNESTED = (
    "area|base|br|col|embed|hr|img|input|link|meta|source|track|wbr|p|li|td|th|tr|dt|dd|option|thead|tbody|tfoot"
)
_INLINE = re.compile("a|abbr|b|bdi|bdo|cite|code|em|font|i|kbd|mark|q|s|small|span|strong|sub|sup|u|var")
UNREAD_TAGS = frozenset({"script", "style", "template", "noscript", "title"})
HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
TITLE_WITHIN = 1 << 16

_ENCODING = re.compile(rb"""<(?:meta|\?xml)\b[^>]*?(?:charset|encoding)\s*=\s*["']?([\w-]+)""", re.IGNORECASE)
_TITLE = re.compile(r"<title\b[^>]*>([^<]*)</title", re.IGNORECASE)
_NESTED_TAG = re.compile(rf"<(/?)(?!(?:{_UNNESTED})\b)[a-z]")
_DROPPED = re.compile(r"<(/?)(?:figure|figcaption|details|summary|form)\b", re.IGNORECASE)
_INLINE_SPACE = re.compile(r"\s+")


def find_encoding(content: bytes) -> str | None:
    """Return the encoding a page declares in its first 1,024 bytes, where the HTML standard asks for it."""
    match = _ENCODING.search(content[:1024])
    return match.group(1).decode("ascii") if match else None


def find_title(text: str) -> str | None:
    """Return the words of the first `<title>`, looked for in the first 64 Ki characters."""
    match = _TITLE.search(text[:TITLE_WITHIN])
    return " ".join(html.unescape(match.group(1)).split()) or None if match else None


def open_containers(text: str) -> str:
    """Make plain divisions of the elements that the library leaves out with all they hold.

    Captions, folded answers and pages wrapped into one form are content.
    """
    return _DROPPED.sub(r"<\1div", text)


def measure_depth(text: str) -> int:
    """Return how deep elements nest at most, leaving out those whose end tag is optional."""
    depth = deepest = 0
    for slash in _NESTED_TAG.findall(text.lower()):
        depth = max(depth - 1, 0) if slash else depth + 1
        deepest = max(deepest, depth)
    return deepest


def flatten_markup(text: str) -> list[Block]:
    """Return the text between block tags as blocks, headings and list items marked, at any depth."""
    reader = _Flattener()
    reader.feed(text)
    reader.close()
    reader.end_block()
    return reader.blocks


def list_table_rows(markup: str) -> Iterator[list[str]]:
    """Yield the cells of each row of a table's markup; a table inside a cell becomes text of the cell."""
    from lxml.html import fragment_fromstring  # slow to import

    table = fragment_fromstring(markup)
    for row in table.xpath("./tr|./thead/tr|./tbody/tr|./tfoot/tr"):
        yield [" ".join(cell.itertext()) for cell in row.xpath("./td|./th")]


class _Flattener(HTMLParser):
    """Collects text without a tree, so that depth costs nothing."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[Block] = []
        self._words: list[str] = []
        self._unread = 0
        self._tag = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002  # the base's name
        if tag in UNREAD_TAGS:
            self._unread += 1
        elif not _INLINE.fullmatch(tag):
            self.end_block()
            self._tag = tag

    def handle_endtag(self, tag: str) -> None:
        if tag in UNREAD_TAGS:
            self._unread = max(self._unread - 1, 0)
        elif not _INLINE.fullmatch(tag):
            self.end_block()

    def handle_data(self, data: str) -> None:
        if not self._unread:
            self._words.append(data)

    def end_block(self) -> None:
        """Close the block that is being collected."""
        if text := _INLINE_SPACE.sub(" ", "".join(self._words)).strip():
            if self._tag in HEADINGS:
                self.blocks.append(Block(text=text, kind="heading", level=int(self._tag[1])))
            else:
                self.blocks.append(Block(text=text, kind="list" if self._tag == "li" else "text"))
        self._words.clear()
        self._tag = ""

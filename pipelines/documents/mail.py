"""Mail into blocks: its head, its words, and whatever it carries that can be read."""

import email
import email.policy
from collections.abc import Callable, Iterator
from email.message import EmailMessage, Message
from itertools import islice

from pipelines.documents.elements import parse_html
from pipelines.documents.encodings import decode_text
from pipelines.documents.plain import split_paragraphs
from pipelines.parsed import Block, ParsedDocument, UnreadableSource

HEAD = ("From", "To", "Cc", "Date")
MAX_PARTS = 500


def parse_eml(name: str, content: bytes, parse_attachment: Callable[[str, bytes], ParsedDocument]) -> ParsedDocument:
    """Read a mail and its attachments; each attachment that can't be read becomes a warning."""
    message = email.message_from_bytes(content, policy=email.policy.default)
    subject = _find_header(message, "Subject")
    blocks = [Block(text=subject, kind="heading", level=1)] if subject else []
    head = [f"{field}: {value}" for field in HEAD if (value := _find_header(message, field))]
    if head:
        blocks.append(Block(text="\n".join(head)))
    warnings: list[str] = []
    parts = list(islice(_list_leaves(message), MAX_PARTS + 1))
    if len(parts) > MAX_PARTS:
        warnings.append(f"Only the first {MAX_PARTS} parts of the mail were read.")
    for part in parts[:MAX_PARTS]:
        attached = part.get_filename()
        if attached is None:
            blocks.extend(_read_text(name, part))
            continue
        try:
            attachment = parse_attachment(attached, _get_payload(part))
        except UnreadableSource as error:
            warnings.append(f"An attachment was left out: {error.message}")
        else:
            blocks.append(Block(text=attached, kind="heading", level=2))
            blocks.extend(attachment.blocks)
            warnings.extend(attachment.warnings)
    return ParsedDocument(format="eml", blocks=tuple(blocks), title=subject, warnings=tuple(warnings))


def _list_leaves(part: Message) -> Iterator[Message]:
    """Yield the parts to read in order; of alternatives only the plain text where it says anything."""
    if not part.is_multipart():
        yield part
        return
    children = [child for child in part.get_payload() if isinstance(child, Message)]
    if part.get_content_type() == "multipart/alternative":
        plain = next((c for c in children if c.get_content_type() == "text/plain" and _get_payload(c).strip()), None)
        children = [plain] if plain is not None else children
    for child in children:
        yield from _list_leaves(child)


def _read_text(name: str, part: Message) -> Iterator[Block]:
    content_type = part.get_content_type()
    if content_type not in {"text/plain", "text/html"}:
        return
    text = _decode(part)
    if content_type == "text/html":
        yield from parse_html(name, text.encode("utf-8", errors="replace")).blocks
    else:
        yield from split_paragraphs(text)


def _decode(part: Message) -> str:
    return decode_text(_get_payload(part), part.get_content_charset())


def _get_payload(part: Message) -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _find_header(message: EmailMessage, field: str) -> str | None:
    try:
        value = message.get(field)
    except (ValueError, IndexError, TypeError, AttributeError):  # how the standard library fails on broken headers
        return None
    return " ".join(str(value).split()) or None if value is not None else None

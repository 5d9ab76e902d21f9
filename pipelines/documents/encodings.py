"""Turn bytes of unknown encoding into text that PostgreSQL can store."""

import codecs
import re

BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SAMPLE_BYTES = 64 << 10
CONTROL_BYTES = bytes(set(range(32)) - {*b"\t\n\r\f\v\b\x1b\x1a"}) + b"\x7f"
# Below this share of control bytes a file is text with a few stray ones.
MAX_CONTROL_SHARE = 0.02

_UNSTORABLE = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\ufffe\uffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def decode_text(content: bytes, declared: str | None = None) -> str:
    """Return the text of the bytes: by byte order mark, as UTF-16, as UTF-8, as declared, by the likeliest code page.

    UTF-8 goes before the declared encoding, as text that happens to be valid UTF-8 is nothing else, whatever its
    sender says; only ISO 2022 looks the same. Never raises; what no code page explains becomes U+FFFD.
    """
    for mark, encoding in BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return content.decode(encoding, errors="replace")
    wide = find_wide_encoding(content)
    if wide is not None:
        return content.decode(wide, errors="replace")
    declared = (declared or "").strip().lower()
    for encoding in (declared, "utf-8") if declared.startswith("iso-2022") else ("utf-8", declared):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError as error:
            # A sample may end inside a character.
            if error.start >= len(content) - 3 and error.reason == "unexpected end of data":
                return content[: error.start].decode(encoding)
        except LookupError:  # nothing, or nothing known, was declared
            continue
    return content.decode(_guess_code_page(content), errors="replace")


def find_wide_encoding(content: bytes) -> str | None:
    """Return UTF-16's byte order where the zero bytes of unmarked text give it away, else None."""
    sample = content[:SAMPLE_BYTES]
    if len(sample) < 4 or sample.count(0) < len(sample) // 4:
        return None
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if odd > 20 * max(even, 1) or (even == 0 and odd):
        return "utf-16-le"
    if even > 20 * max(odd, 1) or (odd == 0 and even):
        return "utf-16-be"
    return None


def is_binary(content: bytes) -> bool:
    """Tell whether the bytes can't be text in any encoding `decode_text` knows."""
    sample = content[:SAMPLE_BYTES]
    if any(content.startswith(mark) for mark, _ in BYTE_ORDER_MARKS) or find_wide_encoding(content) is not None:
        sample = decode_text(sample).encode("utf-8", errors="replace")
    controls = len(sample) - len(sample.translate(None, CONTROL_BYTES))
    return controls > MAX_CONTROL_SHARE * len(sample)


def clean_text(text: str) -> str:
    """Remove NUL and other control characters, and replace lone surrogates by U+FFFD."""
    return _SURROGATE.sub("\ufffd", _UNSTORABLE.sub("", text))


def _guess_code_page(content: bytes) -> str:
    """Western European unless a longer sample says otherwise: in a few words every guess is a coin toss."""
    if len(content) < 64:
        return "cp1252"
    from charset_normalizer import from_bytes  # only for text that is not Unicode

    best = from_bytes(content[:SAMPLE_BYTES]).best()
    return best.encoding if best is not None else "cp1252"

"""Every layout by a short example, the files that are no transcripts, and the bounds."""

import io
import re
import zipfile
from xml.sax.saxutils import escape

import pytest

from pipelines.parsed import EmptySource, Turn, UnreadableSource
from pipelines.transcripts import LAYOUTS, MAX_TURNS, find_transcript_format, parse_transcript

Row = tuple[str | None, float | None, float | None, str]


def rows(name: str, content: str | bytes) -> tuple[str, list[Row]]:
    data = content.encode() if isinstance(content, str) else content
    parsed = parse_transcript(name, data)
    assert find_transcript_format(name, data) == parsed.format
    return parsed.format, [(turn.speaker, turn.start, turn.end, turn.text) for turn in parsed.turns]


def word_file(*paragraphs: str, xml: str | None = None) -> bytes:
    """Return a DOCX with the main part alone, as Teams writes it."""
    if xml is None:
        body = "".join(
            "<w:p><w:r>"
            + "<w:br/>".join(f'<w:t xml:space="preserve">{escape(line)}</w:t>' for line in paragraph.split("\n"))
            + "</w:r></w:p>"
            for paragraph in paragraphs
        )
        table = "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>saved by</w:t></w:r></w:p></w:tc></w:tr></w:tbl>"
        space = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
        xml = f'<w:document xmlns:w="{space}"><w:body>{body}{table}</w:body></w:document>'
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("word/document.xml", xml)
    return buffer.getvalue()


EXAMPLES: dict[str, tuple[str, str | bytes, str, list[Row]]] = {
    "zoom vtt": (
        "m.vtt",
        (
            "WEBVTT\r\n\r\n1\r\n00:00:01.500 --> 00:00:03.000\r\nAna (she/her): Shall we start?\r\n\r\n"
            "2\r\n00:00:03.000 --> 00:00:04.000\r\nbo: Note: I am late.\r\n\r\n"
            "3\r\n00:00:04.000 --> 00:00:05.000\r\nbo: Sorry.\r\n"
        ),
        "vtt",
        [
            ("Ana (she/her)", 1.5, 3.0, "Shall we start?"),
            ("bo", 3.0, 4.0, "Note: I am late."),
            ("bo", 4.0, 5.0, "Sorry."),
        ],
    ),
    "teams vtt joins the parts of a turn across another's": (
        "m.vtt",
        (
            "WEBVTT\n\n0a1b-2c/7-0\n00:00:01.000 --> 00:00:02.000\n<v Ana>I would\nlike</v>\n\n"
            "0a1b-2c/8-0\n00:00:01.200 --> 00:00:01.900\n<v Bo>Mm.</v>\n\n"
            "0a1b-2c/7-1\n00:00:02.000 --> 00:00:03.250\n<v Ana>to stop.</v>\n\n"
            "0a1b-2c/9-0\n00:00:04.000 --> 00:00:05.000\nGood.\n\n"
            "0a1b-2c/9-1\n00:00:05.000 --> 00:00:06.000\n<v Bo>Yes.</v>\n"
        ),
        "vtt",
        [
            ("Ana", 1.0, 3.25, "I would like to stop."),
            ("Bo", 1.2, 1.9, "Mm."),
            (None, 4.0, 5.0, "Good."),
            ("Bo", 5.0, 6.0, "Yes."),
        ],
    ),
    "teams short times": (
        "m.vtt",
        "WEBVTT\n\n0:0:0.0 --> 0:0:0.570\n<v Ana>Hi.</v>\n\n0:0:0.210 --> 0:1:1.130\n<v Bo>Hi.</v>\n",
        "vtt",
        [("Ana", 0.0, 0.57, "Hi."), ("Bo", 0.21, 61.13, "Hi.")],
    ),
    "w3c vtt": (
        "m.vtt",
        (
            "WEBVTT - a title\nKind: captions\n\nNOTE\nnot said\nat all\n\nSTYLE\n::cue { color: red }\n\n"
            "REGION\nid:left\n\n"
            "intro\n00:11.000 --> 00:13.000 align:right size:50%\n"
            "<v.loud Ana &amp; Bo>Is 1 &lt; 2, <i>is it</i>&nbsp;?\n\n"
            "NOTE not this\n\n00:13.000 --> 00:14.000\n<v Ana>One.<v Bo>Two &co.\n"
        ),
        "vtt",
        [
            ("Ana & Bo", 11.0, 13.0, "Is 1 < 2, is it\xa0?"),
            ("Ana", 13.0, 14.0, "One."),
            ("Bo", 13.0, 14.0, "Two &co."),
        ],
    ),
    "youtube vtt": (
        "v.vtt",
        (
            "WEBVTT\nKind: captions\nStyle:\n::cue(c.grey) { color: grey;\n }\n##\n\n"
            "00:00:00.000 --> 00:00:02.000 align:start position:0%\n \nso<00:00:00.500><c> welcome</c>\n\n"
            "00:00:02.000 --> 00:00:02.010 align:start position:0%\nso welcome\n \n\n"
            "00:00:02.010 --> 00:00:04.000 align:start position:0%\nso welcome\n"
            "<c.grey>back</c><00:00:03.000><c> all</c>\n"
            "00:00:04.000 --> 00:00:04.010 align:start position:0%\nback all\n </c>\n"
        ),
        "vtt",
        [(None, 0.0, 2.0, "so welcome"), (None, 2.01, 4.0, "back all")],
    ),
    "short youtube vtt": (
        "v.vtt",
        (
            "WEBVTT\n\n00:01.000 --> 00:02.000\nso<00:00:01.500><c> far</c>\n\n"
            "00:02.000 --> 00:03.000\nso far\ngood\n\n"
            "00:03.000 --> 00:04.000\nbye\n"
        ),
        "vtt",
        [(None, 1.0, 2.0, "so far"), (None, 2.0, 3.0, "good"), (None, 3.0, 4.0, "bye")],
    ),
    "repeats are kept where captions don't roll": (
        "v.vtt",
        "WEBVTT\n\n00:01.000 --> 00:02.000\nyes\n\n00:02.000 --> 00:03.000\nyes\n\n00:03.000 --> 00:04.000\nno\n",
        "vtt",
        [(None, 1.0, 2.0, "yes"), (None, 2.0, 3.0, "yes"), (None, 3.0, 4.0, "no")],
    ),
    "srt with a lost time line and a blank line inside": (
        "m.srt",
        (
            "1\n00:00:00,500 --> 00:00:07,000\nthe rule: never\n\n2\nnot timed\n\n3\n"
            "00:00:11,890 --> 00:00:16,320\n<font color=red>first</font>\n\nsecond\n4\n"
            "00:00:17,000 --> 00:00:18,000\nlast"
        ),
        "srt",
        [
            (None, 0.5, 7.0, "the rule: never"),
            (None, None, None, "not timed"),
            (None, 11.89, 16.32, "first second"),
            (None, 17.0, 18.0, "last"),
        ],
    ),
    "srt with names": (
        "m.srt",
        "1\n00:00:01,000 --> 00:00:02,000\nAna: Hello.\n\n2\n00:00:02,000 --> 00:00:03,000\nBo: Hi.\nAna: So?\n",
        "srt",
        [("Ana", 1.0, 2.0, "Hello."), ("Bo", 2.0, 3.0, "Hi."), ("Ana", 2.0, 3.0, "So?")],
    ),
    "sbv": (
        "m.sbv",
        "0:00:00.378,0:00:11.378\nOne\n\n0:00:13.489,0:00:12.000\nTwo\nthree\n",
        "sbv",
        [(None, 0.378, 11.378, "One"), (None, 13.489, None, "Two three")],
    ),
    "plain": (
        "x.txt",
        "Session of 3 March\n\nT: What: again?\nC: Yes.\n\nAnd no.\nT: Fine.\n",
        "text",
        [("T", None, None, "What: again?"), ("C", None, None, "Yes.\n\nAnd no."), ("T", None, None, "Fine.")],
    ),
    "plain with names": (
        "x.txt",
        "Ana Lim: Hello.\nBo: Hi.\nAna Lim: How are you?\nBo: Well.\n",
        "text",
        [
            ("Ana Lim", None, None, "Hello."),
            ("Bo", None, None, "Hi."),
            ("Ana Lim", None, None, "How are you?"),
            ("Bo", None, None, "Well."),
        ],
    ),
    "labels with a time now and then": (
        "x.txt",
        "00:00:00\n\nAna: One.\nBo: Two.\n\n00:05:00\n\nAna: Three.\nBo: Four.\n",
        "text",
        [
            ("Ana", 0.0, None, "One."),
            ("Bo", None, None, "Two."),
            ("Ana", 300.0, None, "Three."),
            ("Bo", None, None, "Four."),
        ],
    ),
    "otter": (
        "x.txt",
        (
            "Ana  0:04  \nWe met at 10:30\n\nand left.\n\nUnknown Speaker  0:09  \nRight\n\n"
            "Ana  1:02:03  \nBye 4:00\n\n"
            "Transcribed by https://otter.ai\n"
        ),
        "otter",
        [
            ("Ana", 4.0, None, "We met at 10:30\n\nand left."),
            ("Unknown Speaker", 9.0, None, "Right"),
            ("Ana", 3723.0, None, "Bye 4:00"),
        ],
    ),
    "names and times above the words": (
        "x.txt",
        "Ana 00:01:02\nHello there.\nBo (he) 00:01:05\nHi.\nAna 00:01:07\nBye.",
        "headed-text",
        [("Ana", 62.0, None, "Hello there."), ("Bo (he)", 65.0, None, "Hi."), ("Ana", 67.0, None, "Bye.")],
    ),
    "times and names above the words": (
        "x.txt",
        "[00:00:10] Coach\nHello.\n\n[00:00:15] Client\nWell.\n\nSo.\n",
        "timed-text",
        [("Coach", 10.0, None, "Hello."), ("Client", 15.0, None, "Well.\n\nSo.")],
    ),
    "brackets": (
        "x.txt",
        "[00:00:13] Ana: Hello.\n[00:00:15 - 00:00:17] Bo: So [inaudible 00:00:16]\n[00:00:18] Ana: Eh: no.\n",
        "timed-text",
        [
            ("Ana", 13.0, None, "Hello."),
            ("Bo", 15.0, 17.0, "So [inaudible 00:00:16]"),
            ("Ana", 18.0, None, "Eh: no."),
        ],
    ),
    "name, then time": (
        "x.txt",
        "Coach (0:10): Hello.\nClient [00:15]: Well.\n",
        "timed-text",
        [("Coach", 10.0, None, "Hello."), ("Client", 15.0, None, "Well.")],
    ),
    "name, colon, then time": (
        "x.txt",
        "Coach: [0:10] Hello.\nClient: [0:15] Well.\n",
        "timed-text",
        [("Coach", 10.0, None, "Hello."), ("Client", 15.0, None, "Well.")],
    ),
    "time on a line of its own": (
        "x.txt",
        "0:00\nhello and\n0:05\nwelcome\n",
        "timed-text",
        [(None, 0.0, None, "hello and"), (None, 5.0, None, "welcome")],
    ),
    "whisper's printout": (
        "x.txt",
        "[00:00.000 --> 00:05.000]  Hello.\n[00:05.000 --> 00:06.500]  Bye.\n",
        "timed-text",
        [(None, 0.0, 5.0, "Hello."), (None, 5.0, 6.5, "Bye.")],
    ),
    "times of day": (
        "x.txt",
        "10:02:13 Ana: Hello.\n10:02:15 Bo: Hi.\n10:02:17 Ana: Well.\n",
        "timed-text",
        [("Ana", None, None, "Hello."), ("Bo", None, None, "Hi."), ("Ana", None, None, "Well.")],
    ),
    "markdown": (
        "x.md",
        (
            "# Talk\n\n**Ana Lim:** \\[00:03:47.13\\] Fine.\n\n**Bo:** \\[unclear 00:04:01.00\\] one.\n\n"
            "\\[00:05:00.00\\] And two.\n\n"
            "## Break\n\nan advert\n\n**Ana Lim:** Sure.\n"
        ),
        "markdown",
        [
            ("Ana Lim", 227.13, None, "Fine."),
            ("Bo", None, None, "[unclear 00:04:01.00] one.\n\nAnd two."),
            ("Ana Lim", None, None, "Sure."),
        ],
    ),
    "zoom chat": (
        "chat.txt",
        "00:05:41\tAna | Co:\tsounds great\r\n00:06:02\tread me:\tone\n\ntwo: three\r\n00:06:10\tBo:\tok\r\n",
        "zoom-chat",
        [
            ("Ana | Co", 341.0, None, "sounds great"),
            ("read me", 362.0, None, "one\n\ntwo: three"),
            ("Bo", 370.0, None, "ok"),
        ],
    ),
    "zoom chat with the time of day": (
        "chat.txt",
        "10:02:13 From Ana To Everyone:\n\thello\n10:02:20 From Bo (he) to Ana(Direct Message):\n\thi\n",
        "zoom-chat",
        [("Ana", None, None, "hello"), ("Bo (he)", None, None, "hi")],
    ),
    "teams docx": (
        "m.docx",
        word_file("0:0:0.0 --> 0:0:1.510\nAna\nOK. Yeah.", "0:0:3.270 --> 0:0:4.250\nBo\nUmm <so>\nwell.", ""),
        "teams-docx",
        [("Ana", 0.0, 1.51, "OK. Yeah."), ("Bo", 3.27, 4.25, "Umm <so> well.")],
    ),
    "newer teams docx": (
        "m.docx",
        word_file(
            "Weekly", "Ana started transcription", "Ana Lim   0:03\nHello.", "Bo   0:09\nHi.", "Ana Lim   0:12\nBye."
        ),
        "headed-text",
        [("Ana Lim", 3.0, None, "Hello."), ("Bo", 9.0, None, "Hi."), ("Ana Lim", 12.0, None, "Bye.")],
    ),
    "whisper": (
        "x.json",
        (
            '{"text": "a b", "segments": [{"id": 0, "start": 0.0, "end": 1.5, "text": " a"}, '
            '{"id": 1, "start": 1.5, "end": NaN, "text": " b"}], "language": "en"}'
        ),
        "whisper",
        [(None, 0.0, 1.5, "a"), (None, 1.5, None, "b")],
    ),
    "whisperx": (
        "x.json",
        '{"segments": [{"start": 0, "end": 1, "text": "a", "speaker": "SPEAKER_00"}, {"start": 1, "text": "b"}]}',
        "whisperx",
        [("SPEAKER_00", 0.0, 1.0, "a"), (None, 1.0, None, "b")],
    ),
    "jsonl": (
        "x.jsonl",
        '{"role": "coach", "t_start": 3, "content": "a"}\n\n{"role": "client", "t_start": "0:05", "content": "b"}\n',
        "jsonl",
        [("coach", 3.0, None, "a"), ("client", 5.0, None, "b")],
    ),
    "csv": (
        "x.csv",
        'id,Interlocutor,Timestamp,End,Utterance Text\n1,coach,00:00:13,14.5,"one, ""two""\nthree"\n2,,2024-01-01,,b\n',
        "csv",
        [("coach", 13.0, 14.5, 'one, "two"\nthree'), (None, None, None, "b")],
    ),
    "csv with semicolons": (
        "x.csv",
        "name;text\nAna;a\nBo;b\nAna;c\n",
        "csv",
        [
            ("Ana", None, None, "a"),
            ("Bo", None, None, "b"),
            ("Ana", None, None, "c"),
        ],
    ),
    "tsv with a stray quotation mark": (
        "x.tsv",
        'speaker\ttext\nAna\t"Well, no\nBo\tyes\n',
        "tsv",
        [("Ana", None, None, '"Well, no'), ("Bo", None, None, "yes")],
    ),
}


@pytest.mark.parametrize("example", EXAMPLES)
def test_layout_gives_its_turns(example: str) -> None:
    name, content, expected_format, expected = EXAMPLES[example]
    assert rows(name, content) == (expected_format, expected)


def test_every_layout_has_an_example() -> None:
    assert {layout.name for layout in LAYOUTS} == {expected for _, _, expected, _ in EXAMPLES.values()}


@pytest.mark.parametrize("example", [key for key, (_, content, *_) in EXAMPLES.items() if isinstance(content, str)])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_encoding_does_not_matter(example: str, encoding: str) -> None:
    _, content, expected_format, expected = EXAMPLES[example]
    assert isinstance(content, str)
    assert rows("x", content.encode(encoding)) == (expected_format, expected)


@pytest.mark.parametrize("ending", ["\r\n", "\r"])
def test_line_ends_do_not_matter(ending: str) -> None:
    text = "[0:01] Zoë: Ça va.\n\nOui.\n[0:05] José: Où?\n[0:06] Zoë: Là.\n"
    assert rows("x.txt", text.replace("\n", ending)) == rows("x.txt", text)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_western_8_bit_text_is_read(encoding: str) -> None:
    text = "Zoë: Ça va très bien.\nJosé: Où es-tu né?\nZoë: À Genève.\nJosé: Ah, l'été à Zürich.\n"
    assert rows("x.txt", text.encode(encoding)) == rows("x.txt", text)


def test_other_8_bit_text_is_read() -> None:
    text = "Coach: Здравствуйте, как прошла неделя?\nClient: Спасибо, всё хорошо, я много работал.\n" * 5
    assert rows("x.txt", text.encode("cp1251")) == rows("x.txt", text)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("letter.txt", "Dear Ana,\n\nthank you: it was good. See you at 10:30.\n\nBo\n"),
        ("mail.txt", "From: ana\nTo: bo\nSubject: us\nDate: today\n\nHello Bo: how are you?\n"),
        ("notes.md", "# Notes\n\n**Note:** one.\n\n- **Goal:** two.\n\n**Warning:** three.\n\nMore.\n"),
        ("glossary.md", "**Trust:** what grows.\n\n**Goal:** what is far.\n\n**Habit:** what stays.\n"),
        ("faq.txt", "Q: How?\nA: So.\nQ: Why?\nA: Because.\n"),
        ("agenda.txt", "10:00 Welcome\n10:15 Coffee\n11:00 Talk\n"),
        ("agenda.txt", "Schedule\n[10:00] Welcome\n[10:15] Coffee\n[11:00] Talk\n"),
        ("timetable.txt", "Opening 9:00\nWorkshop 10:00\nLunch 12:00\nEnd 15:00\n"),
        ("session timetable.txt", "Opening 9:00\nWorkshop 10:00\nLunch 12:00\nEnd 15:00\n"),
        ("memory.txt", "Coach: Hello.\nClient: H\x00i.\n"),
        ("server.log", "[12:00:01] INFO: start\n[12:00:02] ERROR: bad\n[12:00:03] INFO: stop\n"),
        ("records.txt", "Colour: red\nSize: 3\nShape: round\nColour: blue\nSize: 4\nShape: flat\n" * 3),
        ("recipe.txt", "Soup\n\nIngredients: salt\nMethod: stir: slowly\n\nServe at once.\n"),
        ("tldr.json", '{"meeting": "x", "highlights": {"a": [{"timestamp": "00:14:04", "highlight": "b"}]}}'),
        ("decisions.json", '{"key_decisions": [{"original_text": "a", "timestamp": "00:01:00"}]}'),
        ("list.json", '[{"text": "a"}, {"text": "b"}]'),
        ("numbers.json", "[1, 2]"),
        ("docs.jsonl", '{"id": 1, "text": "a"}\n{"id": 2, "text": "b"}\n'),
        ("changes.tsv", "original\tcorrected\tconfidence\nEPS\tePBS\thigh\n"),
        ("products.csv", "name,text,price\nsoap,washes,3\nrope,ties,4\n"),
        ("people.csv", "name,age\nAna,3\nBo,4\n"),
        ("posts.csv", "timestamp,text\n2024-01-01T10:00:00,a\n2024-01-02T10:00:00,b\n"),
        ("letter.docx", word_file("Dear Ana,", "thank you.", "Bo")),
        ("heading.txt", "Ana  0:01\n"),
        ("empty.txt", b""),
        ("blank.txt", b" \n\t\n"),
        ("blank.docx", word_file("")),
        ("picture.png", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"),
        ("page.pdf", b"%PDF-1.7\n\x00\x01\x02"),
        ("deck.pptx", b"PK\x03\x04broken"),
    ],
)
def test_other_files_are_no_transcripts(name: str, content: str | bytes) -> None:
    data = content.encode() if isinstance(content, str) else content
    assert find_transcript_format(name, data) is None
    with pytest.raises(UnreadableSource) as raised:
        parse_transcript(name, data)
    assert re.fullmatch(r"[A-Z][^\n]+[;,][^\n]+\.", raised.value.message)


def test_a_telling_name_asks_for_less_evidence() -> None:
    text = b"Ana: Hello.\nBo: Hi.\n"
    assert find_transcript_format("notes.txt", text) is None
    assert find_transcript_format("folder/Ana transcript.txt", text) == "text"


@pytest.mark.parametrize(
    "content", [b"", b" \n", b"WEBVTT\n\n", b"WEBVTT\n\n00:01.000 --> 00:02.000\n<v Ana></v>\n", word_file(" ")]
)
def test_silence_is_empty(content: bytes) -> None:
    with pytest.raises(EmptySource):
        parse_transcript("x.vtt", content)


def test_several_sessions_are_refused() -> None:
    lines = b'{"session_id": "a", "speaker": "Ana", "text": "x"}\n{"session_id": "b", "speaker": "Bo", "text": "y"}\n'
    assert find_transcript_format("x.jsonl", lines) == "jsonl"
    with pytest.raises(UnreadableSource, match="several sessions"):
        parse_transcript("x.jsonl", lines)
    assert len(parse_transcript("x.jsonl", lines.replace(b'"b"', b'"a"')).turns) == 2


def test_a_broken_record_is_named() -> None:
    with pytest.raises(UnreadableSource, match="Line 2 "):
        parse_transcript("x.jsonl", b'{"speaker": "Ana", "text": "x"}\n{"speaker": "Bo", "te')
    with pytest.raises(UnreadableSource, match="quotation marks"):
        parse_transcript("x.csv", b'speaker,text\nAna,"x\nBo,y\n')


def test_what_a_reader_should_know_is_said() -> None:
    untimed = parse_transcript("x.md", b"**Ana:** \\[00:01\\] a\n\n**Bo:** b\n")
    assert untimed.warnings == ("1 of 2 turns have no time.",)
    backward = parse_transcript("x.sbv", b"0:00:02.000,0:00:01.000\na\n")
    assert backward.turns == (Turn(None, "a", 2.0, None),)
    assert "end before they start" in backward.warnings[0]
    assert "times of day" in parse_transcript("x.txt", b"[10:00:00] Coach: a\n[10:00:01] Client: b\n").warnings[0]
    assert parse_transcript("x.txt", b"T: a\nC: b\n").warnings == ()


def test_too_many_turns_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_TURNS == 200_000
    monkeypatch.setattr("pipelines.transcripts.MAX_TURNS", 10)
    assert len(parse_transcript("x.txt", b"T: a\nC: b\n" * 5).turns) == 10
    with pytest.raises(UnreadableSource, match="200,000"):
        parse_transcript("x.txt", b"T: a\nC: b\n" * 5 + b"T: c\n")


@pytest.mark.parametrize(
    "xml",
    [
        "<w:document",
        "<nothing/>",
        '<?xml version="1.0" encoding="none-such"?><a/>',
        '<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb">'
        + "".join(f'<!ENTITY b{i} "{f"&b{i - 1 if i else str()};" * 10}">' for i in range(9))
        + "]><a>&b8;</a>",
    ],
)
def test_a_damaged_docx_is_refused(xml: str) -> None:
    with pytest.raises(UnreadableSource, match="damaged"):
        parse_transcript("x.docx", word_file(xml=xml))


def test_a_docx_that_unpacks_to_too_much_is_refused() -> None:
    with pytest.raises(UnreadableSource, match="64 MB"):
        parse_transcript("x.docx", word_file(xml=" " * (64 * 1024 * 1024 + 1)))


def test_a_huge_file_is_refused() -> None:
    with pytest.raises(UnreadableSource, match="64 MB"):
        parse_transcript("x.txt", bytes(64 * 1024 * 1024 + 1))

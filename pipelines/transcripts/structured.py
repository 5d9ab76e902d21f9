"""Transcripts as records: Whisper and WhisperX JSON, JSON Lines, comma- or tab-separated turns."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from pipelines.parsed import Turn, UnreadableSource
from pipelines.transcripts.source import Source, find_json
from pipelines.transcripts.times import find_seconds

_SPEAKERS = ("speaker", "speaker_name", "speaker_label", "interlocutor", "participant", "role", "name")
_TEXTS = ("text", "utterance_text", "utterance", "content", "transcript", "words_text", "sentence")
_STARTS = ("start", "start_time", "t_start", "start_seconds", "begin", "timestamp", "time", "from")
_ENDS = ("end", "end_time", "t_end", "end_seconds", "stop", "to")
_SESSIONS = ("session_id", "session", "transcript_id", "conversation_id", "conversation", "meeting_id", "meeting")
_LISTS = ("segments", "turns")
_DELIMITERS = ("\t", ",", ";")


class SeveralSessions(UnreadableSource):
    """The file holds the turns of several sessions; split it into one file a session, each for its own client."""


class BrokenRecords(UnreadableSource):
    """A record of the transcript is broken; export it again or correct the line."""


def is_whisper(source: Source) -> bool:
    """Whether this is JSON with timed segments and no speakers."""
    return _has_segments(source) and not _names_speakers(source)


def is_whisperx(source: Source) -> bool:
    """Whether this is JSON with segments or turns, some with a speaker."""
    return _has_segments(source) and _names_speakers(source)


def parse_segments(source: Source) -> Iterator[Turn]:
    """Yield a turn per segment; raises SeveralSessions."""
    return _read_turns(_find_segments(source) or [])


def is_jsonl(source: Source) -> bool:
    """Whether the first written line is a JSON object with words and a speaker or a time."""
    first = next((line for line in source.lines if line.strip()), "")
    record = find_json(first) if first.lstrip().startswith("{") else None
    return isinstance(record, dict) and _is_turn(record)


def parse_jsonl(source: Source) -> Iterator[Turn]:
    """Yield a turn per line; raises BrokenRecords naming a line that is no JSON object, and SeveralSessions."""
    return _read_turns(_list_records(source))


def is_csv(source: Source) -> bool:
    """Whether this is a table of turns with commas or semicolons between the columns."""
    return _is_table(source, (",", ";"))


def is_tsv(source: Source) -> bool:
    """Whether this is a table of turns with tabs between the columns."""
    return _is_table(source, ("\t",))


def parse_table(source: Source) -> Iterator[Turn]:
    """Yield a turn per row; raises BrokenRecords and SeveralSessions."""
    delimiter = _find_delimiter(source)
    return _read_turns(_read_rows(source, delimiter)) if delimiter else iter(())


def _find_segments(source: Source) -> list[Mapping[str, object]] | None:
    found = source.json
    if isinstance(found, dict):
        found = next((found[key] for key in _LISTS if isinstance(found.get(key), list)), None)
    if not isinstance(found, list) or not found or not all(isinstance(record, dict) for record in found):
        return None
    return found if _is_turn(found[0]) else None


def _has_segments(source: Source) -> bool:
    return _find_segments(source) is not None


def _names_speakers(source: Source) -> bool:
    return any(_find_speaker(record) for record in _find_segments(source) or [])


def _is_turn(record: Mapping[str, object]) -> bool:
    has_words = isinstance(record.get(_find_column(record, _TEXTS) or ""), str)
    return has_words and (_find_speaker(record) is not None or _find_time(record, _STARTS) is not None)


def _find_column(record: Mapping[str, object], names: Sequence[str]) -> str | None:
    """Return the first of these columns the record has, whatever the case and blanks of its spelling."""
    spelled = {str(key).strip().casefold().replace(" ", "_"): key for key in record}
    return next((spelled[name] for name in names if name in spelled), None)


def _find_speaker(record: Mapping[str, object]) -> str | None:
    column = _find_column(record, _SPEAKERS)
    value = record.get(column) if column else None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return (value.strip() or None) if isinstance(value, str) else None


def _find_time(record: Mapping[str, object], names: Sequence[str]) -> float | None:
    column = _find_column(record, names)
    return find_seconds(record[column]) if column else None


def _list_records(source: Source) -> Iterator[Mapping[str, object]]:
    for number, line in enumerate(source.lines, start=1):
        if not line.strip():
            continue
        record = find_json(line)
        if not isinstance(record, dict):
            raise BrokenRecords(
                f"Line {number} of this transcript is no JSON object; export it again or correct that line."
            )
        yield record


def _list_columns(source: Source, delimiter: str) -> list[str]:
    return next((line for line in source.lines if line.strip()), "").replace('"', "").split(delimiter)


def _find_delimiter(source: Source) -> str | None:
    """Return what separates the columns, if the header names words and a speaker or a start."""
    for delimiter in _DELIMITERS:
        header = dict.fromkeys(_list_columns(source, delimiter))
        if _find_column(header, _TEXTS) and (_find_column(header, _SPEAKERS) or _find_column(header, _STARTS)):
            return delimiter
    return None


def _is_table(source: Source, delimiters: Sequence[str]) -> bool:
    """Whether the header names words and the rows fill a column of speakers or session times."""
    delimiter = _find_delimiter(source)
    if delimiter not in delimiters or delimiter is None:
        return False
    try:
        rows = list(islice(_read_rows(source, delimiter), 50))
    except BrokenRecords:
        return True  # the header is a transcript's; parsing tells which line is broken
    names = [name for row in rows if (name := _find_speaker(row))]
    # A list of products has names as well, each once; people take turns.
    has_people = _find_column(rows[0], _SPEAKERS[:-1]) is not None if rows else False
    has_times = any(_find_time(row, _STARTS) is not None for row in rows)
    return has_times or (bool(names) and (has_people or len(set(names)) < len(names)))


def _read_rows(source: Source, delimiter: str) -> Iterator[Mapping[str, object]]:
    # Programs that write tabs mostly don't quote: a mark without its partner is then part of the words.
    has_stray_marks = delimiter == "\t" and any(line.count('"') % 2 for line in source.lines)
    reader = csv.DictReader(
        io.StringIO(source.text.lstrip("\n"), newline=""),
        delimiter=delimiter,
        restval="",
        strict=True,
        quoting=csv.QUOTE_NONE if has_stray_marks else csv.QUOTE_MINIMAL,
    )
    try:
        for row in reader:
            yield {key: value for key, value in row.items() if key is not None}
    except csv.Error as error:
        message = f"Line {reader.line_num} of this table is broken; check its quotation marks and export it again."
        raise BrokenRecords(message) from error


def _read_turns(records: Iterable[Mapping[str, object]]) -> Iterator[Turn]:
    session: object = None
    for record in records:
        column = _find_column(record, _SESSIONS)
        if column and isinstance(record[column], str | int):
            if session is not None and record[column] != session:
                raise SeveralSessions
            session = record[column]
        words = _find_column(record, _TEXTS)
        text = record[words] if words else None
        if isinstance(text, str):
            yield Turn(_find_speaker(record), text.strip(), _find_time(record, _STARTS), _find_time(record, _ENDS))

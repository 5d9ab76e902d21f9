"""What may be said about a file, and what happens to a file about which something wrong is said."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.sidecar import FIELDS, MANIFEST, Manifest, Sidecar, choose_visibility, parse_manifests


def _parse(*lines: object, name: str = MANIFEST) -> Manifest:
    written = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    return parse_manifests({name: "\n".join(written).encode()})


def test_every_field_is_read() -> None:
    manifest = _parse(
        {
            "key": "a.vtt", "kind": "transcript", "title": " First ", "visibility": "client_visible",
            "client": "Amina@Org.example", "coach": "ruth@org.example", "held_at": "2026-03-02T10:00:00+01:00",
            "session": "amina-01", "speakers": {"Speaker 1": "ruth@org.example"},
        }
    )  # fmt: skip
    said = manifest.said["a.vtt"]
    assert (said.client, said.title, said.session) == ("amina@org.example", "First", "amina-01")
    assert said.held_at == datetime(2026, 3, 2, 9, tzinfo=UTC)
    assert said.people == {"amina@org.example", "ruth@org.example"}
    assert Sidecar.model_validate(said.to_json()) == said
    assert manifest.refused == {}


def test_key_alone_is_enough_and_blank_lines_and_marks_are_fine() -> None:
    manifest = parse_manifests({MANIFEST: b'\xef\xbb\xbf{"key": "a"}\r\n\r\n  {"key": "./b"}\r\n'})
    assert manifest.said == {"a": Sidecar(), "b": Sidecar()}


def test_keys_are_relative_to_their_manifest() -> None:
    manifest = parse_manifests({MANIFEST: b'{"key": "a"}', f"deep/{MANIFEST}": b'{"key": "a", "title": "Deep"}'})
    assert manifest.said["a"].title is None
    assert manifest.said["deep/a"].title == "Deep"
    assert manifest.places["deep/a"] == f"deep/{MANIFEST} line 1"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ({"key": "x", "clinet": "a@b.example"}, "has the unknown field 'clinet'; the fields are key, kind,"),
        ({"key": "x", "decided": True}, "has the unknown field 'decided'"),
        ({"key": "x", "held_at": "last Tuesday"}, "held_at: 'last Tuesday' is no ISO-8601 date; write it like"),
        ({"key": "x", "held_at": 20260302}, "held_at: "),
        ({"key": "x", "client": "amina"}, "client: 'amina' is no e-mail address"),
        ({"key": "x", "visibility": "public"}, "visibility: Input should be 'client_visible'"),
        ({"key": "x", "kind": "song"}, "kind: Input should be 'transcript' or 'document'"),
        ({"key": "x", "title": "a\u0000b"}, "title: "),
        ({"key": "x", "speakers": {"A": "nobody"}}, "speakers.A: 'nobody' is no e-mail address"),
        ({"key": "x", "client": "a@b.example", "coach": "A@b.example"}, "a@b.example is both client and coach"),
        ('{"key": "x", "title": "open', "is not valid JSON"),
        ('{"key": "x", "title": ' + "[" * 100_000, "is not valid JSON"),
    ],
)
def test_a_bad_line_fails_its_own_file_in_one_sentence(line: object, sentence: str) -> None:
    manifest = _parse({"key": "good"}, line, {"key": "better"})
    assert set(manifest.said) == {"good", "better"}
    assert set(manifest.refused) == {"x"}
    assert manifest.unattributed == ()
    message = manifest.refused["x"]
    assert message.startswith(f"{MANIFEST} line 2")
    assert sentence in message
    assert "\n" not in message


@pytest.mark.parametrize("line", ["not json", "[]", "3", '{"title": "no key"}', '{"key": 3}', '{"key": ""}'])
def test_a_line_without_a_key_is_reported_as_nobodys(line: str) -> None:
    manifest = _parse({"key": "good"}, line)
    assert set(manifest.said) == {"good"}
    assert manifest.unattributed == (f"{MANIFEST} line 2 can't be read and names no key; correct it.",)


def test_two_lines_about_one_file_refuse_it() -> None:
    manifest = _parse({"key": "a", "title": "One"}, {"key": "a", "title": "Two"})
    expected = f"{MANIFEST} line 2 names a again after {MANIFEST} line 1; keep one of the two lines."
    assert manifest.refused["a"] == expected


@given(st.binary(max_size=300))
def test_no_bytes_make_it_raise(content: bytes) -> None:
    parse_manifests({MANIFEST: content})


@given(st.dictionaries(st.sampled_from(FIELDS), st.none() | st.text(max_size=9) | st.integers() | st.lists(st.text())))
def test_every_line_is_said_refused_or_nobodys(fields: dict[str, object]) -> None:
    manifest = _parse(fields)
    assert len(manifest.said) + len(manifest.refused) + len(manifest.unattributed) == 1


def test_what_is_said_lies_over_what_is_known() -> None:
    line, run = Sidecar(client="a@b.example"), Sidecar(client="c@b.example", coach="d@b.example")
    assert line.over(run) == Sidecar(client="a@b.example", coach="d@b.example")
    assert line.fingerprint() != run.fingerprint()
    assert line.fingerprint() == Sidecar(client="A@b.example").fingerprint()


@pytest.mark.parametrize(
    ("kind", "said", "visibility"),
    [
        ("transcript", Sidecar(), "system_internal"),
        ("document", Sidecar(), "client_visible"),
        ("document", Sidecar(session="amina-01"), "system_internal"),
        ("document", Sidecar(speakers={"A": "a@b.example"}), "system_internal"),
        ("transcript", Sidecar(client="a@b.example"), "coach_only"),
        ("document", Sidecar(coach="a@b.example"), "coach_only"),
        ("document", Sidecar(client="a@b.example", visibility="client_visible"), "client_visible"),
        ("transcript", Sidecar(visibility="client_visible"), "client_visible"),
    ],
)
def test_without_a_word_the_least_harm_is_chosen(kind: str, said: Sidecar, visibility: str) -> None:
    assert choose_visibility(kind, said) == visibility  # type: ignore[arg-type]  # one of the two kinds

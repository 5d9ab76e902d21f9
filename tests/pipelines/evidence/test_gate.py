"""What becomes of proposed claims at the gate."""

from dataclasses import replace
from datetime import date
from typing import Any
from uuid import UUID

import pytest

from pipelines.evidence.gate import LONGEST_STATEMENT, admit
from pipelines.evidence.records import Candidate, Method, ProposedClaim, QuoteRole, SessionText
from tests.pipelines.evidence.spoken import make_session

AMINA = UUID("00000000-0000-4000-8000-00000000000a")
RUTH = UUID("00000000-0000-4000-8000-00000000000b")
RULE = Method(name="rules/commitment/1")
TALK = make_session(
    ("Amina", "I'll hand the checklist to Piotr by Friday."),
    ("Speaker 2", "You want to stay on the rota. Will you talk to Helen by Friday?"),
    ("Amina", "Yes, by Friday. I'm not afraid of her, I want to leave the rota."),
    ("Guest", "She is very tired."),
    people={"Amina": AMINA, "Speaker 2": RUTH},
    names={AMINA: "Amina Diallo", RUTH: "Ruth Ellery"},
    client=AMINA,
    coach=RUTH,
)


def propose(*quotes: str | tuple[str, QuoteRole], **changes: Any) -> ProposedClaim:
    """Return a commitment of Amina's on these words."""
    pairs = [(one, "supporting") if isinstance(one, str) else one for one in quotes]
    claim = ProposedClaim(
        claim_type="commitment",
        statement="Amina Diallo committed to hand the checklist to Piotr by Friday.",
        modality="stated",
        quotes=[(Candidate(exact=words), role) for words, role in pairs],  # type: ignore[misc]  # widened by the list
        method=RULE,
        holder="amina diallo",
    )
    return replace(claim, **changes)


HANDS = "I'll hand the checklist to Piotr by Friday."


def test_a_claim_with_its_quote_is_let_in() -> None:
    made = admit(TALK, [propose("i'll hand THE checklist", valid_to=date(2026, 1, 23), subject=" checklist ")])
    (claim,) = made.claims
    assert [(quote.exact, role) for quote, role in claim.quotes] == [("I'll hand the checklist", "supporting")]
    assert (claim.holder, claim.holder_id, claim.subject) == ("Amina Diallo", AMINA, "checklist")
    assert (claim.modality, claim.status, claim.valid_to) == ("stated", "asserted", date(2026, 1, 23))
    assert claim.transcript_id == TALK.transcript_id
    assert not made.rejected
    assert not made.dropped


def test_a_claim_without_a_supporting_quote_is_dropped_and_its_candidates_counted() -> None:
    made = admit(
        TALK,
        [
            propose("I'll hand the checklist to Helen"),
            propose(("She is very tired", "opposing")),
            propose(),
            propose(HANDS, "Zebras eat glass at night", ("I'm afraid of her", "opposing")),
        ],
    )
    assert len(made.claims) == 1
    assert len(made.claims[0].quotes) == 1
    assert made.dropped == {"unsupported": 3}
    assert made.rejections == {"edited": 2, "not_found": 1}


def test_the_speaker_of_a_candidate_is_held_to() -> None:
    wrong = Candidate(exact="She is very tired", speaker="Amina Diallo")
    made = admit(TALK, [propose(quotes=[(wrong, "supporting")])])
    assert made.rejections == {"misattributed": 1}


def test_supporting_quotes_come_first_and_each_place_once() -> None:
    made = admit(TALK, [propose(("talk to Helen", "opposing"), HANDS, HANDS.upper(), (HANDS, "opposing"))])
    (claim,) = made.claims
    assert [(quote.exact, role) for quote, role in claim.quotes] == [
        (HANDS, "supporting"),
        ("talk to Helen", "opposing"),
    ]


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("statement", {"statement": ""}),
        ("statement", {"statement": " \u2003 "}),
        ("statement", {"statement": "a" * (LONGEST_STATEMENT + 1)}),
        ("statement", {"statement": "Amina\x00 committed."}),
        ("statement", {"statement": "Amina\n committed."}),
        ("statement", {"statement": "Amina \ud800 committed."}),
        ("label", {"subject": "check\x07list"}),
        ("label", {"subject": "a" * 301}),
        ("label", {"holder": "Am\udfffina"}),
        ("unknown_value", {"claim_type": "secret"}),
        ("unknown_value", {"modality": "certain"}),
        ("unknown_value", {"polarity": ""}),
        ("unknown_value", {"status": "done"}),
        ("validity", {"valid_from": date(2026, 2, 1), "valid_to": date(2026, 1, 31)}),
        ("support_score", {"support_score": 1.01}),
        ("support_score", {"support_score": -0.1}),
        ("support_score", {"support_score": float("nan")}),
    ],
)
def test_what_the_store_would_refuse_is_dropped(reason: str, changes: dict[str, Any]) -> None:
    made = admit(TALK, [propose(HANDS, **changes), propose(HANDS)])
    assert made.dropped == {reason: 1}
    assert len(made.claims) == 1


def test_the_longest_statement_is_let_in() -> None:
    assert len(admit(TALK, [propose(HANDS, statement="a" * LONGEST_STATEMENT, support_score=1.0)]).claims) == 1


def test_an_unknown_role_is_dropped() -> None:
    made = admit(TALK, [propose((HANDS, "proof"))])  # type: ignore[arg-type]  # as a hostile model would
    assert made.dropped == {"unknown_value": 1}


def test_ids_depend_on_the_words_and_the_method_only() -> None:
    one, two = propose(HANDS), propose("Yes, by Friday")
    first, again = admit(TALK, [one, two]), admit(replace(TALK), [two, one])
    assert {claim.claim_id for claim in first.claims} == {claim.claim_id for claim in again.claims}
    other = admit(TALK, [replace(one, method=Method(name="model", model_name="m"))]).claims[0]
    assert other.claim_id not in {claim.claim_id for claim in first.claims}
    assert admit(replace(TALK, content_hash="f" * 64), [one]).claims[0].claim_id != first.claims[0].claim_id


def test_one_span_may_hold_two_claims_but_none_twice() -> None:
    second = propose(HANDS, statement="Amina Diallo committed to give Piotr the checklist this week.")
    made = admit(TALK, [propose(HANDS), second, propose(HANDS), second])
    assert len({claim.claim_id for claim in made.claims}) == 2
    assert made.dropped == {"duplicate": 2}
    turned = admit(TALK, [second, propose(HANDS)])
    assert {(claim.claim_id, claim.statement) for claim in turned.claims} == {
        (claim.claim_id, claim.statement) for claim in made.claims
    }
    assert {claim.claim_id for claim in made.claims} & {admit(TALK, [second]).claims[0].claim_id}


@pytest.mark.parametrize(
    ("holder", "words", "claim_type", "modality"),
    [
        ("Amina", "I want to leave the rota", "goal", "stated"),
        ("Amina Diallo", "You want to stay on the rota", "goal", "inferred"),
        (None, "You want to stay on the rota", "goal", "inferred"),
        (None, "I want to leave the rota", "goal", "stated"),
        ("Amina", "She is very tired", "emotion", "inferred"),
        ("Amina", "I'm not afraid of her", "emotion", "stated"),
        ("Ruth Ellery", "You want to stay on the rota", "belief", "stated"),
        ("Ruth Ellery", "I want to leave the rota", "goal", "inferred"),
        ("Guest", "She is very tired", "belief", "stated"),
        ("Piotr", "She is very tired", "belief", "inferred"),
        ("Amina", "Will you talk to Helen by Friday?", "commitment", "reported"),
        ("Amina", "Yes, by Friday", "commitment", "stated"),
        (None, "Will you talk to Helen by Friday?", "commitment", "stated"),
    ],
)
def test_only_their_own_words_state_a_claim(holder: str | None, words: str, claim_type: str, modality: str) -> None:
    (claim,) = admit(TALK, [propose(words, holder=holder, claim_type=claim_type)]).claims
    assert claim.modality == modality
    (kept,) = admit(TALK, [propose(words, holder=holder, claim_type=claim_type, modality="inferred")]).claims
    assert kept.modality == "inferred"


def test_opposing_words_of_the_client_state_nothing() -> None:
    both = propose("You want to stay on the rota", ("I want to leave the rota", "opposing"), claim_type="goal")
    assert admit(TALK, [both]).claims[0].modality == "inferred"


def test_a_request_and_its_answer_support_one_claim() -> None:
    (claim,) = admit(TALK, [propose("Will you talk to Helen by Friday?", "Yes, by Friday.")]).claims
    assert [quote.speaker for quote, _ in claim.quotes] == ["Speaker 2", "Amina"]
    assert claim.modality == "stated"


def test_a_session_of_unknown_people_goes_by_its_labels() -> None:
    talk = make_session(("client", "I want to sleep more."), ("therapist", "You feel tired, and I believe you."))
    made = admit(
        talk,
        [
            propose("I want to sleep more", holder="Client", claim_type="goal"),
            propose("You feel tired", holder="client", claim_type="emotion"),
        ],
    )
    assert [(one.holder, one.holder_id, one.modality) for one in made.claims] == [
        ("Client", None, "stated"),
        ("client", None, "inferred"),
    ]


def test_a_name_of_two_people_is_nobody() -> None:
    talk = replace(TALK, names={AMINA: "Amina", RUTH: "Amina"})
    made = admit(talk, [propose(HANDS, holder="Amina")])
    assert (made.claims[0].holder, made.claims[0].holder_id) == ("Amina", None)


def test_nothing_proposed_nothing_made() -> None:
    empty: SessionText = make_session()
    assert admit(empty, [propose(HANDS)]).dropped == {"unsupported": 1}
    assert not admit(TALK, []).claims

"""What ends, ends at the next read: every surface that shows words, against every way in which the right ends."""

import pytest

from tests.api.conftest import Connect
from tests.factories.people import Organisation
from tests.factories.revocable import (
    SURFACES,
    WORDS,
    End,
    build_revocable,
    end_engagement,
    erase_sources,
    look_everywhere,
    narrow_to,
    withdraw,
)

RECORDS = {"notes"}
"""What no source's end touches: a note is its author's own words, and goes with the engagement."""

SOURCES = {"transcript", "document", "evidence by session"}
EVIDENCE = {
    "claims",
    "claim",
    "patterns",
    "pattern",
    "insights",
    "insight",
    "commitments",
    "pack of a client",
    "shared pack",
}
ANSWERS = {
    "search", "conversation", "new answer", "answer told again", "completion", "streamed completion", "new pack",
    "pack of a question", "proposal", "shared answer",
}  # fmt: skip

KINDS: dict[str, tuple[End, set[str]]] = {
    "engagement ended": (end_engagement, set()),
    "visibility narrowed": (narrow_to("system_internal"), RECORDS),
    "sources erased": (erase_sources, RECORDS),
    "assistant withdrawn": (withdraw("assistant"), RECORDS | SOURCES | EVIDENCE | {"pack of a question"}),
    "evidence withdrawn": (withdraw("evidence"), RECORDS | SOURCES | ANSWERS),
    "evaluation withdrawn": (withdraw("evaluation"), set(SURFACES) - {"proposals", "proposal"}),
}
"""By kind: how it comes about, and the surfaces that may go on showing what they show."""


@pytest.mark.parametrize("kind", KINDS)
async def test_what_ended_is_seen_nowhere(organisation: Organisation, connect: Connect, kind: str) -> None:
    end, untouched = KINDS[kind]
    reader = connect("coach_a")
    one = await build_revocable(organisation, reader)
    before = await look_everywhere(reader, one)
    unseen = {name for name, (_, word) in SURFACES.items() if word and word not in before[name]}
    assert not unseen, {name: before[name][:300] for name in unseen}
    await end(one, connect)
    after = await look_everywhere(reader, one)
    leaks = {
        name: [word for word in WORDS if word in told] for name, told in after.items()
        if name not in untouched and any(word in told for word in WORDS)
    }  # fmt: skip
    assert not leaks, {name: (words, after[name][:500]) for name, words in leaks.items()}
    if kind == "engagement ended":
        assert "Amina" not in after["clients"]


async def test_client_loses_what_becomes_the_coachs(organisation: Organisation, connect: Connect) -> None:
    one = await build_revocable(organisation, connect("coach_a"))
    client = connect("client_a")
    names = (
        "transcript",
        "document",
        "claims",
        "claim",
        "patterns",
        "search",
        "completion",
        "commitments",
        "ingestions",
    )

    async def look() -> dict[str, str]:
        return {name: (await SURFACES[name][0](client, one)).text for name in names}

    before = await look()
    assert not {name for name in names if SURFACES[name][1] not in before[name]}
    await narrow_to("coach_only")(one, connect)
    after = await look()
    assert not {name: told[:300] for name, told in after.items() if any(word in told for word in WORDS)}

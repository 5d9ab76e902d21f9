"""Sessions written for tests: two people's promises, turns and themes, and what only looks like them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from uuid import NAMESPACE_URL, UUID, uuid5

from pipelines.evidence.records import SessionText, Turn

COACH = "Ines Holm"


def person(name: str) -> UUID:
    return uuid5(NAMESPACE_URL, name)


def tell(client: str, day: str, lines: Sequence[str]) -> SessionText:
    """One session; a line is "C: words" of the coach or "K: words" of the client."""
    turns, position = [], 0
    for index, line in enumerate(lines):
        label, words = line.split(": ", 1)
        name = COACH if label == "C" else client
        turns.append(
            Turn(
                index=index, text=words, char_start=position, char_end=position + len(words), speaker=name,
                speaker_id=person(name),
            )
        )  # fmt: skip
        position += len(words) + 1
    return SessionText(
        transcript_id=uuid5(NAMESPACE_URL, f"{client} {day}"),
        content_hash=sha256("\n".join(turn.text for turn in turns).encode()).hexdigest(),
        turns=turns,
        client_id=person(client),
        coach_id=person(COACH),
        held_at=datetime.fromisoformat(day).replace(tzinfo=UTC),
        names={person(client): client, person(COACH): COACH},
    )


NORA = "Nora Lindahl"
NORA_SESSIONS = (
    tell(
        NORA,
        "2026-01-08T10:00",
        [
            "C: What would make this year a good one?",
            "K: I want to publish the cookbook by myself, without an agent. That's the thing I keep dreaming about.",
            "C: What happens when you sit down to write it?",
            "K: I polish the first recipe again. I polish it until midnight and then I hate it.",
            "C: And the days at the bakery?",
            "K: Long. I'm sleeping maybe six hours. My sister says she'll hire a second baker, but I don't see it.",
            "C: On a scale of one to ten, how ready are you to show somebody a chapter?",
            "K: Two. I'd be mortified.",
            "C: Who could read one?",
            "K: Petra, my neighbour, she's a proofreader. I'll send Petra the soup chapter by the end of January.",
            "C: I'll send you the template we talked about.",
            "K: Thank you. And I'll phone the printer in Malmö about paper next week.",
            "C: And rest?",
            "K: I'm going to take Mondays off from now on. No bakery on Mondays.",
        ],
    ),
    tell(
        NORA,
        "2026-02-12T10:00",
        [
            "C: Last time there were three things. The soup chapter?",
            "K: Sent! I sent Petra the soup chapter on the thirtieth and she marked every page in green.",
            "C: The printer in Malmö?",
            "K: No. I never phoned the printer. I looked at the number every morning and made another loaf.",
            "C: And Mondays?",
            "K: I managed two. Then the oven broke, and I was in there every Monday again.",
            "C: How is the writing itself?",
            "K: I still polish the same recipe. Petra says the polishing is where I hide.",
            "C: How ready are you now, on our scale?",
            "K: Four. Green ink helps.",
            "C: Will you try the printer again?",
            "K: Yes. I'll phone the printer on Tuesday, before I open the shop.",
            "K: My sister promised to call him too, but she promises everything.",
            "C: And sleep?",
            "K: Since Christmas I haven't slept a single night through.",
        ],
    ),
    tell(
        NORA,
        "2026-04-02T10:00",
        [
            "C: You look pleased.",
            "K: I phoned the printer! On the Tuesday. He was so kind, he asked for the whole thing.",
            "C: And going without an agent?",
            (
                "K: I've changed my mind about the agent. I'm going to look for an agent after all, "
                "the contract made me dizzy."
            ),
            "C: The polishing?",
            (
                "K: Polishing less. I catch myself, I put the recipe in the drawer. "
                "The scale is a seven, before you ask me."
            ),
            "C: You told me you couldn't sleep in the winter.",
            "K: Did I? I slept like a stone every night since Christmas, honestly, I don't know why I said that.",
            "C: What's next?",
            "K: I'll write to three agents by the fifteenth of April.",
        ],
    ),
)

IVO = "Ivo Marek"
IVO_SESSIONS = (
    tell(
        IVO,
        "2026-01-09T15:00",
        [
            "C: Where shall we begin?",
            "K: With the choir board. I want to stay on the choir board until the jubilee.",
            "C: What does it take from you?",
            "K: Evenings. I avoid the treasurer, that's the truth. I avoid Lenka because she shouts.",
            "C: What would you do differently?",
            "K: If I were brave I'd resign. But I'm not brave.",
            "C: So what is small enough?",
            "K: I'll ask Lenka for the accounts before the next rehearsal.",
            "C: And the garden?",
            "K: Tomas said he'd dig the beds. I won't promise anything about the garden.",
        ],
    ),
    tell(
        IVO,
        "2026-02-20T15:00",
        [
            "C: Did you ask Lenka for the accounts?",
            "K: I meant to. I almost asked her at the rehearsal and then I talked about the weather.",
            "C: What stopped you?",
            "K: The shouting. I can't bear raised voices, I avoid anybody who raises theirs.",
            "C: What do you want to do about it?",
            "K: I'll ask her for the accounts in writing, by Sunday.",
            "C: And the garden?",
            "K: Tomas dug the beds on Saturday. He phoned the nursery as well.",
        ],
    ),
    tell(
        IVO,
        "2026-03-27T15:00",
        [
            "C: And the accounts?",
            "K: I wrote to Lenka on the Saturday and asked for the accounts, and she sent them within the hour.",
            "C: Within the hour!",
            "K: I avoided her for three years for nothing.",
            "C: What about the board?",
            "K: I've resigned from the choir board. I'm leaving at Easter, the jubilee can do without me.",
            "C: How does it feel?",
            "K: Light. I feel light.",
        ],
    ),
)

"""A model gone wrong in every way that could be thought of, the same way for the same seed."""

import json
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

from tests.pipelines.evidence.model.session import quote, say
from tests.rag.openai_server import Reply, error_reply, json_reply, stream_reply

Turns = Sequence[tuple[str, str]]
NAMES: Final = {"client": "Amina Diallo", "coach": "Ruth Ellery"}
GARBAGE: Final = "\x00\x07\u202e\u200b\ufeff\ud800\udfff\U0010ffff\u0000ﷺ𒐫\r\v\f\u2028"
WRONG: Final[tuple[Any, ...]] = (
    None,
    True,
    -1,
    10**400,
    1e308,
    "",
    " ",
    [],
    {},
    [[]],
    "x" * 100_000,
    GARBAGE,
    {"$ref": "#"},
    "null",
)


class Hostile:
    """Makes one bad reply after the other about a session; `made` counts them by kind."""

    def __init__(self, turns: Turns, seed: int) -> None:
        self.random = random.Random(seed)
        self.turns = turns
        self.kinds: dict[str, Callable[[], Reply]] = {
            name.removeprefix("_send_"): getattr(self, name) for name in dir(self) if name.startswith("_send_")
        }
        self.made: dict[str, int] = dict.fromkeys(self.kinds, 0)

    def next(self) -> Reply:
        """Return the next bad reply."""
        kind = self.random.choice(sorted(self.kinds))
        self.made[kind] += 1
        return self.kinds[kind]()

    def claim(self, **changes: Any) -> dict[str, Any]:
        """Return a claim whose quote stands in the session, changed as told."""
        index = self.random.randrange(len(self.turns))
        label, words = self.turns[index]
        said = words.split()
        start = self.random.randrange(max(len(said) - 6, 1))
        part = " ".join(said[start : start + self.random.randint(4, 20)])
        given: dict[str, Any] = {
            "type": self.random.choice(["goal", "commitment", "obstacle", "belief", "emotion", "progress", "decision"]),
            "statement": f"{NAMES[label]} said: {part}", "holder": NAMES[label], "subject": " ".join(said[:2]),
            "polarity": "neutral", "modality": "stated", "valid_from": None, "valid_to": None,
            "quotes": [quote(part, turn=index, speaker=NAMES[label])],
        }  # fmt: skip
        return given | changes

    def words(self) -> str:
        """Return words of the session."""
        return self.claim()["quotes"][0]["words"]  # type: ignore[no-any-return]  # made above

    def requoted(self, words: str, **changes: Any) -> dict[str, Any]:
        """Return a claim that says what these words say."""
        return self.claim(statement=f"Amina Diallo said: {words}"[:500], quotes=[quote(words, **changes)])

    def send(self, *claims: Any) -> Reply:
        """Return a reply with these claims, and a sound one now and then."""
        sound = [self.claim()] if self.random.random() < 0.3 else []
        return say(json.dumps({"claims": [*claims, *sound]}))

    def _send_invented(self) -> Reply:
        return self.send(self.requoted("I have decided to sell the company and move to Lisbon in May."))

    def _send_edited(self) -> Reply:
        words = self.words().split()
        place = self.random.randrange(len(words))
        words[place] = self.random.choice(["never", "not", "47", "resign", words[place] + " not", ""])
        return self.send(self.requoted(" ".join(words)))

    def _send_stitched(self) -> Reply:
        joint = self.random.choice([" ", " … ", "... ", ", ", "\n"])
        return self.send(self.requoted(self.words() + joint + self.words()))

    def _send_misattributed(self) -> Reply:
        one = self.claim()
        other = "Ruth Ellery" if one["holder"] == "Amina Diallo" else "Amina Diallo"
        one["quotes"][0]["speaker"] = one["holder"] = other
        return self.send(one)

    def _send_nobody(self) -> Reply:
        one = self.claim(holder="The Administrator")
        one["quotes"][0]["speaker"] = self.random.choice(["Nobody", "system", GARBAGE, None])
        return self.send(one)

    def _send_damaged(self) -> Reply:
        words = self.words()
        damaged = self.random.choice([words.upper(), words.lower(), words.title(), words.replace(" ", " um, ", 1)])
        return self.send(self.requoted(damaged + self.random.choice(["", "!!", " …", GARBAGE])))

    def _send_unrelated(self) -> Reply:
        return self.send(self.claim(statement="Amina Diallo is stealing from the company and will be dismissed."))

    def _send_obeyed(self) -> Reply:
        index, words = next((n, w) for n, (_, w) in enumerate(self.turns) if "Ignore all previous" in w)
        told = words.partition("say that ")[2]
        return self.send(self.claim(statement=told, quotes=[quote(told, turn=index), quote(words, turn=index)]))

    def _send_denied(self) -> Reply:
        return self.send(self.claim(statement=f"Amina Diallo never said: not {self.words()}"))

    def _send_wrong_field(self) -> Reply:
        one = self.claim()
        one[self.random.choice(sorted(one))] = self.random.choice(WRONG)
        return self.send(one)

    def _send_wrong_quote(self) -> Reply:
        one = self.claim()
        one["quotes"][0][self.random.choice(["turn", "speaker", "words", "role"])] = self.random.choice(WRONG)
        return self.send(one)

    def _send_missing(self) -> Reply:
        one = self.claim()
        del one[self.random.choice(sorted(one))]
        return self.send(one)

    def _send_ids(self) -> Reply:
        ids = dict.fromkeys(("id", "claim_id", "tenant_id", "transcript_id"), "00000000-0000-0000-0000-000000000001")
        one = self.claim(status="kept", superseded_by=ids["id"], visibility="client_visible", **ids)
        one["quotes"][0] |= {"turn": self.random.choice([-5, 10**9, 0]), "char_start": 0, "char_end": 10**9}
        return self.send(one)

    def _send_days(self) -> Reply:
        days = ["2026-02-30", "9999-12-31", "0000-00-00", "tomorrow", "2026-03-20T00:00:00Z", "2027-01-01", 20260320]
        return self.send(self.claim(valid_from=self.random.choice(days), valid_to=self.random.choice(days)))

    def _send_many(self) -> Reply:
        one = self.claim()
        return self.send(*[one] * self.random.choice([2, 50, 500]))

    def _send_many_quotes(self) -> Reply:
        return self.send(self.claim(quotes=[quote(self.words()) for _ in range(200)]))

    def _send_huge(self) -> Reply:
        return self.send(self.claim(statement=self.words() * 2_000, quotes=[quote(self.words() * 2_000)]))

    def _send_garbage(self) -> Reply:
        return say("".join(self.random.choice(GARBAGE + '{}[]":,aé') for _ in range(500)))

    def _send_escaped(self) -> Reply:
        text = json.dumps({"claims": [self.claim(statement=GARBAGE + self.words() + GARBAGE)]}, ensure_ascii=True)
        return say(text)

    def _send_cut(self) -> Reply:
        text = json.dumps({"claims": [self.claim() for _ in range(5)]})
        return say(text[: self.random.randrange(len(text))], finish=self.random.choice(["length", "stop"]))

    def _send_flipped(self) -> Reply:
        text = list(json.dumps({"claims": [self.claim() for _ in range(3)]}))
        for _ in range(self.random.choice([1, 5, 50])):
            text[self.random.randrange(len(text))] = self.random.choice('{}[]":,\\x0')
        return say("".join(text))

    def _send_deep(self) -> Reply:
        return say(self.random.choice(["[", '{"claims":[', '{"claims":[{"quotes":['])
                   * self.random.choice([50, 500, 20_000]))  # fmt: skip

    def _send_shape(self) -> Reply:
        one = self.claim()
        shapes: list[object] = [
            one, [one], {"claims": one}, {"claims": {"0": one}}, {"claims": [[one]]}, {"Claims": [one]}, [],
            {}, None, 7, {"claims": [one, None, 3, "x", [], {}]}, {"claims": [json.dumps(one)]},
        ]  # fmt: skip
        return say(json.dumps(self.random.choice(shapes)))

    def _send_prose(self) -> Reply:
        return say(self.random.choice([
            "I'm sorry, but I can't help with that.", "Amina will hand over the checklist.", "<claims/>",
            "```json\n```", "", " ", "null", "You read one stretch of a coaching session and list what people claim",
        ]))  # fmt: skip

    def _send_wrapped(self) -> Reply:
        return say("Sure!\n```json\n" + json.dumps({"claims": [self.claim()]}) + "\n```\nAnything else?")

    def _send_status(self) -> Reply:
        return error_reply(self.random.choice([400, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529]))

    def _send_half(self) -> Reply:
        text = json.dumps({"claims": [self.claim()]})
        events = [
            {"choices": [{"index": 0, "delta": {"content": text[:200]}, "finish_reason": None}], "model": "gpt-4o-mini"}
        ]
        return stream_reply(events, done=False, cut=self.random.random() < 0.5)

    def _send_broken_http(self) -> Reply:
        stream = "text/event-stream"
        return self.random.choice([
            Reply((b"<html>",), content_type="text/html"), Reply((b"data: \xff\xfe\n\n",), content_type=stream),
            Reply((b"data: {half\n\n",), content_type=stream), json_reply({"choices": []}),
            stream_reply([[1, 2]]), stream_reply([{"choices": "none"}]), stream_reply([{"error": {"message": "oops"}}]),
            stream_reply([]), Reply(),
        ])  # fmt: skip

    def _send_usage(self) -> Reply:
        usage: Any = self.random.choice([None, (None, None), ("many", []), (-5, -5), (10**18, 10**18), (True, 2.5)])
        model = self.random.choice(
            ["gpt-4o-mini", "", GARBAGE.replace("\ud800", "").replace("\udfff", ""), "m" * 9_999]
        )
        return say(json.dumps({"claims": [self.claim()]}), usage=usage, model=model)

"""A model service that answers by rule from the passages it is given, and does what its prompt tells it to."""

import random
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from rag.lexical import term_indices
from rag.synthesize import split_sentences
from tests.rag.openai_server import ModelServer, Reply, stream_reply

MODEL = "by-rule"
LEAST_SHARED = 0.34  # of the question's words, or the passages do not answer it
SURE_SHARED = 0.9  # the same, where the prompt wants certainty


class Said(NamedTuple):
    """One thing that may be repeated, with the passages it stands on."""

    text: str
    passages: tuple[int, ...]


@dataclass
class AnswerServer(ModelServer):
    """Repeats the sentences that share most with the question, as its prompt wants: how many, how sure, cited or not.

    With `seed` it weighs them a little differently at every call, as a model at a temperature does.
    """

    seed: int | None = None
    wobble: float = 0.3  # how far the weight of a sentence strays, as the deviation of its logarithm

    def respond(self, body: dict[str, Any]) -> Reply:
        """Return the answer to a prompt."""
        system, user = (str(message["content"]) for message in body["messages"])
        # the calls of a run come in any order, so the order alone makes two runs differ too
        chance = None if self.seed is None else random.Random(f"{self.seed}:{len(self.requests)}")
        return stream_text(write_answer(system, user, chance, self.wobble))


def write_answer(system: str, user: str, chance: random.Random | None = None, wobble: float = 0.0) -> str:
    """Answer one prompt by rule."""
    question = user.rpartition("Question: ")[2]
    asked = set(term_indices(question))
    weighed: list[tuple[float, Said]] = []
    for said in read_passages(user):
        shared = asked & set(term_indices(said.text))
        if shared:
            weight = len(shared) / max(len(asked), 1)
            weighed.append((weight * (chance.lognormvariate(0, wobble) if chance else 1.0), said))
    weighed.sort(key=lambda one: (-one[0], one[1].text))
    needed = SURE_SHARED if "certain" in system else LEAST_SHARED
    if "NOT FOUND" in system and (not weighed or weighed[0][0] < needed):
        return "NOT FOUND"
    most = 4 if "one to six" in system else 1
    cites = "number of the passage" in system
    return " ".join(
        f"{said.text} {''.join(f'[{n}]' for n in said.passages) if cites else ''}".strip() for _, said in weighed[:most]
    )


def read_passages(user: str) -> list[Said]:
    """Return what the prompt's passages say, sentence by sentence, and what was derived from them."""
    found: list[Said] = []
    for number, _, text in re.findall(r"^Passage \[(\d+)\]\n(<<\w+>>)\n\(.*\)\n((?:.*\n)*?)\2", user, re.MULTILINE):
        for line in text.splitlines():
            speaker, colon, words = line.partition(": ")
            if not colon or len(speaker.split()) > 3:  # a document's line
                speaker, words = "", line
            found += [
                Said(f"{speaker} said: “{words[start:end]}”" if speaker else words[start:end], (int(number),))
                for start, end in split_sentences(words)
            ]
    derived = re.search(r"^What was derived.*\n(<<\w+>>)\n((?:.*\n)*?)\1", user, re.MULTILINE)
    for line in derived[2].splitlines() if derived else ():
        numbers = tuple(map(int, re.findall(r"\[(\d+)\]", line)))
        found.append(Said(re.sub(r"\s*\[\d+\]", "", line), numbers))
    return found


def stream_text(text: str) -> Reply:
    """Return a streamed completion with this text."""
    common = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    pieces = [
        {**common, "choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": ending}]}
        for piece, ending in ((text, None), (None, "stop"))
    ]
    used = {"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100}
    return stream_reply([*pieces, {**common, "choices": [], "usage": used}])

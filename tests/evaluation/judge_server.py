"""A model service that judges by rule: what stands in the passages is faithful, what is capitalised is asked about.

It answers chat questions too, with a passage's first sentence, so that one service can serve a whole run; it breaks on
a given share of prompts, and counts what it would charge for.
"""

import asyncio
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Literal

from tests.rag.openai_server import ModelServer, Reply, error_reply, json_reply, serve_model, stream_reply

Fate = Literal["well", "garbage", "cut", "busy", "slow"]
LASTING: tuple[Fate, ...] = ("garbage", "cut")
PASSING: tuple[Fate, ...] = ("busy", "slow")


def find_input(prompt: str) -> dict[str, Any]:
    """Return what ragas' prompt asks about, which stands behind its examples."""
    found: dict[str, Any] = json.JSONDecoder().raw_decode(prompt[prompt.rindex("input: ") + len("input: ") :])[0]
    return found


def holds(context: str, sentence: str) -> bool:
    return sentence.rstrip(".").lower() in context.lower()


def judge(prompt: str) -> dict[str, Any]:
    """Answer one of ragas' prompts by rule."""
    asked = find_input(prompt)
    if "statements" in asked:
        return {
            "statements": [
                {"statement": one, "reason": "by rule", "verdict": int(holds(asked["context"], one))}
                for one in asked["statements"]
            ]
        }
    sentences = [one for one in re.split(r"(?<=[.])\s+", asked.get("answer", "")) if one]
    if '"classifications"' in prompt:
        return {
            "classifications": [
                {"statement": one, "reason": "by rule", "attributed": int(holds(asked["context"], one))}
                for one in sentences
            ]
        }
    if "context" in asked:
        return {"reason": "by rule", "verdict": int(any(holds(asked["context"], one) for one in sentences))}
    if "answer" in asked:
        return {"statements": sentences}
    return {"question": f"What about {asked['response']}?", "noncommittal": 0}


@dataclass
class JudgeServer(ModelServer):
    """Judges by rule, unless a fault stands in the way: `faults` are sent first, one a request.

    Then `broken` of all prompts are never answered usably, and `shaken` of them late or at the second request. Which
    ones, the prompt's own words decide, whatever the order. `charged` has the tokens, read and written, of every
    completion that was sent, four characters of them one.
    """

    faults: list[Reply] = field(default_factory=list)
    broken: float = 0.0
    shaken: float = 0.0
    charged: list[tuple[int, int]] = field(default_factory=list)
    fates: Counter[Fate] = field(default_factory=Counter)
    wait_s: int = 1
    """What a busy service says to wait; asked before, it is still busy."""
    _free_at: dict[str, float] = field(default_factory=dict)

    def respond(self, body: dict[str, Any]) -> Reply:
        """Return the reply to a request."""
        prompt = "\n".join(str(message["content"]) for message in body["messages"])
        if body.get("stream"):
            return self._answer(prompt)
        if self.faults:
            return self.faults.pop(0)
        prompt = str(body["messages"][1]["content"])  # not what instructor adds as it asks again
        fate = self.find_fate(prompt)
        self.fates[fate] += 1
        if fate == "busy" and time.monotonic() < self._free_at.setdefault(prompt, time.monotonic() + self.wait_s):
            busy = error_reply(429, code="rate_limit_exceeded")
            return Reply(busy.parts, 429, retry=f"retry-after: {self.wait_s}")
        content = json.dumps(judge(prompt))
        tokens = len(prompt) // 4, len(content) // 4
        self.charged.append(tokens)
        match fate:
            case "garbage":
                return say("I would rather not.", tokens=tokens)
            case "cut":
                return say(content[: len(content) // 2], reason="length", tokens=tokens)
        return say(content, tokens=tokens, silence=0.3 if fate == "slow" else 0.0)

    def find_fate(self, prompt: str) -> Fate:
        """Return what becomes of the prompt."""
        drawn = int.from_bytes(blake2b(prompt.encode(), digest_size=8).digest()) / 2**64
        if drawn < self.broken + self.shaken:
            fates = LASTING if drawn < self.broken else PASSING
            return fates[int(drawn * 1e9) % 2]
        return "well"

    def add_up(self, read_usd: str, written_usd: str) -> Decimal:
        """Return what was charged, at these prices of a million tokens."""
        read, written = (sum(tokens[kind] for tokens in self.charged) for kind in (0, 1))
        return (Decimal(read_usd) * read + Decimal(written_usd) * written) / 1_000_000

    def _answer(self, prompt: str) -> Reply:
        """Return the first sentence of the first passage without its speaker, cited."""
        found = re.search(r"Passage \[1\]\n<<\w+>>\n\(.*\)\n(?:[^\n:]{1,40}: )?(.+?[.?!])(?=\s)", prompt)
        text = f"{found[1]} [1]" if found else "NOT FOUND"
        tokens = len(prompt) // 4, len(text) // 4
        self.charged.append(tokens)
        chunk = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini"}
        usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
        events: list[object] = [
            {**chunk, "choices": [{"index": 0, "delta": {"role": "assistant", "content": text}}]},
            {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            {**chunk, "choices": [], "usage": usage},
        ]
        return stream_reply(events)


def say(content: str, *, reason: str = "stop", tokens: tuple[int, int] = (1_000, 100), silence: float = 0.0) -> Reply:
    """Return a completion with this text."""
    message = {"index": 0, "finish_reason": reason, "message": {"role": "assistant", "content": content}}
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
    reply = json_reply(
        {"id": "x", "object": "chat.completion", "created": 1, "model": "judge", "choices": [message], "usage": usage}
    )
    return Reply(reply.parts, silence=silence)


@contextmanager
def serve_in_thread(model: JudgeServer) -> Iterator[JudgeServer]:
    """Serve on a loop of its own, for what runs a loop of its own, such as a command."""
    ready, done = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with serve_model(model):
            ready.set()
            await done.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        ready.wait()
        yield model
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join()
        loop.close()

"""A model service that judges by rule: what stands in the passages is faithful, what is capitalised is asked about."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from tests.rag.openai_server import ModelServer, Reply, json_reply


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
    """Judges by rule, unless a fault stands in the way: `faults` are sent first, one a request."""

    faults: list[Reply] = field(default_factory=list)

    def respond(self, body: dict[str, Any]) -> Reply:
        """Return the reply to a request."""
        if self.faults:
            return self.faults.pop(0)
        prompt = "\n".join(str(message["content"]) for message in body["messages"])
        return say(json.dumps(judge(prompt)))


def say(content: str, *, reason: str = "stop") -> Reply:
    """Return a completion with this text."""
    message = {"index": 0, "finish_reason": reason, "message": {"role": "assistant", "content": content}}
    usage = {"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100}
    return json_reply(
        {"id": "x", "object": "chat.completion", "created": 1, "model": "judge", "choices": [message], "usage": usage}
    )

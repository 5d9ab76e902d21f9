"""A model behind an OpenAI-compatible endpoint that speaks a sentence at a time, with a pause between them."""

import asyncio
import json
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

PAUSE_S = 3.0
SENTENCES = ("She hands the pager over to Tobias by Friday [1]. ", "It wakes her up twice a night [1]. ", "So it is.")


async def _speak() -> AsyncIterator[str]:
    for place, words in enumerate(SENTENCES):
        if place:
            await asyncio.sleep(PAUSE_S)
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "slow",
                 "choices": [{"index": 0, "delta": {"content": words}, "finish_reason": None}]}  # fmt: skip
        yield f"data: {json.dumps(chunk)}\n\n"
    yield "data: [DONE]\n\n"


async def _complete(_: Request) -> StreamingResponse:
    return StreamingResponse(_speak(), media_type="text/event-stream")


app = Starlette(routes=[Route("/v1/chat/completions", _complete, methods=["POST"])])

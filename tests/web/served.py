"""The service as tests of pages run it: a process of its own on a given port, with the embedder of stems."""

import sys

import uvicorn

from api.app import create_app
from core.settings import get_settings
from rag.answer import Assistant
from tests.factories.sessions import EMBEDDER

if __name__ == "__main__":
    settings = get_settings()
    app = create_app(settings, Assistant(EMBEDDER, settings.llm))
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", timeout_graceful_shutdown=2)

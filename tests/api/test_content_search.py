"""What people write is found and opened over HTTP, from writing to citation."""

from typing import Any

from core.settings import Settings
from pipelines.outbox.dispatcher import Dispatcher
from pipelines.outbox.handlers import build_registry
from tests.api.conftest import Connect
from tests.factories.community import write_post
from tests.factories.people import Organisation
from tests.factories.sessions import EMBEDDER


async def deliver(organisation: Organisation, store: Settings) -> None:
    await Dispatcher(build_registry(store, EMBEDDER), only={organisation.tenant_id}).drain()


async def search(connect: Connect, person: str) -> list[dict[str, Any]]:
    reply = await connect(person).post("/v1/search", json={"query": "observatory"})
    assert reply.status_code == 200, reply.text
    items: list[dict[str, Any]] = reply.json()["items"]
    return items


async def test_post_is_found_cited_and_opened(organisation: Organisation, store: Settings, connect: Connect) -> None:
    words = "We spent the evening at the observatory and spoke about patience."
    post_id = await write_post(organisation.coach_a, title="An evening", content=words)
    await deliver(organisation, store)
    (found,) = await search(connect, "client_b")
    assert found["source_kind"] == "document"
    opened = await connect("client_b").get(f"/v1/documents/{found['source_id']}")
    assert opened.status_code == 200
    document = opened.json()
    assert (document["title"], document["format"]) == ("An evening", "post")
    assert document["text"] == words

    answer = await connect("client_b").post(
        "/v1/chat/completions",
        json={"model": "sasha", "messages": [{"role": "user", "content": "What happened at the observatory?"}]},
    )
    assert answer.status_code == 200
    assert "observatory" in answer.json()["choices"][0]["message"]["content"]

    assert (await connect("coach_a").delete(f"/v1/posts/{post_id}")).status_code in {200, 204}
    assert await search(connect, "client_b") == []
    assert (await connect("client_b").get(f"/v1/documents/{found['source_id']}")).status_code == 404

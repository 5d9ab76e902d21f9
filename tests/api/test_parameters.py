"""Every route refuses the query parameters it does not describe, and says which it takes."""

from typing import Any
from uuid import UUID

from tests.api.conftest import Connect


async def test_every_route_takes_what_it_describes_and_nothing_else(app: Any, connect: Connect) -> None:
    client, seen = connect(None), 0
    for path, operations in app.openapi()["paths"].items():
        at = "/".join(str(UUID(int=0)) if part.startswith("{") else part for part in path.split("/"))
        for method, operation in operations.items():
            taken = [one["name"] for one in operation.get("parameters", []) if one["in"] == "query"]
            reply = await client.request(method, at, params={"no_such": "1", **dict.fromkeys(taken, "1")})
            assert (reply.status_code, reply.json()["code"]) == (422, "UnusableRequest"), (method, path)
            (error,) = reply.json()["errors"]
            told = f"there is no such parameter ({at} takes {', '.join(sorted(taken)) or 'none'})"
            assert error == {"field": "query.no_such", "message": told}
            seen += 1
    assert seen > 200


async def test_a_misspelt_filter_does_not_answer_with_everything(connect: Connect) -> None:
    client = connect("coach_a")
    assert (await client.get("/v1/insights", params={"limit": 5})).status_code == 200
    reply = await client.get("/v1/insights", params={"limit": 5, "client_id": "me", "sort": "new"})
    assert reply.status_code == 422
    assert [error["field"] for error in reply.json()["errors"]] == ["query.client_id", "query.sort"]
    assert reply.json()["detail"].startswith("query.client_id can't be used: there is no such parameter (/v1/insights ")

"""Every failure leaves as a problem that says what to do."""

import httpx
import pytest
from fastapi import FastAPI

from api.errors import PROBLEM, STATUS, find_status, install_error_handlers
from api.limits import BodyLimit
from api.middleware import RequestTrace
from core.errors import AppError, Invalid, Unavailable
from tests.architecture.test_errors import every_error


def test_every_error_has_a_status_of_its_branch() -> None:
    errors = [kind for kind in every_error() if kind is not AppError]
    assert len(errors) > 30
    for kind in errors:
        error = kind.__new__(kind)  # its constructor may want more
        branches = [base for base in kind.__mro__ if base in STATUS]
        assert len(branches) <= 1, kind
        # one on no branch is a defect of ours, and says so in its name
        assert branches or kind.__name__.endswith("Defect"), kind
        assert find_status(error) == (STATUS[branches[0]] if branches else 500), kind


def make_app() -> FastAPI:
    app = FastAPI()
    install_error_handlers(app)
    app.add_middleware(BodyLimit, uploads=10)
    app.add_middleware(RequestTrace)

    @app.get("/fail/{name}")
    async def fail(name: str) -> None:
        raise {kind.__name__: kind for kind in [*STATUS, AppError]}[name]("Say what to do.")

    @app.get("/break")
    async def break_() -> None:
        raise RuntimeError("secret detail")

    @app.post("/count")
    async def count(body: dict[str, int]) -> dict[str, int]:
        return body

    return app


@pytest.fixture
async def client() -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(make_app(), raise_app_exceptions=False), base_url="http://test"
    )


@pytest.mark.parametrize(("kind", "status"), [*STATUS.items(), (AppError, 500)])
async def test_branches_become_problems(client: httpx.AsyncClient, kind: type[AppError], status: int) -> None:
    reply = await client.get(f"/fail/{kind.__name__}", headers={"X-Request-ID": "mine-1"})
    assert reply.status_code == status
    assert reply.headers["content-type"] == PROBLEM
    problem = reply.json()
    assert problem["detail"] == "Say what to do."
    assert (problem["status"], problem["code"]) == (status, kind.__name__)
    assert problem["request_id"] == reply.headers["x-request-id"] == "mine-1"
    assert ("www-authenticate" in reply.headers) == (status == 401)
    assert ("retry-after" in reply.headers) == (status in (429, 503))


async def test_validation_names_the_field(client: httpx.AsyncClient) -> None:
    reply = await client.post("/count", json={"a": "many"})
    assert reply.status_code == 422
    assert reply.json()["errors"][0]["field"] == "body.a"
    assert reply.headers["content-type"] == PROBLEM


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("DELETE", "/count", 405)])
async def test_wrong_paths_and_methods_are_problems(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    reply = await client.request(method, path)
    assert reply.status_code == status
    assert reply.headers["content-type"] == PROBLEM
    assert path in reply.json()["detail"]
    if status == 405:
        assert reply.headers["allow"] == "POST"


async def test_defects_tell_nothing_of_the_inside(client: httpx.AsyncClient) -> None:
    reply = await client.get("/break")
    assert reply.status_code == 500
    assert "secret" not in reply.text
    assert reply.json()["code"] == "Defect"


async def test_long_bodies_are_refused_whether_they_say_so_or_not(client: httpx.AsyncClient) -> None:
    async def pieces() -> object:
        for _ in range(9):
            yield b"x" * 1_000_000

    for body in (b"x" * 8_000_001, pieces()):
        reply = await client.post("/count", content=body, headers={"Content-Type": "application/json"})  # type: ignore[arg-type]  # both are bodies
        assert reply.status_code == 413
        assert reply.headers["content-type"] == PROBLEM


async def test_unusable_request_ids_are_replaced(client: httpx.AsyncClient) -> None:
    reply = await client.get("/nowhere", headers={"X-Request-ID": "a b\x1b"})
    assert " " not in reply.headers["x-request-id"]


def test_nearest_branch_decides() -> None:
    class Both(Unavailable):
        """Nothing; wait."""

    assert find_status(Both()) == 503
    assert find_status(Invalid()) == 422

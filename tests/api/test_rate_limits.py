"""Nobody calls more often than they may, counted together where there is a Redis, and never let through without."""

import asyncio
import re
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from api import rate_limits
from api.app import create_app
from api.rate_limits import MemoryWindows, RateLimits, TooManyRequests
from core.settings import ApiSettings, CacheSettings, Settings
from rag.answer import Assistant
from tests.api.conftest import Keys
from tests.factories.redis_server import RedisServer
from tests.factories.sessions import EMBEDDER


def limited(settings: Settings, cache: str = "memory://", **limits: Any) -> Settings:
    api = ApiSettings(web=False, **{"rate_limit_key": 100, "rate_limit_user": 100, "rate_limit_address": 100} | limits)
    return settings.model_copy(update={"api": api, "cache": CacheSettings(url=cache)})


def connect_to(settings: Settings, key: str | None = None, peer: str = "203.0.113.9") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(settings, Assistant(EMBEDDER)), client=(peer, 1))
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers)


def read_left(reply: httpx.Response) -> tuple[str, int]:
    found = re.fullmatch(r'"(.+)";r=(\d+);t=(\d+)', reply.headers["ratelimit"])
    assert found is not None
    assert 1 <= int(found[3]) <= 61
    return found[1], int(found[2])


@pytest.fixture(params=["memory", "redis"])
def cache_url(request: pytest.FixtureRequest) -> str:
    return "memory://" if request.param == "memory" else str(request.getfixturevalue("redis_server").url)


@pytest.mark.parametrize("limit", ["key", "user", "address"])
async def test_the_narrowest_limit_holds(api_settings: Settings, keys: Keys, cache_url: str, limit: str) -> None:
    client = connect_to(limited(api_settings, cache_url, **{f"rate_limit_{limit}": 5}), keys["coach_a"])
    replies = await asyncio.gather(*(client.get("/v1/clients") for _ in range(12)))
    refused = [reply for reply in replies if reply.status_code == 429]
    assert [reply.status_code for reply in replies].count(200) == 5
    assert len(refused) == 7
    for reply in refused:
        problem = reply.json()
        assert (problem["status"], problem["code"]) == (429, "TooManyRequests")
        assert reply.headers["content-type"] == "application/problem+json"
        assert 1 <= int(reply.headers["retry-after"]) <= 61
        assert read_left(reply) == (limit, 0)
        assert reply.headers["ratelimit-policy"] == f'"{limit}";q=5;w=60'
    left = sorted(read_left(reply)[1] for reply in replies if reply.status_code == 200)
    assert left[0] == 0


async def test_each_caller_has_their_own(api_settings: Settings, keys: Keys) -> None:
    client = connect_to(limited(api_settings, rate_limit_key=2))
    for person in ("coach_a", "coach_b"):
        headers = {"Authorization": f"Bearer {keys[person]}"}
        statuses = [(await client.get("/v1/clients", headers=headers)).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]


async def test_what_has_no_credential_is_counted_by_address(api_settings: Settings) -> None:
    client = connect_to(limited(api_settings, rate_limit_address=4))
    headers = [{"Authorization": f"Bearer rg_guess{n}", "X-Forwarded-For": f"198.51.100.{n}"} for n in range(6)]
    statuses = [(await client.get("/v1/clients", headers=one)).status_code for one in headers]
    assert statuses == [401] * 4 + [429] * 2
    assert (await client.get("/nowhere")).status_code == 429
    for path in rate_limits.UNCOUNTED:
        assert (await client.get(path)).status_code != 429


async def test_behind_a_proxy_the_callers_address_counts(api_settings: Settings) -> None:
    settings = limited(api_settings, rate_limit_address=1, trusted_proxies="203.0.113.0/24")
    client = connect_to(settings)
    statuses = [
        (await client.get("/nowhere", headers={"X-Forwarded-For": address})).status_code
        for address in ("198.51.100.1", "198.51.100.2", "198.51.100.1", "9.9.9.9, 198.51.100.2")
    ]
    assert statuses == [404, 404, 429, 429]


async def test_signing_in_is_narrower(api_settings: Settings, cache_url: str) -> None:
    client = connect_to(limited(api_settings, cache_url, rate_limit_sign_in=2))

    async def sign_in(email: str) -> int:
        body = {"organisation": "nowhere", "email": email, "password": "wrong"}
        return (await client.post("/v1/auth/sign-in", json=body)).status_code

    assert [await sign_in(one) for one in ("a@x.example", " A@x.example", "a@x.example")] == [401, 401, 429]
    assert [await sign_in(f"{n}@x.example") for n in range(9)] == [401] * 9
    assert await sign_in("more@x.example") == 429  # six times two from one address, whatever the account


async def test_processes_count_together_in_redis(redis_server: RedisServer, api_settings: Settings) -> None:
    here, there = (RateLimits(limited(api_settings, redis_server.url, rate_limit_address=10)) for _ in range(2))
    results = await asyncio.gather(
        *(limits.count_address("203.0.113.9") for _ in range(10) for limits in (here, there)), return_exceptions=True
    )
    assert sum(isinstance(result, TooManyRequests) for result in results) == 10
    await here.close()
    await there.close()


async def test_without_redis_memory_counts_and_redis_is_used_again(
    redis_server: RedisServer,
    api_settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(rate_limits, "PAUSE_SECONDS", 0)
    limits = RateLimits(limited(api_settings, redis_server.url, rate_limit_address=3))
    for _ in range(3):
        await limits.count_address("203.0.113.9")
    redis_server.stop()
    for _ in range(3):  # memory has not seen these three
        await limits.count_address("203.0.113.9")
    with pytest.raises(TooManyRequests):
        await limits.count_address("203.0.113.9")
    assert "rate_limits_in_memory" in capsys.readouterr().err
    redis_server.start()
    assert (await limits.count_address("203.0.113.9")).left == 2
    await limits.close()


async def test_the_window_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter((1000.0,) * 2 + (1030.0,) * 2 + (1050.0,) * 2)
    now = 1050.0
    monkeypatch.setattr("api.rate_limits.time", SimpleNamespace(time=lambda: next(clock, now)))
    windows = MemoryWindows()
    for _ in range(3):
        assert await windows.acquire_entry("a", 3, 60)
    assert not await windows.acquire_entry("a", 3, 60)
    assert await windows.get_moving_window("a", 3, 60) == (1000.0, 3)
    now = 1060.5
    assert await windows.get_moving_window("a", 3, 60) == (1030.0, 2)
    assert await windows.acquire_entry("a", 3, 60)
    assert not await windows.acquire_entry("a", 3, 60)


async def test_memory_counts_a_bounded_number_of_callers() -> None:
    windows = MemoryWindows(most=3)
    for caller in ("a", "b", "a", "c", "d"):
        await windows.acquire_entry(caller, 10, 60)
    assert list(windows._calls) == ["a", "c", "d"]
    assert await windows.reset() == 3

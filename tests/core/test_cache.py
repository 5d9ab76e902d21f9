"""Memory and Redis keep values alike, and a Redis that is gone is one error."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from core.cache import Cache, CacheUnavailable, MemoryCache, RedisCache, open_cache
from tests.factories.redis_server import RedisServer


@pytest.fixture(params=["memory", "redis"])
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[Cache]:
    url = "memory://" if request.param == "memory" else request.getfixturevalue("redis_server").url
    cache = open_cache(url)
    yield cache
    await cache.close()


async def test_values_are_kept_replaced_and_forgotten(cache: Cache) -> None:
    assert await cache.get("a") is None
    await cache.set("a", b"\x00one", ttl_s=60)
    assert await cache.get("a") == b"\x00one"
    await cache.add("a", b"two", ttl_s=60)
    assert await cache.get("a") == b"\x00one"
    await cache.set("a", b"three", ttl_s=60)
    await cache.add("b", b"four", ttl_s=60)
    assert (await cache.get("a"), await cache.get("b")) == (b"three", b"four")
    await cache.delete("a", "b", "never there")
    assert (await cache.get("a"), await cache.get("b")) == (None, None)


async def test_values_end_by_themselves(cache: Cache) -> None:
    await cache.set("a", b"one", ttl_s=1)
    assert await cache.get("a") == b"one"
    await asyncio.sleep(1.1)
    assert await cache.get("a") is None
    await cache.add("a", b"two", ttl_s=60)
    assert await cache.get("a") == b"two"


async def test_memory_is_bounded_and_forgets_the_unused_first() -> None:
    cache = MemoryCache(most=3)
    for key in "abc":
        await cache.set(key, key.encode(), ttl_s=60)
    await cache.get("a")
    await cache.set("d", b"d", ttl_s=60)
    assert [key for key in "abcd" if await cache.get(key)] == ["a", "c", "d"]


async def test_redis_is_shared(redis_server: RedisServer) -> None:
    one, other = open_cache(redis_server.url), open_cache(redis_server.url)
    await one.set("a", b"seen", ttl_s=60)
    assert await other.get("a") == b"seen"
    assert (one.is_shared, MemoryCache().is_shared) == (True, False)
    await one.close()
    await other.close()


async def test_redis_that_is_gone_is_one_error_and_comes_back(redis_server: RedisServer) -> None:
    cache = RedisCache(redis_server.url)
    await cache.set("a", b"one", ttl_s=60)
    redis_server.stop()
    for attempt in (cache.get("a"), cache.set("a", b"two", ttl_s=1), cache.add("a", b"", ttl_s=1), cache.delete("a")):
        with pytest.raises(CacheUnavailable):
            await attempt
    redis_server.start()
    await cache.set("a", b"three", ttl_s=60)
    assert await cache.get("a") == b"three"
    await cache.close()

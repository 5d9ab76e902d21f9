"""What several processes may share for a while and nobody misses when it is gone: in memory, or in Redis."""

import time
from collections import OrderedDict
from typing import Any, Final, Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError

from core.errors import Unavailable

MOST_ENTRIES: Final = 50_000
ANSWER_SECONDS: Final = 0.5
"""How long Redis may take; what it holds is always to be had elsewhere."""
PREFIX: Final = "regenesis:"


class CacheUnavailable(Unavailable):
    """The cache does not answer; check REGENESIS_CACHE__URL and that Redis is running."""


class Cache(Protocol):
    """Values by key, each for some seconds; every method may raise `CacheUnavailable`."""

    is_shared: bool
    """Whether other processes see what this one sets."""

    async def get(self, key: str) -> bytes | None:
        """Return the value, or None where there is none any more."""

    async def set(self, key: str, value: bytes, *, ttl_s: int) -> None:
        """Keep the value, replacing what was there."""

    async def add(self, key: str, value: bytes, *, ttl_s: int) -> None:
        """Keep the value unless something is there already."""

    async def delete(self, *keys: str) -> None:
        """Forget these keys."""

    async def close(self) -> None:
        """Let go of connections."""


class MemoryCache:
    """A cache of this process; of more than `most` entries the one unused for longest goes first."""

    is_shared = False

    def __init__(self, most: int = MOST_ENTRIES) -> None:
        self._most = most
        self._entries: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    async def get(self, key: str) -> bytes | None:
        """Return the value, or None."""
        expires_at, value = self._entries.get(key, (0.0, b""))
        if expires_at <= time.monotonic():
            self._entries.pop(key, None)
            return None
        self._entries.move_to_end(key)
        return value

    async def set(self, key: str, value: bytes, *, ttl_s: int) -> None:
        """Keep the value."""
        self._entries[key] = (time.monotonic() + ttl_s, value)
        self._entries.move_to_end(key)
        while len(self._entries) > self._most:
            self._entries.popitem(last=False)

    async def add(self, key: str, value: bytes, *, ttl_s: int) -> None:
        """Keep the value unless there is one; nothing else runs in between."""
        if await self.get(key) is None:
            await self.set(key, value, ttl_s=ttl_s)

    async def delete(self, *keys: str) -> None:
        """Forget these keys."""
        for key in keys:
            self._entries.pop(key, None)

    async def close(self) -> None:
        """Do nothing; there are no connections."""


class RedisCache:
    """A cache in Redis, shared by every process; made and used in one event loop."""

    is_shared = True

    def __init__(self, url: str) -> None:
        self._redis: Redis = Redis.from_url(url, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS)

    async def _run(self, command: Any) -> Any:  # noqa: ANN401  # redis types its commands loosely
        try:
            return await command
        except (RedisError, OSError) as error:
            raise CacheUnavailable from error

    async def get(self, key: str) -> bytes | None:
        """Return the value, or None."""
        value: bytes | None = await self._run(self._redis.get(PREFIX + key))
        return value

    async def set(self, key: str, value: bytes, *, ttl_s: int) -> None:
        """Keep the value."""
        await self._run(self._redis.set(PREFIX + key, value, ex=ttl_s))

    async def add(self, key: str, value: bytes, *, ttl_s: int) -> None:
        """Keep the value unless there is one."""
        await self._run(self._redis.set(PREFIX + key, value, ex=ttl_s, nx=True))

    async def delete(self, *keys: str) -> None:
        """Forget these keys."""
        if keys:
            await self._run(self._redis.delete(*(PREFIX + key for key in keys)))

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()


def open_cache(url: str) -> Cache:
    """Return the cache at this URL, `memory://` or `redis://…`; nothing connects before it is used."""
    return MemoryCache() if url.startswith("memory://") else RedisCache(url)

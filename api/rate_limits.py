"""How often anyone may call: by address, by key or session, by user, and stricter where people sign in.

Windows move: of the last minute's calls, never more than so many. They are counted in Redis where the cache is, so
that all processes count together, and in memory otherwise, also while Redis does not answer.
"""

import hashlib
import math
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final, cast

from limits import RateLimitItemPerMinute
from limits.aio.storage import MovingWindowSupport, RedisStorage, Storage
from limits.aio.storage.redis.redispy import RedispyBridge
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError
from redis.asyncio import Redis
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.client_address import group_address
from api.errors import respond_problem
from core.cache import ANSWER_SECONDS
from core.errors import QuotaExceeded
from core.logging import get_logger
from core.settings import Settings

MOST_COUNTED: Final = 50_000
"""Callers that memory counts at once; the one unseen for longest is forgotten first."""
PAUSE_SECONDS: Final = 5
"""How long Redis is left alone after it did not answer."""
UNCOUNTED: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""What probes ask, from one address."""

_log = get_logger("api")


@dataclass(frozen=True, slots=True)
class Window:
    """What is left of a limit: calls, and whole seconds until the window holds one fewer."""

    name: str
    allowed: int
    left: int
    reset_s: int


class TooManyRequests(QuotaExceeded):
    """You are calling too often; wait as many seconds as the header Retry-After says, then go on more slowly."""

    def __init__(self, window: Window) -> None:
        super().__init__(limit=window.name, retry_after=window.reset_s)
        self.window = window


class MemoryWindows(Storage, MovingWindowSupport):
    """Moving windows of this process, bounded; the library's own walk through all callers with every call."""

    STORAGE_SCHEME = ["async+regenesis-memory"]  # noqa: RUF012  # the library's class attribute

    def __init__(self, most: int = MOST_COUNTED) -> None:
        super().__init__()
        self._most = most
        self._calls: OrderedDict[str, deque[float]] = OrderedDict()

    def _current(self, key: str, expiry: int) -> deque[float]:
        calls = self._calls.setdefault(key, deque())
        self._calls.move_to_end(key)
        while len(self._calls) > self._most:
            self._calls.popitem(last=False)
        while calls and calls[0] <= time.time() - expiry:
            calls.popleft()
        return calls

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count the call unless the window is full."""
        calls = self._current(key, expiry)
        if len(calls) + amount > limit:
            return False
        calls.extend([time.time()] * amount)
        return True

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:  # noqa: ARG002  # the library's signature
        """Return when the window began and how many calls it holds."""
        calls = self._current(key, expiry)
        return (calls[0], len(calls)) if calls else (time.time(), 0)

    async def clear(self, key: str) -> None:
        """Forget one caller."""
        self._calls.pop(key, None)

    async def reset(self) -> int | None:
        """Forget every caller."""
        count = len(self._calls)
        self._calls.clear()
        return count

    async def check(self) -> bool:
        """Tell that memory is there."""
        return True

    @property
    def base_exceptions(self) -> type[Exception]:
        """What storing may raise: nothing."""
        return ValueError

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Refuse: only moving windows are used."""
        raise NotImplementedError

    async def get(self, key: str) -> int:
        """Refuse: only moving windows are used."""
        raise NotImplementedError

    async def get_expiry(self, key: str) -> float:
        """Refuse: only moving windows are used."""
        raise NotImplementedError


class RateLimits:
    """The limits of one app; made once, used in its event loop."""

    def __init__(self, settings: Settings) -> None:
        self._api = settings.api
        self._own = MovingWindowRateLimiter(MemoryWindows())
        self._shared: MovingWindowRateLimiter | None = None
        self._shared_from = 0.0
        if not settings.cache.url.startswith("memory://"):
            storage = RedisStorage(
                f"async+{settings.cache.url}", wrap_exceptions=True, implementation="redispy",
                key_prefix="regenesis:limit", socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS,
            )  # fmt: skip
            self._shared = MovingWindowRateLimiter(storage)

    async def count_address(self, address: str) -> Window:
        """Count a call from an address; raises `TooManyRequests`."""
        return await self._count("address", self._api.rate_limit_address, address)

    async def count_caller(self, credential: str, user: str) -> Window:
        """Count a call with a key, session or token of a user, and return the narrower window."""
        of_key = await self._count("key", self._api.rate_limit_key, _digest(credential))
        of_user = await self._count("user", self._api.rate_limit_user, user)
        return min(of_key, of_user, key=lambda window: window.left)

    async def count_sign_in(self, address: str, account: str) -> Window:
        """Count a try to sign in: from one address for one account, and from one address for any."""
        await self._count("sign-ins", 6 * self._api.rate_limit_sign_in, address)
        return await self._count("sign-in", self._api.rate_limit_sign_in, address, _digest(account))

    async def _count(self, name: str, allowed: int, *who: str) -> Window:
        if self._shared is not None and time.monotonic() >= self._shared_from:
            try:
                return await self._count_in(self._shared, name, allowed, *who)
            except StorageError as error:
                self._shared_from = time.monotonic() + PAUSE_SECONDS
                _log.warning("rate_limits_in_memory", error=str(error))
        return await self._count_in(self._own, name, allowed, *who)

    async def _count_in(self, limiter: MovingWindowRateLimiter, name: str, allowed: int, *who: str) -> Window:
        item = RateLimitItemPerMinute(allowed)
        is_free = await limiter.hit(item, name, *who)
        stats = await limiter.get_window_stats(item, name, *who)
        window = Window(name, allowed, max(stats.remaining, 0), max(1, math.ceil(stats.reset_time - time.time())))
        if not is_free:
            raise TooManyRequests(window)
        return window

    async def close(self) -> None:
        """Close the connections to Redis."""
        if self._shared is not None:
            bridge = cast(RedispyBridge, cast(RedisStorage, self._shared.storage).bridge)
            await cast(Redis, bridge.get_connection()).aclose()


def _digest(secret: str) -> str:
    """Return what may stand in a store's key for a credential or an account."""
    return hashlib.sha256(secret.encode()).hexdigest()[:32]


async def count_within(request: Request, counting: Awaitable[Window]) -> None:
    """Count, and let the reply tell the narrowest window of the request; raises `TooManyRequests`."""
    kept: Window | None = getattr(request.state, "rate_window", None)
    try:
        window = await counting
    except TooManyRequests as error:
        request.state.rate_window = error.window
        raise
    if kept is None or window.left < kept.left:
        request.state.rate_window = window


class AddressLimit:
    """Counts every call by its address before anything else is done for it, and tells each caller what is left."""

    def __init__(self, app: ASGIApp, *, limits: RateLimits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in UNCOUNTED:
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})

        async def send_with_window(message: Message) -> None:
            window: Window | None = state.get("rate_window")
            if message["type"] == "http.response.start" and window is not None:
                headers = MutableHeaders(scope=message)
                # draft-ietf-httpapi-ratelimit-headers-10
                headers["RateLimit-Policy"] = f'"{window.name}";q={window.allowed};w=60'
                headers["RateLimit"] = f'"{window.name}";r={window.left};t={window.reset_s}'
            await send(message)

        try:
            state["rate_window"] = await self._limits.count_address(group_address(state["address"]))
        except TooManyRequests as error:
            state["rate_window"] = error.window
            await respond_problem(error, state.get("request_id"))(scope, receive, send_with_window)
            return
        await self._app(scope, receive, send_with_window)

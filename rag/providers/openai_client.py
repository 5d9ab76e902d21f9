"""The one seam to the openai package: its client is made here, and its errors become ours here and nowhere else."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from core.errors import AppError
from rag.providers.errors import (
    BrokenReply,
    CreditSpent,
    KeyRefused,
    ModelUnknown,
    ProviderBusy,
    ProviderTimedOut,
    ProviderUnavailable,
    RequestRejected,
)

if TYPE_CHECKING:
    from openai import APIError, APIStatusError, AsyncOpenAI

OPENAI_URL: Final = "https://api.openai.com/v1"
DETAIL_LENGTH: Final = 200  # characters of a service's own message that are passed on

# OpenAI's error codes and types, which also come inside a stream, where no HTTP status can follow any more
_BY_CODE: Final[dict[str, type[AppError]]] = {
    "insufficient_quota": CreditSpent,
    "rate_limit_exceeded": ProviderBusy,
    "rate_limit_error": ProviderBusy,
    "invalid_api_key": KeyRefused,
    "authentication_error": KeyRefused,
    "permission_error": KeyRefused,
    "model_not_found": ModelUnknown,
    "context_length_exceeded": RequestRejected,
    "invalid_request_error": RequestRejected,
}
_BY_STATUS: Final[dict[int, type[AppError]]] = {
    401: KeyRefused,
    402: CreditSpent,
    403: KeyRefused,
    404: ModelUnknown,
    408: ProviderTimedOut,
    409: ProviderUnavailable,  # the service's own lock, not ours
    425: ProviderUnavailable,
    429: ProviderBusy,
    504: ProviderTimedOut,
}


def is_outside_url(base_url: str | None) -> bool:
    """Tell whether a model there is outside this machine; none given is OpenAI's own."""
    host = urlsplit(base_url or OPENAI_URL).hostname or ""
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model answers and how long to wait: seconds to connect, and between two pieces of the answer."""

    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    connect_timeout: float = 5.0
    read_timeout: float = 60.0
    retries: int = 2


class ClientPool:
    """One openai client per event loop, because its connections can't be carried from one loop to the next."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncOpenAI] = WeakKeyDictionary()

    def get_client(self) -> "AsyncOpenAI":
        """Return the running loop's client; it retries 408, 409, 429, 5xx and lost connections with backoff."""
        from openai import AsyncOpenAI, Timeout  # half a second that the extractive answerer never needs

        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            endpoint = self._endpoint
            client = AsyncOpenAI(
                # given even when unset: otherwise the package would send OPENAI_API_KEY to any address
                api_key=endpoint.api_key or "none",
                base_url=endpoint.base_url or OPENAI_URL,
                timeout=Timeout(endpoint.read_timeout, connect=endpoint.connect_timeout),
                max_retries=endpoint.retries,
            )
            client.organization = client.project = None  # nor the environment's account to whoever answers there
            self._clients[loop] = client
        return client

    async def aclose(self) -> None:
        """Close the running loop's connections."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise ours in place of whatever the openai package or its HTTP client raises inside the block."""
    try:
        yield
    except Exception as error:
        ours = find_translation(error)
        if ours is None:
            raise
        raise ours from error


def find_translation(error: Exception) -> AppError | None:  # noqa: PLR0911 - one line for each branch of their tree
    """Return our error for one of the openai package's, of its HTTP client's or of a reply's decoding; else None."""
    import httpx2  # comes with openai and is as heavy
    import openai

    match error:
        case openai.APITimeoutError() | httpx2.TimeoutException() | TimeoutError():
            return ProviderTimedOut()
        case openai.APIConnectionError() if isinstance(error.__cause__, httpx2.UnsupportedProtocol):
            return ModelUnknown()
        case openai.APIStatusError():
            return _translate_status(error)
        case openai.APIResponseValidationError():
            return BrokenReply()
        case openai.APIConnectionError():
            return ProviderUnavailable()
        case openai.APIError():  # an error event inside a stream
            return (_find_by_code(error) or ProviderUnavailable)(detail=_shorten(error.message))
        case openai.LengthFinishReasonError() | openai.ContentFilterFinishReasonError():
            return RequestRejected()
        case openai.OpenAIError():
            return ProviderUnavailable()
        case httpx2.InvalidURL():
            return ModelUnknown()
        case httpx2.HTTPError() | httpx2.StreamError():
            return BrokenReply("The model service broke off its answer; try again shortly.")
        case ValueError():  # no JSON, or no UTF-8
            return BrokenReply()
        case _:
            return None


def _translate_status(error: "APIStatusError") -> AppError:
    status = error.status_code
    kind = _find_by_code(error) if status in (400, 403, 404, 422, 429) else None
    kind = kind or _BY_STATUS.get(status) or (ProviderUnavailable if status >= 500 else RequestRejected)
    detail = _shorten(error.message)
    if kind is RequestRejected:  # only the service knows what it did not like
        return RequestRejected(f"The model service can't use this request ({status}): {detail}", status=status)
    return kind(status=status, detail=detail)


def _find_by_code(error: "APIError") -> type[AppError] | None:
    for name in (error.code, error.type):
        if isinstance(name, str) and name in _BY_CODE:
            return _BY_CODE[name]
    return None


def _shorten(message: str) -> str:
    return " ".join(str(message).split())[:DETAIL_LENGTH]

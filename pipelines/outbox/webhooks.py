"""Sends events to webhooks, signed as the Standard Webhooks specification says (standardwebhooks.com)."""

import asyncio
import base64
import hashlib
import hmac
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Final
from uuid import UUID

import httpx
import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import AppError
from core.settings import WebhookSettings
from db.session import Principal, tenant_session
from domain.outbox import Message
from domain.webhooks import SECRET_PREFIX, Attempt, Target, check_url, fan_out, find_target, record_attempt
from pipelines.outbox.addresses import resolve
from pipelines.outbox.messages import Handled, Settlement

READ_AT_MOST: Final = 10_000
"""Bytes of an answer that are read; only its status counts."""
WAIT_AT_MOST: Final = timedelta(hours=1)
"""The longest a receiver's Retry-After is honoured."""


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return one signature: `v1,` and the base64 HMAC-SHA256 of id, timestamp and body."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    digest = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(digest).decode()


def write_headers(secrets: Sequence[str], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the specification's headers, with a signature by every secret that is in use."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(sign(secret, message_id, timestamp, body) for secret in secrets),
    }


def write_body(target: Target) -> bytes:
    """Return the event as the specification shapes it; the same bytes at every attempt."""
    return orjson.dumps({"type": target.topic, "timestamp": target.occurred_at.isoformat(), "data": target.payload})


async def handle_event(message: Message) -> Handled:
    """Give every webhook that asked for this event a delivery of its own."""

    async def write(session: AsyncSession, _: Settlement) -> None:
        await fan_out(session, message)

    return Handled(write=write)


async def handle_delivery(settings: WebhookSettings, message: Message) -> Handled:
    """Try one delivery once."""
    async with tenant_session(Principal(message.tenant_id, "system")) as session:
        target = await find_target(session, UUID(message.payload["delivery_id"]))
    if target is None or target.status == "delivered":
        return Handled()
    if not target.is_active:
        answer = Answer(error="This webhook is disabled; enable it, then replay what it missed.", give_up=True)
    else:
        answer = await send(settings, target)
    return Handled(
        error=answer.error, retry_after=answer.retry_after, give_up=answer.give_up,
        write=partial(_record, target, answer),
    )  # fmt: skip


async def _record(target: Target, answer: "Answer", session: AsyncSession, settlement: Settlement) -> None:
    attempt = Attempt(
        status_code=answer.status, response_ms=answer.response_ms, error=settlement.error,
        retry_in=settlement.retry_in, disable=answer.error if answer.status == httpx.codes.GONE else None,
    )  # fmt: skip
    await record_attempt(session, target, attempt)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one request; `error` is one sentence, and None where the receiver took the event."""

    status: int | None = None
    error: str | None = None
    retry_after: timedelta | None = None
    give_up: bool = False
    response_ms: int | None = None


async def send(settings: WebhookSettings, target: Target) -> Answer:
    """Send the event once, to a checked address and no further; what the other side does wrong is an answer too."""
    began = time.perf_counter()
    try:
        async with asyncio.timeout(settings.timeout_s):
            answer = await _post(settings, target)
    except TimeoutError:
        answer = Answer(error=f"The receiver did not answer within {settings.timeout_s:g} seconds.")
    except AppError as error:  # no address to send to
        answer = Answer(error=error.message)
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as error:
        answer = Answer(error=_say_failure(error))
    return replace(answer, response_ms=int((time.perf_counter() - began) * 1000))


async def _post(settings: WebhookSettings, target: Target) -> Answer:
    url = httpx.URL(check_url(target.url, allow_private=settings.allow_private))
    port = url.port or (443 if url.scheme == "https" else 80)
    address = await resolve(url.host, port, allow_private=settings.allow_private)
    body = write_body(target)
    headers = {
        "content-type": "application/json", "user-agent": "ReGenesis-Webhooks/1", "accept-encoding": "identity",
        "host": url.netloc.decode("ascii"), **write_headers(target.secrets, str(target.id), int(time.time()), body),
    }  # fmt: skip
    # The connection goes to the checked address; certificate and Host header are those of the name.
    async with (
        httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=None) as client,  # noqa: S113  # send() has one
        client.stream(
            "POST", url.copy_with(host=address), content=body, headers=headers,
            extensions={"sni_hostname": url.raw_host.decode("ascii")},
        ) as response,
    ):  # fmt: skip
        read = 0
        async for part in response.aiter_raw():
            read += len(part)
            if read >= READ_AT_MOST:
                break
        return judge(response.status_code, response.headers.get("retry-after"))


def judge(status: int, retry_after: str | None) -> Answer:
    """Return what this status means: 2xx took it, 410 wants no more, 429 and 503 may say when to come again."""
    if 200 <= status < 300:
        return Answer(status=status)
    if status == httpx.codes.GONE:
        return Answer(status=status, error="The receiver answered 410: it wants no more events.", give_up=True)
    if 300 <= status < 400:
        error = f"The receiver answered {status}, and redirects are not followed; correct the webhook's address."
        return Answer(status=status, error=error)
    pause = read_retry_after(retry_after) if status in (429, 503) else None
    return Answer(status=status, error=f"The receiver answered {status}.", retry_after=pause)


def read_retry_after(value: str | None) -> timedelta | None:
    """Return a Retry-After header's pause, an hour at most; None where it says nothing usable (RFC 9110 §10.2.3)."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return min(timedelta(seconds=int(value.strip()[:9])), WAIT_AT_MOST)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    pause = moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)
    return min(max(pause, timedelta()), WAIT_AT_MOST)


def _say_failure(error: Exception) -> str:
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and len(causes) < 10:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    if any(isinstance(one, ssl.SSLError) for one in causes):
        return "The receiver's TLS certificate can't be trusted; renew it or complete its chain."
    if isinstance(error, httpx.ConnectError):
        return "The receiver does not accept connections; check that it runs and that the address is right."
    return f"The connection to the receiver broke ({type(error).__name__})."

"""How a notification leaves the app: by mail where a server is configured; other ways say that they are not."""

import asyncio
import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import make_msgid
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit
from uuid import UUID

from core.errors import Invalid, Unavailable
from core.settings import MailSettings

TIMEOUT_S: Final = 20


class ChannelMissing(Invalid):
    """This way of telling people is not configured; the notification is in the app."""


class MailRefused(Invalid):
    """The mail server refuses this address; correct the person's e-mail address."""


class MailUnavailable(Unavailable):
    """The mail server does not take mail now; check REGENESIS_MAIL__URL or wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One notification as it leaves."""

    id: UUID
    address: str
    name: str
    title: str
    message: str
    link: str | None


class Channel(Protocol):
    """A way to reach a person."""

    async def deliver(self, notice: Notice) -> None:
        """Hand it over; raises `Invalid` where trying again can't help and `Unavailable` where it may."""


class MissingChannel:
    """A way that nobody configured."""

    def __init__(self, sentence: str) -> None:
        self._sentence = sentence

    async def deliver(self, notice: Notice) -> None:  # noqa: ARG002  # the protocol's signature
        """Say so; raises `ChannelMissing`."""
        raise ChannelMissing(self._sentence)


class MailChannel:
    """Mail through an SMTP server, encrypted unless the server is on this machine (RFC 8314, RFC 3207)."""

    def __init__(self, url: str, sender: str) -> None:
        self._server = urlsplit(url)
        self._sender = sender

    async def deliver(self, notice: Notice) -> None:
        """Send one mail; raises `MailRefused`, `MailUnavailable`."""
        try:
            await asyncio.to_thread(self._send, self._write(notice))
        except (smtplib.SMTPRecipientsRefused, smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
            if _is_permanent(error):
                raise MailRefused from error
            raise MailUnavailable from error
        except (smtplib.SMTPException, OSError) as error:
            raise MailUnavailable from error

    def _write(self, notice: Notice) -> EmailMessage:
        mail = EmailMessage()
        mail["From"], mail["To"] = self._sender, notice.address
        mail["Subject"] = " ".join(notice.title.split())  # a line break would begin another header
        # the same at every attempt, by which mail programs know a repetition
        mail["Message-ID"] = f"<{notice.id}@{make_msgid().rpartition('@')[2]}"
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office replies, please
        mail.set_content("\n\n".join(filter(None, (f"Hello {notice.name},", notice.message, notice.link))))
        return mail

    def _send(self, mail: EmailMessage) -> None:
        server, host = self._server, self._server.hostname or ""
        if server.scheme == "smtps":
            context = ssl.create_default_context()
            client: smtplib.SMTP = smtplib.SMTP_SSL(host, server.port or 465, timeout=TIMEOUT_S, context=context)
        else:
            client = smtplib.SMTP(host, server.port or 587, timeout=TIMEOUT_S)
        with client:
            if server.scheme == "smtp" and host not in {"localhost", "127.0.0.1", "::1"}:
                client.starttls(context=ssl.create_default_context())
            if server.username:
                client.login(unquote(server.username), unquote(server.password or ""))
            client.send_message(mail)


def _is_permanent(error: Exception) -> bool:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return all(code >= 500 for code, _ in error.recipients.values())
    return isinstance(error, smtplib.SMTPResponseException) and error.smtp_code >= 500


def build_channels(settings: MailSettings) -> dict[str, Channel]:
    """Return the ways out of the app by delivery method."""
    return {
        "email": MailChannel(settings.url.get_secret_value(), settings.sender)
        if settings.url
        else MissingChannel("No mail server is configured, so this stays in the app; set REGENESIS_MAIL__URL."),
        "sms": MissingChannel("No SMS service is configured, so this stays in the app."),
        "push": MissingChannel("No push service is configured, so this stays in the app."),
    }

"""Notifications leave the app by the way that was asked for, or say why they did not."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import select, text

from core.settings import MailSettings, Settings
from db.models import Notification
from db.session import tenant_session
from domain import outbox
from domain.comms import DeliveryMethod, notify
from pipelines.outbox.dispatcher import Dispatcher, Report
from pipelines.outbox.handlers import build_registry
from pipelines.outbox.notifications import is_wanted
from tests.factories.people import Organisation
from tests.factories.sessions import require_id
from tests.pipelines.outbox.conftest import HASTY
from tests.pipelines.outbox.mail_server import MailServer, serve_mail


async def tell(organisation: Organisation, method: DeliveryMethod, **more: object) -> None:
    async with tenant_session(organisation.coach_a) as session:
        await notify(
            session, user_id=require_id(organisation.client_a), kind="session_reminder", title="Tomorrow\nat ten",
            message="Your session begins at ten.", method=method, **more,  # type: ignore[arg-type]  # the test's own
        )  # fmt: skip


async def drain(organisation: Organisation, store: Settings, url: str | None = None) -> Report:
    settings = store.model_copy(update={"mail": MailSettings(url=SecretStr(url) if url else None)})
    limits = replace(HASTY, attempts=2)
    return await Dispatcher(build_registry(settings), limits, only={organisation.tenant_id}).drain()


async def read_only(organisation: Organisation) -> Notification:
    async with tenant_session(organisation.client_a) as session:
        return (await session.scalars(select(Notification))).one()


@pytest.fixture
async def mail_server() -> AsyncIterator[MailServer]:
    async with serve_mail() as server:
        yield server


async def test_mail_leaves_once(organisation: Organisation, store: Settings, mail_server: MailServer) -> None:
    await tell(organisation, "email", action_url="https://app.example/sessions/1")
    await drain(organisation, store, mail_server.url)
    (mail,) = mail_server.mails
    assert mail["To"] == f"client_a@{organisation.slug}.example"
    assert mail["Subject"] == "Tomorrow at ten"
    body = mail.get_payload()
    assert "Your session begins at ten." in str(body)
    assert "https://app.example/sessions/1" in str(body)
    row = await read_only(organisation)
    assert str(row.id) in mail["Message-ID"]
    assert row.delivered
    assert row.delivered_at is not None
    assert row.delivery_error is None


async def test_without_a_mail_server_it_stays_in_the_app(organisation: Organisation, store: Settings) -> None:
    await tell(organisation, "email")
    report = await drain(organisation, store)
    row = await read_only(organisation)
    assert not row.delivered
    assert "REGENESIS_MAIL__URL" in str(row.delivery_error)
    assert report.count("delivered") == 1


@pytest.mark.parametrize("method", ["sms", "push"])
async def test_ways_nobody_configured_are_given_up(
    organisation: Organisation, store: Settings, method: DeliveryMethod
) -> None:
    async with tenant_session(organisation.system) as session:
        await session.execute(text("""UPDATE identity.user_settings SET sms_notifications = '{"all": true}'"""))
    await tell(organisation, method)
    report = await drain(organisation, store)
    assert report.count("dead") == 1
    row = await read_only(organisation)
    assert "is configured" in str(row.delivery_error)
    async with tenant_session(organisation.admin) as session:
        assert (await outbox.count_states(session))["dead"] == 1


async def test_mail_put_off_is_tried_again(
    organisation: Organisation, store: Settings, mail_server: MailServer
) -> None:
    mail_server.answer = "451 later"
    await tell(organisation, "email")
    report = await drain(organisation, store, mail_server.url)
    assert (report.count("failed"), report.count("dead")) == (1, 1)
    assert mail_server.mails == []


async def test_mail_refused_for_good_is_given_up_at_once(
    organisation: Organisation, store: Settings, mail_server: MailServer
) -> None:
    mail_server.answer = "550 nobody here"
    await tell(organisation, "email")
    report = await drain(organisation, store, mail_server.url)
    assert (report.count("failed"), report.count("dead")) == (0, 1)
    assert "correct the person's e-mail" in str((await read_only(organisation)).delivery_error)


async def test_server_that_is_away_is_tried_again(organisation: Organisation, store: Settings) -> None:
    await tell(organisation, "email")
    report = await drain(organisation, store, "smtp://127.0.0.1:9")
    assert (report.count("failed"), report.count("dead")) == (1, 1)


async def test_wish_of_the_person_is_kept(organisation: Organisation, store: Settings, mail_server: MailServer) -> None:
    async with tenant_session(organisation.system) as session:
        await session.execute(
            text(
                """UPDATE identity.user_settings SET email_notifications = '{"all": true, "session_reminder": false}'"""
            )
        )
    await tell(organisation, "email")
    await drain(organisation, store, mail_server.url)
    assert mail_server.mails == []
    assert "does not want it by email" in str((await read_only(organisation)).delivery_error)


async def test_what_expired_is_not_sent(organisation: Organisation, store: Settings, mail_server: MailServer) -> None:
    await tell(organisation, "email", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    await drain(organisation, store, mail_server.url)
    assert mail_server.mails == []
    assert "too late" in str((await read_only(organisation)).delivery_error)


def test_wishes() -> None:
    assert is_wanted(None, "x")
    assert is_wanted({"all": False, "x": True}, "x")
    assert not is_wanted({"all": False}, "x")
    assert not is_wanted({"all": True, "x": False}, "x")

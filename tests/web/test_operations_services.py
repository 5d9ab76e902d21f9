"""What an administrator is told of backups: how old, whether they restore, and nothing of anybody's rows."""

from datetime import UTC, datetime, timedelta

import pytest

from api.web.operations.services import judge_backups
from pipelines.backup.history import Remembered

NOW = datetime(2026, 3, 12, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("hours", "last_status", "passed", "drilled_days", "status", "said"),
    [
        (None, None, None, None, "warn", "none yet"),
        (5, "good", None, None, "warn", "last good backup 5 h ago, never drilled"),
        (5, "good", True, 2, "ok", "last good backup 5 h ago, last drill 2 days ago passed"),
        (5, "good", True, 12, "warn", "last good backup 5 h ago, last drill 12 days ago passed"),
        (40, "good", True, 2, "warn", "last good backup 40 h ago, last drill 2 days ago passed"),
        (
            5,
            "failed",
            True,
            2,
            "fail",
            "last good backup 5 h ago, last drill 2 days ago passed, and the last try failed",
        ),
        (5, "good", False, 2, "fail", "last good backup 5 h ago, last drill 2 days ago failed"),
    ],
)
def test_backups_are_judged_by_their_age_and_their_drill(
    *, hours: int | None, last_status: str | None, passed: bool | None, drilled_days: int | None, status: str, said: str
) -> None:
    last = Remembered(
        last_good=None if hours is None else NOW - timedelta(hours=hours), last_status=last_status,
        error="s3://bucket/another-tenant is full", last_tried=NOW, passed=passed,
        drilled_at=None if drilled_days is None else NOW - timedelta(days=drilled_days), recovery_seconds=3.0,
        difference="chat.chat_messages has 3 rows less", now=NOW,
    )  # fmt: skip
    found = judge_backups(last)
    assert (found.status, found.detail) == (status, said)
    assert (found.cure is None) == (status == "ok")

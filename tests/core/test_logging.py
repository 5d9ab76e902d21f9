"""Log lines are JSON when a program reads them, and carry their ids."""

import io
import json
import sys

import pytest

from core.logging import configure_logging, get_logger, log_context
from core.settings import LogSettings, get_settings


def test_lines_carry_the_ids_of_their_request(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings(level="INFO", format="json"))
    try:
        with log_context(request_id="r-1", run_id="f-2"):
            get_logger("test").info("searched", chunks=3)
        get_logger("test").info("outside")
        get_logger("test").debug("too quiet")
    finally:
        configure_logging(get_settings().log)
    captured = capsys.readouterr()
    assert captured.out == ""
    inside, outside = (json.loads(line) for line in captured.err.splitlines())
    assert inside["request_id"] == "r-1"
    assert inside["run_id"] == "f-2"
    assert inside["component"] == "test"
    assert inside["chunks"] == 3
    assert "request_id" not in outside


def test_standard_error_may_be_replaced_later(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", first)
    configure_logging(LogSettings(level="INFO", format="json"))
    try:
        first.close()
        monkeypatch.setattr(sys, "stderr", second)
        get_logger("test").info("still heard")
    finally:
        monkeypatch.undo()
        configure_logging(get_settings().log)
    assert "still heard" in second.getvalue()

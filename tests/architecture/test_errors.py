"""Every error of the product says what is wrong and what to do about it, in one sentence."""

import importlib
import inspect
import pkgutil

import pytest

import api
import cli
import core
import db
import domain
import evaluation
import flows
import pipelines
import rag
from core.errors import AppError


def every_error() -> list[type[AppError]]:
    """Import every module and return every error there is."""
    for package in (api, cli, core, db, domain, evaluation, flows, pipelines, rag):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".migrations." not in module.name and not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    found: list[type[AppError]] = []
    queue = [AppError]
    while queue:
        error = queue.pop()
        found.append(error)
        queue += error.__subclasses__()
    return sorted(set(found), key=lambda error: error.__qualname__)


@pytest.mark.filterwarnings("default")  # importing everything imports libraries with warnings of their own
def test_each_docstring_is_one_sentence_with_a_cure() -> None:
    errors = [error for error in every_error() if error is not AppError]
    assert len(errors) > 25
    for error in errors:
        assert "__doc__" in vars(error), f"{error.__qualname__} has no message of its own"
        message = " ".join((inspect.getdoc(error) or "").split())
        assert message.endswith("."), error
        assert ". " not in message.removesuffix(".").replace("e.g. ", ""), (
            f"{error.__qualname__} is more than one sentence"
        )
        assert ";" in message or "," in message or " or " in message, f"{error.__qualname__} names no cure"
        assert len(message) < 240, error
        if error.__init__ is AppError.__init__:
            assert error().message == message


def test_names_are_unique() -> None:
    names = [error.__name__ for error in every_error()]
    assert sorted(set(names)) == sorted(names), "programs tell errors apart by name"

"""The one tree of errors the product raises on purpose.

    AppError
    ├── NotFound        the thing is not there, or not there for this reader
    ├── Forbidden       the reader is known and may not do this
    ├── Conflict        it clashes with what is already there
    ├── Invalid         the input can't be used as it is
    ├── QuotaExceeded   a limit of the tenant is reached
    └── Unavailable     something outside did not answer; trying again may help

A subclass lives beside the rule it guards. Its docstring is the message a person reads: one sentence
that names the thing and the cure. Only `api/errors.py` knows which HTTP status belongs to which branch,
and flows retry `Unavailable` only.
"""

import inspect


class AppError(Exception):
    """Something went wrong that the product foresaw."""

    def __init__(self, message: str | None = None, **context: object) -> None:
        """Take the message from the class docstring unless one is given; `context` goes to the logs."""
        self.message = message or " ".join(inspect.getdoc(type(self)).split())  # type: ignore[union-attr]  # every subclass has one, see tests/architecture
        self.context = context
        super().__init__(self.message)

    @property
    def code(self) -> str:
        """The stable name of this error, for programs."""
        return type(self).__name__


class NotFound(AppError):
    """This does not exist, or you may not see it; check the id."""


class Forbidden(AppError):
    """You may not do this; ask an administrator of your organisation for the right."""


class Conflict(AppError):
    """This clashes with what is already stored; read it again and retry."""


class Invalid(AppError):
    """This input can't be used as it is; correct it and send it again."""


class QuotaExceeded(AppError):
    """A limit of your organisation is reached; wait for its reset or ask for a higher one."""


class Unavailable(AppError):
    """A service this needs did not answer; try again shortly."""

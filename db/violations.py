"""Which rule of the database a write broke, so that a domain function can say it in the product's words."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy.exc import IntegrityError

from core.errors import AppError


def find_violated(error: IntegrityError) -> str | None:
    """Return the name of the constraint that refused the write, or None where the refusal names none."""
    return getattr(getattr(error.orig, "diag", None), "constraint_name", None)


@contextmanager
def refusing(rules: Mapping[str, type[AppError]]) -> Iterator[None]:
    """Raise the product's error of the constraint a write inside breaks; the transaction is lost either way."""
    try:
        yield
    except IntegrityError as error:
        known = rules.get(find_violated(error) or "")
        if known is None:
            raise
        raise known from error

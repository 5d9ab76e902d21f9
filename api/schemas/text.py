"""Text from outside, made such that a database can store it and a model can read it."""

from typing import Annotated

from pydantic import BeforeValidator


def clean_text(given: object) -> object:
    """Return text without NUL characters and with lone surrogates replaced; JSON may hold both, PostgreSQL neither."""
    if isinstance(given, str):
        return given.replace("\x00", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return given


CleanText = Annotated[str, BeforeValidator(clean_text)]

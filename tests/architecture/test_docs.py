"""Generated pages are up to date, and every class of the store says what a row means."""

import inspect

from db.base import Base
from db.document import PAGE, render_tables


def test_tables_page_is_up_to_date() -> None:
    assert PAGE.read_text() == render_tables(), "run `make docs` and commit docs/tables.md"


def test_every_table_says_what_a_row_means() -> None:
    for mapper in Base.registry.mappers:
        assert "__doc__" in vars(mapper.class_), mapper.class_
        assert len(inspect.getdoc(mapper.class_) or "") > 30, mapper.class_


def test_module_is_named_after_its_schema() -> None:
    for mapper in Base.registry.mappers:
        assert mapper.class_.__module__ == f"db.models.{mapper.local_table.schema}", mapper.class_

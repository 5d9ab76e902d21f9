"""Generated pages are up to date, and every class of the store says what a row means."""

import inspect

from sqlalchemy import create_engine

from core.settings import Settings
from db.base import SCHEMAS, Base
from db.document import DIAGRAMS, PAGE, render_diagram, render_tables
from db.locate import owner_url


def test_tables_page_is_up_to_date(store: Settings) -> None:
    engine = create_engine(owner_url(store).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        assert PAGE.read_text() == render_tables(connection), "run `make docs` and commit docs/tables.md"
    engine.dispose()


def test_diagrams_are_up_to_date() -> None:
    assert {path.stem for path in DIAGRAMS.glob("*.md")} == set(SCHEMAS)
    for schema in SCHEMAS:
        assert (DIAGRAMS / f"{schema}.md").read_text() == render_diagram(schema), "run `make docs`"


def test_every_table_says_what_a_row_means() -> None:
    for mapper in Base.registry.mappers:
        assert "__doc__" in vars(mapper.class_), mapper.class_
        assert len(inspect.getdoc(mapper.class_) or "") > 30, mapper.class_


def test_module_is_named_after_its_schema() -> None:
    for mapper in Base.registry.mappers:
        assert mapper.class_.__module__ == f"db.models.{mapper.local_table.schema}", mapper.class_

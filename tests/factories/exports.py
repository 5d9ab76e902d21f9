"""Copies of data as whoever gets one opens it."""

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from core.settings import Settings
from db.session import Principal, tenant_session
from domain.exports import request_export
from domain.objects import tenant_store
from pipelines.privacy.export import ExportReport, make_export
from tests.factories.sessions import require_id


@dataclass(frozen=True)
class Opened:
    """An unpacked copy."""

    content: bytes
    zipped: zipfile.ZipFile
    made: ExportReport | None = None

    @classmethod
    def unpack(cls, content: bytes, made: ExportReport | None = None) -> "Opened":
        """Open the bytes of a copy."""
        return cls(content, zipfile.ZipFile(io.BytesIO(content)), made)

    @property
    def report(self) -> ExportReport:
        """What was said when it was made."""
        assert self.made is not None
        return self.made

    @property
    def index(self) -> dict[str, Any]:
        """What `index.json` says."""
        found: dict[str, Any] = orjson.loads(self.zipped.read("index.json"))
        return found

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Return the rows of a table."""
        files: list[str] = next((one["files"] for one in self.index["tables"] if one["table"] == table), [])
        return [orjson.loads(line) for file in files for line in self.zipped.read(file).splitlines()]

    def texts(self) -> Iterator[tuple[str, str]]:
        """Yield the name and the text of every file."""
        for name in self.zipped.namelist():
            yield name, self.zipped.read(name).decode(errors="replace")

    def find(self, words: str) -> set[str]:
        """Return the files that hold the words."""
        return {name for name, text in self.texts() if words in text}


async def copy_data(person: Principal, *, by: Principal | None = None, settings: Settings | None = None) -> Opened:
    """Ask for a copy, make it, and open it."""
    by = by or person
    async with tenant_session(by) as session:
        row = await request_export(session, by, user_id=require_id(person))
    return await open_copy(person.tenant_id, row.id, settings=settings)


async def open_copy(tenant_id: UUID, export_id: UUID, *, settings: Settings | None = None) -> Opened:
    """Make the copy and open it."""
    report = await make_export(tenant_id, export_id, settings=settings)
    store = await tenant_store(tenant_id, settings)
    content = await store.read(report.object_key, max_bytes=100_000_000)
    assert report.size_bytes == len(content)
    return Opened.unpack(content, report)

"""The measurement of a rotation changes every key and leaves no organisation behind."""

from sqlalchemy import text

from core.settings import Settings
from db.session import unbound_session
from evaluation import bench_rotation


async def test_every_value_opens_after_the_measurement(store: Settings) -> None:
    report = await bench_rotation.bench_rotation(fields=2_000)
    assert report.fields == 2_000
    assert (report.unopened, report.lost, report.old_left) == (0, 0, 0)
    assert report.log_rows <= report.written_meanwhile + 10
    async with unbound_session() as session:
        slugs = await session.scalars(text("SELECT slug FROM platform.list_tenants()"))
        assert not [slug for slug in slugs if slug.startswith("evaluation-")]

"""Fixtures of these tests."""

from tests.factories.object_server import s3_settings
from tests.factories.redis_server import redis_server

__all__ = ["redis_server", "s3_settings"]

"""Fixtures of these tests."""

from tests.factories.key_server import kms_settings, refusing_kms
from tests.factories.object_server import s3_settings
from tests.factories.redis_server import redis_server

__all__ = ["kms_settings", "redis_server", "refusing_kms", "s3_settings"]

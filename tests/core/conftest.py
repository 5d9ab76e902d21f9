"""Fixtures of these tests."""

from tests.factories.object_server import s3_settings

__all__ = ["s3_settings"]

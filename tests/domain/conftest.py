"""Fixtures of these tests."""

from tests.factories.redis_server import redis_server

__all__ = ["redis_server"]

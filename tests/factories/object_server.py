"""An S3 server over real HTTP, for tests that read or write a bucket."""

from collections.abc import Iterator

import boto3
import pytest
from moto.server import ThreadedMotoServer

from core.settings import StorageSettings


@pytest.fixture(scope="session")
def s3_settings() -> Iterator[StorageSettings]:
    """Where a server with the empty bucket `material` listens; credentials are in the environment."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        settings = StorageSettings(url=None, endpoint_url=f"http://{host}:{port}", region="us-east-1")
        boto3.client("s3", endpoint_url=settings.endpoint_url, region_name="us-east-1").create_bucket(Bucket="material")
        yield settings
    server.stop()

"""Objects in an S3 bucket, or in anything that speaks its protocol, by boto3 in threads."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3
from botocore import exceptions as boto
from botocore.config import Config

from core.errors import AppError
from core.settings import StorageSettings
from core.storage import (
    ObjectMissing,
    ObjectTooLarge,
    StoredObject,
    StoreForbidden,
    StoreMissing,
    StoreRefused,
    StoreUnreachable,
    check_key,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

WRONG_CREDENTIALS = frozenset(
    {
        "AccessDenied", "AllAccessDisabled", "AuthorizationHeaderMalformed", "ExpiredToken", "Forbidden", "403",
        "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch", "TokenRefreshRequired",
    }
)  # fmt: skip
CONNECTIONS = 16
PAGE = 1000  # the most a request gives


class S3Store:
    """The objects of a bucket below a prefix, with keys relative to it."""

    def __init__(self, bucket: str, prefix: str, settings: StorageSettings) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._endpoint = settings.endpoint_url or "AWS"
        config = Config(
            connect_timeout=5,
            read_timeout=30,
            retries={"mode": "standard", "max_attempts": 3},
            max_pool_connections=CONNECTIONS,
            # A server of one's own seldom answers to bucket.host names.
            s3={"addressing_style": "path"} if settings.endpoint_url else {},
        )
        with self._translated(bucket):
            self._client: S3Client = boto3.session.Session().client(
                "s3", endpoint_url=settings.endpoint_url, region_name=settings.region, config=config
            )

    @property
    def url(self) -> str:
        """`s3://bucket/prefix`."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    async def list(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        """Iterate over the objects by key, a page a request."""
        token: str | None = None
        while True:
            page, token = await asyncio.to_thread(self._list_page, prefix, token)
            for stored in page:
                yield stored
            if token is None:
                return

    async def find(self, key: str) -> StoredObject | None:
        """Return the object as listed, None where it is missing."""

        def look() -> StoredObject | None:
            try:
                with self._translated(key):
                    head = self._client.head_object(Bucket=self._bucket, Key=self._prefix + check_key(key))
            except ObjectMissing:
                return None
            return StoredObject(key, head["ContentLength"], head["ETag"].strip('"'), head["LastModified"])

        return await asyncio.to_thread(look)

    async def read(self, key: str, *, max_bytes: int) -> bytes:
        """Return the object's bytes; the size is known before the first byte is loaded."""

        def load() -> bytes:
            with self._translated(key):
                reply = self._client.get_object(Bucket=self._bucket, Key=self._prefix + check_key(key))
                with reply["Body"] as body:
                    if reply["ContentLength"] > max_bytes:
                        size = reply["ContentLength"]
                        raise ObjectTooLarge(f"{key} has {size:,} bytes, {max_bytes:,} are allowed; split it.")
                    content: bytes = body.read()
            return content

        return await asyncio.to_thread(load)

    async def write(self, key: str, content: bytes) -> None:
        """Store the object, replacing what was there."""

        def store() -> None:
            with self._translated(key):
                self._client.put_object(Bucket=self._bucket, Key=self._prefix + check_key(key), Body=content)

        await asyncio.to_thread(store)

    async def delete(self, key: str) -> None:
        """Remove the object; a missing one is no error in S3."""

        def remove() -> None:
            with self._translated(key):
                self._client.delete_object(Bucket=self._bucket, Key=self._prefix + check_key(key))

        await asyncio.to_thread(remove)

    async def presign(self, key: str, *, seconds: int) -> str | None:
        """Return a signed URL; nothing is sent to the server for it."""
        with self._translated(key):
            url: str = self._client.generate_presigned_url(
                "get_object", Params={"Bucket": self._bucket, "Key": self._prefix + check_key(key)}, ExpiresIn=seconds
            )
        return url

    def _list_page(self, prefix: str, token: str | None) -> tuple[tuple[StoredObject, ...], str | None]:
        continued = {"ContinuationToken": token} if token else {}
        with self._translated(prefix):
            page = self._client.list_objects_v2(
                Bucket=self._bucket, Prefix=self._prefix + prefix, MaxKeys=PAGE, **continued  # type: ignore[arg-type]  # the stubs know no optional token
            )  # fmt: skip
        start = len(self._prefix)
        found = tuple(
            StoredObject(item["Key"][start:], item["Size"], item["ETag"].strip('"'), item["LastModified"])
            for item in page.get("Contents", [])
            if len(item["Key"]) > start and not item["Key"].endswith("/")  # consoles store folders as empty objects
        )
        return found, page.get("NextContinuationToken") if page["IsTruncated"] else None

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        """Turn boto3's errors into the store's, in this one place."""
        try:
            yield
        except AppError:
            raise
        except boto.ClientError as error:
            raise self._translate(error, key) from error
        except (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError) as error:
            raise StoreForbidden(
                f"There are no credentials for s3://{self._bucket}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
            ) from error
        except (boto.ParamValidationError, ValueError) as error:
            raise StoreRefused(
                f"s3://{self._bucket} can't be used ({_first_line(error)}); check the address."
            ) from error
        except (boto.BotoCoreError, boto.HTTPClientError, OSError) as error:
            raise StoreUnreachable(
                f"The object store at {self._endpoint} does not answer ({_first_line(error)}); "
                "check REGENESIS_STORAGE__ENDPOINT_URL and try again."
            ) from error

    def _translate(self, error: boto.ClientError, key: str) -> AppError:
        code = error.response["Error"].get("Code", "")
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if code == "NoSuchBucket":
            return StoreMissing(f"The bucket {self._bucket} does not exist at {self._endpoint}; check its name.")
        if code in ("NoSuchKey", "404", "NotFound"):
            return ObjectMissing(f"{key} is not in {self.url}; list the bucket to see what is there.")
        if code in WRONG_CREDENTIALS or status in (401, 403):
            return StoreForbidden(
                f"The object store at {self._endpoint} refuses these credentials for the bucket {self._bucket} "
                f"({code}); check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and their rights."
            )
        if status >= 500 or status == 429 or code in ("SlowDown", "RequestTimeout"):
            return StoreUnreachable(
                f"The object store at {self._endpoint} does not answer ({code}); try again shortly."
            )
        return StoreRefused(f"The object store refuses {key!r} in {self._bucket} ({code}); check the address.")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]

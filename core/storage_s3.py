"""Objects in an S3 bucket, or in anything that speaks its protocol, by boto3 in threads."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import boto3
from botocore import exceptions as boto
from botocore.config import Config

from core.errors import AppError
from core.settings import StorageSettings
from core.storage import (
    ObjectChanged,
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
PAGE = 1000  # the most a request gives or deletes
PIECE = 1 << 20
"""Bytes of a stream read at once."""
PART = 16 << 20
"""Bytes of one part of an upload; S3 takes 10,000 parts of 5 MiB or more, so an object of up to 160 GB."""


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

    async def read_stream(self, key: str, *, max_bytes: int | None = None) -> AsyncGenerator[bytes, None]:
        """Iterate over the object's bytes as they arrive."""

        def ask() -> tuple[Any, int]:
            with self._translated(key):
                reply = self._client.get_object(Bucket=self._bucket, Key=self._prefix + check_key(key))
                return reply["Body"], reply["ContentLength"]

        def read_piece() -> bytes:
            with self._translated(key):
                piece: bytes = body.read(PIECE)
                return piece

        body, size = await asyncio.to_thread(ask)
        try:
            if max_bytes is not None and size > max_bytes:
                raise ObjectTooLarge(f"{key} has {size:,} bytes, {max_bytes:,} are allowed; split it.")
            while piece := await asyncio.to_thread(read_piece):
                yield piece
        finally:
            body.close()

    async def read_start(self, key: str, *, count: int) -> bytes:
        """Return the object's first bytes, and ask for no more."""

        def load() -> bytes:
            place: Any = {"Bucket": self._bucket, "Key": self._prefix + check_key(key)}
            try:
                with (
                    self._translated(key),
                    self._client.get_object(**place, Range=f"bytes=0-{count - 1}")["Body"] as body,
                ):
                    content: bytes = body.read(count)
            except StoreRefused as error:
                if isinstance(error.__cause__, boto.ClientError) and _status(error.__cause__) == 416:
                    return b""  # it is empty, and has no first byte
                raise
            return content

        return await asyncio.to_thread(load)

    async def write(self, key: str, content: bytes, *, replacing: str | None = None) -> None:
        """Store the object, replacing what was there, or only that version of it."""

        def store() -> None:
            place: Any = {"Bucket": self._bucket, "Key": self._prefix + check_key(key)}
            with self._replacing(key, replacing) as condition:
                self._client.put_object(**place, Body=content, **condition)

        await asyncio.to_thread(store)

    async def write_stream(self, key: str, chunks: AsyncIterable[bytes], *, replacing: str | None = None) -> int:
        """Store the object in parts as the chunks come; what is small is stored at once."""
        parts = _gather(chunks)
        first = await anext(parts, b"")
        if len(first) < PART:
            await self.write(key, first, replacing=replacing)
            return len(first)
        return await self._write_parts(key, first, parts, replacing)

    async def _write_parts(self, key: str, first: bytes, parts: AsyncIterator[bytes], replacing: str | None) -> int:
        place: Any = {"Bucket": self._bucket, "Key": self._prefix + check_key(key)}

        def call(method: Any, **arguments: Any) -> Any:  # noqa: ANN401  # boto3's own
            with self._translated(key):
                return method(**place, **arguments)

        upload = (await asyncio.to_thread(call, self._client.create_multipart_upload))["UploadId"]
        done: list[dict[str, Any]] = []
        size, part = 0, first
        try:
            while part:
                number = len(done) + 1
                reply = await asyncio.to_thread(
                    call, self._client.upload_part, UploadId=upload, PartNumber=number, Body=part
                )
                done.append({"ETag": reply["ETag"], "PartNumber": number})
                size += len(part)
                part = await anext(parts, b"")
            with self._replacing(key, replacing) as condition:
                # Not every server heeds the condition at the end of an upload; here it only narrows the moment.
                await self._require_version(key, replacing)
                await asyncio.to_thread(
                    call, self._client.complete_multipart_upload, UploadId=upload, MultipartUpload={"Parts": done},
                    **condition,
                )  # fmt: skip
        except BaseException:
            # Parts cost money for as long as they lie there; also a cancelled write takes them away.
            with suppress(AppError):
                await asyncio.shield(asyncio.to_thread(call, self._client.abort_multipart_upload, UploadId=upload))
            raise
        return size

    async def _require_version(self, key: str, version: str | None) -> None:
        there = await self.find(key) if version is not None else None
        if version is not None and (there is None or there.version != version):
            raise ObjectChanged(f"{key} was changed or deleted meanwhile; read it again and retry.")

    async def delete(self, key: str) -> None:
        """Remove the object; a missing one is no error in S3."""

        def remove() -> None:
            with self._translated(key):
                self._client.delete_object(Bucket=self._bucket, Key=self._prefix + check_key(key))

        await asyncio.to_thread(remove)

    async def purge(self, key: str, *, keep_newest: bool = False) -> int:
        """Remove every version and delete marker, in a bucket without versions the one object there is."""
        check_key(key)
        return await asyncio.to_thread(self._purge, key, exactly=True, keep_newest=keep_newest)

    async def purge_below(self, prefix: str) -> int:
        """Remove every version of every object whose key begins so."""
        return await asyncio.to_thread(self._purge, prefix, exactly=False, keep_newest=False)

    async def list_versions(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        """Iterate over versions, delete markers and unfinished uploads, the first two by key, the newest first."""
        pages = self._page_versions(prefix)
        while page := await asyncio.to_thread(next, pages, None):
            for entry in page:
                yield self._describe_version(entry)
        for upload in await asyncio.to_thread(lambda: list(self._list_uploads(prefix))):
            yield StoredObject(upload["Key"][len(self._prefix) :], 0, upload["UploadId"], upload["Initiated"])

    def _describe_version(self, entry: Any) -> StoredObject:  # noqa: ANN401  # a version or a delete marker
        key = entry["Key"][len(self._prefix) :]
        return StoredObject(key, entry.get("Size", 0), entry.get("ETag", "").strip('"'), entry["LastModified"])

    def _purge(self, prefix: str, *, exactly: bool, keep_newest: bool) -> int:
        whole = self._prefix + prefix
        removed = 0
        while True:
            deleted, is_through = 0, True
            for page in self._page_versions(prefix):
                found = [entry for entry in page if not exactly or entry["Key"] == whole]
                gone = [entry for entry in found if not (keep_newest and entry["IsLatest"])]
                if gone:
                    self._delete_versions(prefix, gone)
                    deleted, is_through = len(gone), False
                    break  # not every server goes on from a mark that is gone, so the listing begins again
                if exactly and page and page[-1]["Key"] > whole:
                    break  # keys come in order, and all that follows only begins alike
            removed += deleted
            if is_through:
                break
        for upload in list(self._list_uploads(prefix)):
            if not exactly or upload["Key"] == whole:
                with suppress(ObjectMissing), self._translated(prefix):
                    self._client.abort_multipart_upload(
                        Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )
                    removed += 1
        return removed

    def _delete_versions(self, prefix: str, entries: Sequence[Any]) -> None:
        objects: Any = [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in entries]
        with self._translated(prefix):
            reply = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True})
        for refused in reply.get("Errors", []):
            code = refused.get("Code", "")
            kind = StoreForbidden if code in WRONG_CREDENTIALS else StoreUnreachable
            raise kind(
                f"The object store keeps a version of {refused.get('Key', '')} ({code}); "
                "give these credentials the right s3:DeleteObjectVersion and try again."
            )

    def _page_versions(self, prefix: str) -> Iterator[Sequence[Any]]:
        """Iterate over pages of versions and delete markers by key."""
        place: Any = {"Bucket": self._bucket, "Prefix": self._prefix + prefix, "MaxKeys": PAGE}
        mark: Any = {}
        while True:
            with self._translated(prefix):
                page = self._client.list_object_versions(**place, **mark)
            entries: list[Any] = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            yield sorted(entries, key=lambda entry: entry["Key"])
            if not page["IsTruncated"]:
                return
            mark = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page.get("NextVersionIdMarker", "")}

    def _list_uploads(self, prefix: str) -> Iterator[Any]:
        place: Any = {"Bucket": self._bucket, "Prefix": self._prefix + prefix}
        mark: Any = {}
        while True:
            with self._translated(prefix):
                page = self._client.list_multipart_uploads(**place, **mark)
            yield from page.get("Uploads", [])
            if not page.get("IsTruncated"):
                return
            mark = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

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
    def _replacing(self, key: str, version: str | None) -> Iterator[Any]:
        """Give the arguments under which only this version is replaced; raises `ObjectChanged`."""
        try:
            with self._translated(key):
                yield {} if version is None else {"IfMatch": version}
        except ObjectMissing as error:
            if version is None:
                raise
            raise ObjectChanged(f"{key} was deleted meanwhile; read it again and retry.") from error

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
        status = _status(error)
        if code == "NoSuchBucket":
            return StoreMissing(f"The bucket {self._bucket} does not exist at {self._endpoint}; check its name.")
        if code in ("NoSuchKey", "NoSuchUpload", "404", "NotFound"):
            return ObjectMissing(f"{key} is not in {self.url}; list the bucket to see what is there.")
        if code in ("PreconditionFailed", "ConditionalRequestConflict"):
            return ObjectChanged(f"{key} was changed or deleted meanwhile; read it again and retry.")
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


async def _gather(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Iterate over the same bytes in pieces of exactly a part's size, the last as long as it is."""
    waiting = bytearray()
    async for chunk in chunks:
        waiting += chunk
        while len(waiting) >= PART:
            yield bytes(waiting[:PART])
            del waiting[:PART]
    if waiting:
        yield bytes(waiting)


def _status(error: boto.ClientError) -> int:
    return error.response["ResponseMetadata"]["HTTPStatusCode"]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]

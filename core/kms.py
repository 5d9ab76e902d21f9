"""A master key that never leaves AWS KMS, or anything that speaks its protocol, by boto3 in threads."""

import asyncio
import random
import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

import boto3
from botocore import exceptions as boto
from botocore.config import Config

from core.crypto import KeyContext, MasterKeyWrong
from core.errors import AppError, Forbidden, NotFound, Unavailable
from core.settings import CryptoSettings

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

T = TypeVar("T")

ATTEMPTS: Final = 4
FIRST_DELAY_S: Final = 0.1
"""Before the second attempt; each later one waits up to twice as long, which adds up to 0.7 s."""

DENIED: Final = frozenset(
    {
        "AccessDeniedException", "AccessDenied", "UnrecognizedClientException", "InvalidSignatureException",
        "InvalidClientTokenId", "ExpiredTokenException", "MissingAuthenticationTokenException", "NotAuthorized",
    }
)  # fmt: skip
DISABLED: Final = frozenset({"DisabledException", "KMSInvalidStateException"})
THROTTLED: Final = frozenset({"ThrottlingException", "LimitExceededException", "RequestLimitExceeded", "Throttling"})
PASSING: Final = frozenset({"KMSInternalException", "DependencyTimeoutException", "KeyUnavailableException"})
WRONG: Final = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})


class KmsDenied(Forbidden):
    """The key service refuses these credentials; give them kms:GenerateDataKey, kms:Encrypt and kms:Decrypt."""


class KmsKeyMissing(NotFound):
    """The key service has no such key; check REGENESIS_CRYPTO__KMS_KEY_ID and REGENESIS_CRYPTO__KMS_REGION."""


class KmsKeyDisabled(Unavailable):
    """The master key is disabled or waits for its deletion in the key service; enable it there to go on."""


class KmsThrottled(Unavailable):
    """The key service takes no more requests for the moment; try again shortly, or ask for a higher quota there."""


class KmsUnreachable(Unavailable):
    """The key service does not answer; check REGENESIS_CRYPTO__KMS_ENDPOINT_URL and try again shortly."""


class KmsRefused(Unavailable):
    """The key service refuses this request; check the key's usage and specification there, it must be symmetric."""


KNOWN: Final[tuple[tuple[frozenset[str], type[AppError]], ...]] = (
    (DENIED, KmsDenied), (DISABLED, KmsKeyDisabled), (THROTTLED, KmsThrottled), (WRONG, MasterKeyWrong),
    (frozenset({"NotFoundException"}), KmsKeyMissing),
)  # fmt: skip


class KmsMasterKey:
    """A symmetric key of the key service, by id or ARN.

    What it wraps is bound to the context, which the key service logs with each use.
    """

    def __init__(self, key_id: str, settings: CryptoSettings) -> None:
        self.id = f"kms:{key_id}"
        self._key_id = key_id
        self._endpoint = settings.kms_endpoint_url or f"AWS, region {settings.kms_region}"
        # Repeating is done here, where it is bounded in time and for the errors that pass.
        config = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 1}, max_pool_connections=16)
        try:
            self._client: KMSClient = boto3.session.Session().client(
                "kms", endpoint_url=settings.kms_endpoint_url, region_name=settings.kms_region, config=config
            )
        except (boto.BotoCoreError, ValueError) as error:
            raise self._translate(error) from error

    async def make(self, context: KeyContext | str) -> tuple[bytes, bytes]:
        """Return a new key that the service made, and the same wrapped."""
        made = await self._call(
            lambda: self._client.generate_data_key(
                KeyId=self._key_id, KeySpec="AES_256", EncryptionContext=_pair(context)
            )
        )
        return made["Plaintext"], made["CiphertextBlob"]

    async def wrap(self, key: bytes, context: KeyContext | str) -> bytes:
        """Return what the service made of the key."""
        done = await self._call(
            lambda: self._client.encrypt(KeyId=self._key_id, Plaintext=key, EncryptionContext=_pair(context))
        )
        return done["CiphertextBlob"]

    async def unwrap(self, wrapped: bytes, context: KeyContext | str) -> bytes:
        """Return the key; raises `MasterKeyWrong` and this module's errors."""
        done = await self._call(
            lambda: self._client.decrypt(KeyId=self._key_id, CiphertextBlob=wrapped, EncryptionContext=_pair(context))
        )
        return done["Plaintext"]

    async def _call(self, ask: Callable[[], T]) -> T:
        def try_on() -> T:
            for attempt in range(ATTEMPTS):
                try:
                    return ask()
                except (boto.ClientError, boto.BotoCoreError, boto.HTTPClientError, OSError) as error:
                    known = self._translate(error)
                    passes = isinstance(known, KmsThrottled | KmsUnreachable)
                    if not passes or attempt + 1 == ATTEMPTS:
                        raise known from error
                time.sleep(random.uniform(0.5, 1) * FIRST_DELAY_S * 2**attempt)  # noqa: S311  # no secret
            raise AssertionError("unreachable")

        return await asyncio.to_thread(try_on)

    def _translate(self, error: Exception) -> AppError:
        """Return the product's error for boto3's, in this one place."""
        if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError | boto.CredentialRetrievalError):
            return KmsDenied("There are no credentials for the key service; set AWS_ACCESS_KEY_ID and its secret.")
        if not isinstance(error, boto.ClientError):
            return KmsUnreachable(
                f"The key service at {self._endpoint} does not answer ({type(error).__name__}); "
                "check REGENESIS_CRYPTO__KMS_ENDPOINT_URL and try again shortly."
            )
        code = error.response["Error"].get("Code", "").rpartition("#")[2]
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        for codes, known in KNOWN:
            if code in codes:
                return known()
        if code in PASSING or status >= 500:
            return KmsUnreachable(f"The key service at {self._endpoint} fails ({code or status}); try again shortly.")
        return KmsRefused(f"The key service refuses this request ({code}); check that the key is a symmetric one.")


@cache
def _open(key_id: str, endpoint_url: str | None, region: str) -> KmsMasterKey:
    return KmsMasterKey(key_id, CryptoSettings(kms_endpoint_url=endpoint_url, kms_region=region))


def open_kms_key(key_id: str, settings: CryptoSettings) -> KmsMasterKey:
    """Return the key, with one client a process: making one takes a tenth of a second."""
    return _open(key_id, settings.kms_endpoint_url, settings.kms_region)


def _pair(context: KeyContext | str) -> dict[str, Any]:
    return context.as_pairs() if isinstance(context, KeyContext) else {"context": context}

"""Tokens of an identity provider (OpenID Connect): who they stand for is decided here, what they may do is not."""

import asyncio
import json
import time
from typing import Any, Final

import httpx
import jwt
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from core.errors import Unavailable
from core.logging import get_logger
from core.settings import AuthSettings
from db.session import Principal
from domain.identity import Unauthenticated, UserNotFound, get_principal
from domain.sessions import list_scopes

ALGORITHMS: Final = {"RS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}
"""What may sign, with the type of key each needs: no shared secrets, and never what the token alone proposes."""
LEEWAY_SECONDS: Final = 30
LONGEST_TOKEN: Final = 16_000
KEYS_SECONDS: Final = 600
"""How long the provider's keys are believed before they are read again."""
STALE_SECONDS: Final = 3600
"""How long after that they still count while the provider does not answer."""
REFRESH_SECONDS: Final = 60
"""How often an unknown key id may make us ask the provider at most: anyone can send tokens with made-up ids."""
RETRY_SECONDS: Final = 5
"""How often it is asked at most while it does not answer."""
FETCH_SECONDS, LARGEST_REPLY = 5, 256_000
MOST_KEYS: Final = 100

_log = get_logger("auth")


class IdentityProviderSilent(Unavailable):
    """The identity provider does not give its keys; try again shortly, or sign in with a password."""


class TokenVerifier:
    """Tells who a provider's token stands for; keeps the provider's keys, so there is one a process."""

    def __init__(self, settings: AuthSettings) -> None:
        self._settings = settings
        self._keys: dict[str, PyJWK] = {}
        self._fetched_at = self._asked_at = float("-inf")
        self._asks = 0
        self._fetching = asyncio.Lock()

    async def authenticate(self, token: str) -> Principal:
        """Return the active user whom the token names, in their own role here.

        Raises `Unauthenticated`, the same for every reason, and `IdentityProviderSilent`.
        """
        claims = await self._verify(token)
        slug, email = claims.get(self._settings.tenant_claim), claims.get("email")
        if not isinstance(slug, str) or not isinstance(email, str) or claims.get("email_verified") is not True:
            raise Unauthenticated
        try:
            found = await get_principal(slug.replace("\x00", ""), email.replace("\x00", ""))
        except UserNotFound as error:
            raise Unauthenticated from error
        return Principal(found.tenant_id, found.role, found.user_id, list_scopes(found.role))

    async def _verify(self, token: str) -> dict[str, Any]:
        """Return the claims of a token that is genuine, for us and of now."""
        settings = self._settings
        if settings.issuer is None or len(token) > LONGEST_TOKEN:
            raise Unauthenticated
        try:
            header = jwt.get_unverified_header(token)
            algorithm, key_id = header.get("alg"), header.get("kid")
            if algorithm not in ALGORITHMS or not isinstance(key_id, str):
                raise Unauthenticated
            key = await self._find_key(key_id)
            if key is None or key.key_type != ALGORITHMS[algorithm]:
                raise Unauthenticated
            claims: dict[str, Any] = jwt.decode(
                token, key.key, algorithms=[algorithm], audience=settings.audience, issuer=settings.issuer,
                leeway=LEEWAY_SECONDS, options={"require": ["exp", "iss", "aud"], "strict_aud": False},
            )  # fmt: skip
        except (PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise Unauthenticated from error
        return claims

    async def _find_key(self, key_id: str) -> PyJWK | None:
        now, asks = time.monotonic(), self._asks
        is_fresh = now - self._fetched_at < KEYS_SECONDS
        may_ask = now - self._asked_at >= REFRESH_SECONDS
        if (is_fresh and key_id in self._keys) or (not may_ask and self._keys):
            return self._keys.get(key_id)
        async with self._fetching:
            has_asked = self._asks != asks  # another request did, while this one waited
            if has_asked or not may_ask:
                if not self._keys:
                    raise IdentityProviderSilent
                return self._keys.get(key_id)
            self._asks += 1
            self._asked_at = time.monotonic()
            try:
                self._keys = await self._fetch_keys()
                self._fetched_at = time.monotonic()
            except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError, RecursionError) as error:
                _log.warning("identity_provider_silent", error=f"{type(error).__name__}: {error}")
                self._asked_at -= REFRESH_SECONDS - RETRY_SECONDS
                if time.monotonic() - self._fetched_at > KEYS_SECONDS + STALE_SECONDS:
                    self._keys = {}
                    raise IdentityProviderSilent from error
        return self._keys.get(key_id)

    async def _fetch_keys(self) -> dict[str, PyJWK]:
        """Ask the provider; keys we can't use, or that are not for signing, are left out."""
        async with httpx.AsyncClient(timeout=FETCH_SECONDS, follow_redirects=False) as client:
            url = self._settings.jwks_url
            if url is None:
                issuer = str(self._settings.issuer)
                described = await _get_json(client, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
                if described["issuer"] != issuer:
                    raise ValueError(f"the discovery document is of another issuer, {described['issuer']!r}")
                # the same rule as for the setting: no plain HTTP to another machine
                url = AuthSettings(jwks_url=described["jwks_uri"]).jwks_url
            found = await _get_json(client, str(url))
        keys = {}
        for entry in [entry for entry in list(found["keys"])[:MOST_KEYS] if isinstance(entry, dict)]:
            is_ours = entry.get("kty") in ALGORITHMS.values() and entry.get("alg", "RS256") in ALGORITHMS
            if is_ours and entry.get("use", "sig") == "sig" and "kid" in entry:
                try:
                    keys[str(entry["kid"])] = PyJWK(entry)
                except PyJWTError as error:
                    _log.warning("identity_provider_key_unusable", error=str(error))
        if not keys:
            raise ValueError(f"{url} holds no key that signs")
        return keys


async def _get_json(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    """Return the JSON object at the URL; raises `ValueError` where it is something else or too long."""
    async with client.stream("GET", url) as reply:
        if reply.status_code != 200:
            raise ValueError(f"{url} answers {reply.status_code}")
        content = b""
        async for piece in reply.aiter_bytes():
            content += piece
            if len(content) > LARGEST_REPLY:
                raise ValueError(f"{url} sends more than {LARGEST_REPLY:,} bytes")
    answer = json.loads(content)
    if not isinstance(answer, dict):
        raise TypeError(f"{url} sends no JSON object")
    return answer

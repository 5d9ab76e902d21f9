"""A provider's token counts only when it is genuine, for us, of now, and names one active user of ours."""

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from sqlalchemy import update

from core.settings import AuthSettings
from db.models import User
from db.session import Principal, tenant_session
from domain import tokens
from domain.identity import Unauthenticated
from domain.tokens import IdentityProviderSilent, TokenVerifier
from tests.api.conftest import serve
from tests.factories.identity_provider import AUDIENCE, IdentityProvider, describe_key, make_key
from tests.factories.people import Organisation


@pytest.fixture
def provider() -> Iterator[IdentityProvider]:
    provider = IdentityProvider()
    with serve(provider.app()) as url:
        provider.url = url
        provider.add_key("first")
        yield provider


@pytest.fixture
def verifier(provider: IdentityProvider) -> TokenVerifier:
    return TokenVerifier(AuthSettings(issuer=provider.url, audience=AUDIENCE))


@pytest.fixture
def claims(provider: IdentityProvider, organisation: Organisation) -> dict[str, Any]:
    """What names coach_a."""
    return provider.claims(organisation.slug, f"coach_a@{organisation.slug}.example")


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_genuine_token_is_its_user(
    provider: IdentityProvider,
    verifier: TokenVerifier,
    claims: dict[str, Any],
    organisation: Organisation,
    algorithm: str,
) -> None:
    provider.add_key("mine", algorithm)
    principal = await verifier.authenticate(provider.sign(claims, "mine"))
    coach = organisation.coach_a
    assert (principal.tenant_id, principal.user_id, principal.role) == (coach.tenant_id, coach.user_id, "coach")
    assert "admin" not in principal.scopes


async def test_the_role_is_ours_never_the_tokens(
    provider: IdentityProvider, verifier: TokenVerifier, claims: dict[str, Any], organisation: Organisation
) -> None:
    boasting = claims | {"role": "admin", "roles": ["admin"], "scope": "admin"}
    assert (await verifier.authenticate(provider.sign(boasting, "first"))).role == "coach"
    admin = claims | {"email": f"admin@{organisation.slug}.example"}
    assert "admin" in (await verifier.authenticate(provider.sign(admin, "first"))).scopes


@pytest.mark.parametrize(
    "change",
    [
        {"exp": int(time.time()) - 60}, {"exp": None}, {"exp": "soon"}, {"nbf": int(time.time()) + 3600},
        {"iat": int(time.time()) + 3600}, {"iss": "https://elsewhere.example"}, {"iss": None}, {"aud": "another"},
        {"aud": None}, {"aud": []}, {"tenant": None}, {"tenant": "nowhere"}, {"tenant": ["x"]}, {"tenant": "a\x00b"},
        {"email": None}, {"email": "nobody@x.example"}, {"email": 7}, {"email_verified": False},
        {"email_verified": None}, {"email_verified": "true"}, {"email_verified": 1},
    ],
)  # fmt: skip
async def test_a_wrong_claim_is_refused(
    provider: IdentityProvider, verifier: TokenVerifier, claims: dict[str, Any], change: dict[str, Any]
) -> None:
    changed = {name: value for name, value in (claims | change).items() if value is not None}
    if isinstance(changed.get("exp"), str):
        token = forge(changed, provider, provider.keys["first"][1])
    else:
        token = provider.sign(changed, "first")
    with pytest.raises(Unauthenticated):
        await verifier.authenticate(token)


def forge(claims: dict[str, Any], _: IdentityProvider, key: Any) -> str:
    """Return a rightly signed token with claims no library would sign."""
    return jwt.PyJWS().encode(json.dumps(claims).encode(), key, "RS256", headers={"kid": "first"})


async def test_a_clock_may_be_a_little_off(
    provider: IdentityProvider, verifier: TokenVerifier, claims: dict[str, Any]
) -> None:
    late = claims | {"exp": int(time.time()) - 10, "nbf": int(time.time()) + 10}
    assert await verifier.authenticate(provider.sign(late, "first"))


async def test_several_audiences_may_name_us(
    provider: IdentityProvider, verifier: TokenVerifier, claims: dict[str, Any]
) -> None:
    assert await verifier.authenticate(provider.sign(claims | {"aud": ["another", AUDIENCE]}, "first"))


async def test_forged_signatures_are_refused(
    provider: IdentityProvider, verifier: TokenVerifier, claims: dict[str, Any]
) -> None:
    genuine = provider.sign(claims, "first")
    header, payload, signature = genuine.split(".")
    public_key = provider.keys["first"][1].public_key()
    pem = public_key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    none = base64.urlsafe_b64encode(json.dumps({"alg": "none", "kid": "first"}).encode()).decode().rstrip("=")
    other = base64.urlsafe_b64encode(json.dumps(claims | {"sub": "x"}).encode()).decode().rstrip("=")
    embedded = describe_key(make_key("RS256"), "first")
    forged = [
        f"{none}.{payload}.", f"{none}.{payload}.{signature}", f"{header}.{other}.{signature}", f"{header}.{payload}.",
        f"{header}.{payload}.{signature[:-8]}AAAAAAAA", sign_with_secret(claims, pem), sign_with_secret(claims, b""),
        jwt.encode(claims, make_key("RS256"), "RS256", headers={"kid": "first"}),
        jwt.encode(claims, make_key("RS256"), "RS256", headers={"kid": "first", "jwk": embedded}),
        jwt.encode(claims, make_key("RS256"), "RS256", headers={"kid": "first", "jku": f"{provider.url}/evil"}),
        jwt.encode(claims, make_key("ES256"), "ES256", headers={"kid": "first"}),
        jwt.encode(claims, provider.keys["first"][1], "RS512", headers={"kid": "first"}),
        jwt.encode(claims, provider.keys["first"][1], "RS256"),
        "", "x", "a.b.c", "rgx_something", f"{genuine}.{signature}", "." * 50, "e30.e30.", f"{genuine}{'A' * 20_000}",
    ]  # fmt: skip
    for token in forged:
        with pytest.raises(Unauthenticated):
            await verifier.authenticate(token)
    assert await verifier.authenticate(genuine)


def sign_with_secret(claims: dict[str, Any], secret: bytes) -> str:
    """Return a token signed by HMAC with what anyone knows, as if it were a shared secret."""
    import hashlib
    import hmac

    parts = [{"alg": "HS256", "typ": "JWT", "kid": "first"}, claims]
    text = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    tag = hmac.new(secret, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(tag).decode().rstrip('=')}"


async def test_keys_not_for_signing_are_left_out(
    provider: IdentityProvider, verifier: TokenVerifier, claims: dict[str, Any]
) -> None:
    for key_id, others in (("enc", {"use": "enc"}), ("hmac", {"alg": "HS256"})):
        key = make_key("RS256")
        provider.keys[key_id] = ("RS256", key)
        provider.published.append(describe_key(key, key_id, **others))
    provider.published += [{"kty": "oct", "kid": "oct", "k": "c2VjcmV0"}, {"kty": "RSA", "kid": "broken", "n": "!"}]
    for key_id in ("enc", "hmac"):
        with pytest.raises(Unauthenticated):
            await verifier.authenticate(provider.sign(claims, key_id))
    assert await verifier.authenticate(provider.sign(claims, "first"))


async def test_a_flood_of_unknown_keys_asks_the_provider_once(
    provider: IdentityProvider, verifier: TokenVerifier, claims: dict[str, Any]
) -> None:
    provider.keys["unknown"] = ("RS256", make_key("RS256"))
    made_up = [provider.sign(claims, "unknown", kid=f"key-{n}") for n in range(20)]
    results = await asyncio.gather(*(verifier.authenticate(token) for token in made_up), return_exceptions=True)
    assert all(isinstance(result, Unauthenticated) for result in results)
    assert provider.asked == 1
    results = await asyncio.gather(
        *(verifier.authenticate(provider.sign(claims, "first")) for _ in range(20)), return_exceptions=True
    )
    assert all(isinstance(result, Principal) for result in results)
    assert provider.asked == 1


async def test_rotated_keys_are_found_and_old_ones_forgotten(
    provider: IdentityProvider, verifier: TokenVerifier, claims: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = provider.sign(claims, "first")
    assert await verifier.authenticate(old)
    provider.published.clear()
    provider.add_key("second")
    new = provider.sign(claims, "second")
    with pytest.raises(Unauthenticated):  # asked less than a minute ago
        await verifier.authenticate(new)
    monkeypatch.setattr(tokens, "REFRESH_SECONDS", 0)
    assert await verifier.authenticate(new)
    with pytest.raises(Unauthenticated):
        await verifier.authenticate(old)


async def test_a_silent_provider_is_not_the_callers_fault(
    provider: IdentityProvider, verifier: TokenVerifier, claims: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = provider.sign(claims, "first")
    misbehaviours: list[dict[str, Any]] = [
        {"status": 500}, {"status": 302}, {"padding": tokens.LARGEST_REPLY}, {"issuer": "https://elsewhere.example"},
        {"redirect": f"{provider.url}/.well-known/openid-configuration"}, {"published": "none"}, {"published": [7]},
    ]  # fmt: skip
    monkeypatch.setattr(tokens, "REFRESH_SECONDS", 0)
    monkeypatch.setattr(tokens, "RETRY_SECONDS", 0)
    good = dict(vars(provider))
    for misbehaviour in misbehaviours:
        vars(provider).update(misbehaviour)
        with pytest.raises(IdentityProviderSilent):
            await verifier.authenticate(token)
        vars(provider).update(good)
    assert await verifier.authenticate(token)
    provider.status = 500
    monkeypatch.setattr(tokens, "KEYS_SECONDS", 0)
    assert await verifier.authenticate(token)  # the keys of a moment ago still count
    monkeypatch.setattr(tokens, "STALE_SECONDS", 0)
    with pytest.raises(IdentityProviderSilent):
        await verifier.authenticate(token)


async def test_while_silent_it_is_asked_seldom(
    provider: IdentityProvider, verifier: TokenVerifier, claims: dict[str, Any]
) -> None:
    token = provider.sign(claims, "first")
    provider.status = 500
    for _ in range(5):
        with pytest.raises(IdentityProviderSilent):
            await verifier.authenticate(token)
    assert provider.asked == 0  # its description, asked for once, failed already
    provider.status = 200
    verifier._asked_at -= tokens.RETRY_SECONDS
    assert await verifier.authenticate(token)


async def test_the_keys_may_be_named_and_no_provider_takes_nothing(
    provider: IdentityProvider, claims: dict[str, Any]
) -> None:
    named = AuthSettings(issuer=provider.url, audience=AUDIENCE, jwks_url=f"{provider.url}/keys")
    provider.issuer = "unused"
    assert await TokenVerifier(named).authenticate(provider.sign(claims, "first"))
    with pytest.raises(Unauthenticated):
        await TokenVerifier(AuthSettings()).authenticate(provider.sign(claims, "first"))


async def test_another_claim_may_name_the_organisation(
    provider: IdentityProvider, claims: dict[str, Any], organisation: Organisation
) -> None:
    settings = AuthSettings(issuer=provider.url, audience=AUDIENCE, tenant_claim="https://x.example/org")
    token = provider.sign(claims | {"tenant": "nowhere", "https://x.example/org": organisation.slug}, "first")
    assert (await TokenVerifier(settings).authenticate(token)).tenant_id == organisation.tenant_id


async def test_a_suspended_user_is_refused(
    provider: IdentityProvider, verifier: TokenVerifier, claims: dict[str, Any], organisation: Organisation
) -> None:
    token = provider.sign(claims, "first")
    assert await verifier.authenticate(token)
    async with tenant_session(organisation.system) as session:
        await session.execute(update(User).where(User.id == organisation.coach_a.user_id).values(status="suspended"))
    with pytest.raises(Unauthenticated):
        await verifier.authenticate(token)


@pytest.mark.parametrize(
    "wrong",
    [{"issuer": "http://idp.example", "audience": "x"}, {"issuer": "https://idp.example"}, {"jwks_url": "file:///etc/passwd"}],
)  # fmt: skip
def test_unsafe_settings_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"https://|AUDIENCE"):
        AuthSettings(**wrong)

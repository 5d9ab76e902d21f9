"""An OpenID Connect provider on this machine that signs, rotates and misbehaves as a test tells it."""

import json
import time
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

AUDIENCE = "regenesis-test"


def make_key(algorithm: str) -> Any:
    """Return a private key for the algorithm."""
    if algorithm == "RS256":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1()) if algorithm == "ES256" else ed25519.Ed25519PrivateKey.generate()


def describe_key(key: PrivateKeyTypes, key_id: str, **others: Any) -> dict[str, Any]:
    """Return the public half as a JSON Web Key."""
    public: Any = key.public_key()
    makers: dict[type, Any] = {
        rsa.RSAPublicKey: RSAAlgorithm, ec.EllipticCurvePublicKey: ECAlgorithm, ed25519.Ed25519PublicKey: OKPAlgorithm
    }  # fmt: skip
    maker = next(maker for kind, maker in makers.items() if isinstance(public, kind))
    return {**json.loads(maker.to_jwk(public)), "kid": key_id, "use": "sig", **others}


@dataclass
class IdentityProvider:
    """Where it listens, its keys by id, and how often it was asked for them."""

    url: str = ""
    keys: dict[str, Any] = field(default_factory=dict)
    published: list[dict[str, Any]] = field(default_factory=list)
    asked: int = 0
    status: int = 200
    padding: int = 0
    issuer: str | None = None
    redirect: str | None = None

    def add_key(self, key_id: str, algorithm: str = "RS256") -> None:
        self.keys[key_id] = (algorithm, make_key(algorithm))
        self.published.append(describe_key(self.keys[key_id][1], key_id))

    def sign(self, claims: dict[str, Any], key_id: str, **header: Any) -> str:
        algorithm, key = self.keys[key_id]
        return jwt.encode(claims, key, algorithm, headers={"kid": key_id, **header})

    def claims(self, slug: str, email: str, **others: Any) -> dict[str, Any]:
        now = int(time.time())
        given = {
            "iss": self.url, "aud": AUDIENCE, "sub": "u-1", "iat": now, "nbf": now, "exp": now + 300,
            "tenant": slug, "email": email, "email_verified": True,
        }  # fmt: skip
        return {name: value for name, value in (given | others).items() if value is not None}

    def app(self) -> Starlette:
        async def discover(_: Request) -> Response:
            return self._reply({"issuer": self.issuer or self.url, "jwks_uri": f"{self.url}/keys"})

        async def keys(_: Request) -> Response:
            self.asked += 1
            if self.redirect:
                return RedirectResponse(self.redirect)
            return self._reply({"keys": self.published})

        return Starlette(routes=[Route("/.well-known/openid-configuration", discover), Route("/keys", keys)])

    def _reply(self, content: dict[str, Any]) -> Response:
        return Response(json.dumps(content) + " " * self.padding, self.status, media_type="application/json")

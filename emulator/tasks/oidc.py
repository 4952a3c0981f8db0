"""The OIDC tokens that tasks carry: as Google signs them, by a key of the emulator's own."""

from __future__ import annotations

import hashlib
import json
import time
from base64 import urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

ISSUER = "https://accounts.google.com"

LIFETIME = timedelta(hours=1)
"""Of a token, as Google's."""

_LEFT_AT_LEAST = timedelta(minutes=35)
"""What a token that is handed out once more has still to live: more than the longest dispatch deadline."""

_KEY_BITS = 2048
_MAX_CACHED = 10_000
"""Tokens: an audience is the whole URL where a task names none, so there is no end to them."""

_CERTIFICATE_LIFETIME = timedelta(days=3650)


class SigningKey:
    """An RSA key, and all that others need of it to verify what it signs.

    Args:
        pem: the private key, as `pem` of another one, or of any program that writes PKCS #8.

    Raises:
        ValueError: it is no RSA key in PEM.
    """

    def __init__(self, pem: bytes) -> None:
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except TypeError as error:  # it has a password
            raise ValueError(f"the signing key cannot be read: {error}") from error
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ValueError(f"the signing key must be an RSA key, not {type(key).__name__}")
        self._key = key
        self.pem = pem
        public = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.id = hashlib.sha1(public, usedforsecurity=False).hexdigest()
        """The `kid` of tokens and certificates: 40 hexadecimal digits, always the same for the same key."""

    @classmethod
    def generate(cls) -> SigningKey:
        """A new one; it takes some 50 ms."""
        key = rsa.generate_private_key(public_exponent=65_537, key_size=_KEY_BITS)
        return cls(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )

    def sign(self, data: bytes) -> bytes:
        """The RS256 signature."""
        return self._key.sign(data, padding.PKCS1v15(), hashes.SHA256())

    @cached_property
    def certificate(self) -> str:
        """The public key in a certificate, in PEM."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tasks-emulator")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))  # clocks differ
            .not_valid_after(now + _CERTIFICATE_LIFETIME)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def jwk(self) -> dict[str, str]:
        """The public key as JSON Web Key."""
        numbers = self._key.public_key().public_numbers()
        return {
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": self.id,
            "n": _base64(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")),
            "e": _base64(numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8, "big")),
        }


class Signer:
    """Signs the tokens of one emulator, and keeps them while they are good.

    Tokens go by the time of the wall, whatever clock the emulator has: whoever verifies them does too.

    Args:
        key: what to sign with; None: a new one, once it is needed.
        wall: the time of the wall, in seconds since the epoch.
    """

    def __init__(self, key: SigningKey | None = None, *, wall: Callable[[], float] = time.time) -> None:
        self._key = key
        self._wall = wall
        self._tokens: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()

    @property
    def key(self) -> SigningKey:
        """What it signs with; it is made when it is asked for first."""
        if self._key is None:
            self._key = SigningKey.generate()
        return self._key

    def token(self, email: str, audience: str) -> str:
        """A token that this service account calls this audience, good for 35 min to 1 h.

        A signature takes a millisecond, so tokens are used again while they last.
        """
        now = self._wall()
        known = self._tokens.get((email, audience))
        if known is not None and known[1] > now:
            self._tokens.move_to_end((email, audience))
            return known[0]
        token = self._sign(claims(email, audience, int(now)))
        self._tokens[email, audience] = token, now + (LIFETIME - _LEFT_AT_LEAST).total_seconds()
        self._tokens.move_to_end((email, audience))
        if len(self._tokens) > _MAX_CACHED:
            self._tokens.popitem(last=False)
        return token

    def _sign(self, claims: dict[str, Any]) -> str:
        header = {"alg": "RS256", "kid": self.key.id, "typ": "JWT"}
        signed = f"{_json(header)}.{_json(claims)}"
        return f"{signed}.{_base64(self.key.sign(signed.encode()))}"


def claims(email: str, audience: str, issued_at: int) -> dict[str, Any]:
    """What Google puts into the token of a service account; `issued_at` is in seconds since the epoch."""
    subject = unique_id(email)
    return {
        "iss": ISSUER,
        "aud": audience,
        "azp": subject,
        "email": email,
        "email_verified": True,
        "sub": subject,
        "iat": issued_at,
        "exp": issued_at + int(LIFETIME.total_seconds()),
    }


def unique_id(email: str) -> str:
    """A service account's numeric ID: 21 digits as Google's, always the same for the same account."""
    digest = int.from_bytes(hashlib.sha256(email.encode()).digest(), "big")
    return f"1{digest % 10**20:020}"


def _json(value: dict[str, Any]) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()

"""`Certificates`: the public keys that Google signs its tokens with, fetched and kept."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
from collections.abc import Mapping

import aiohttp
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from dsset.clock import Clock

GOOGLE_CERTS_URL = "https://www.googleapis.com/oauth2/v1/certs"
"""The keys of Google's OAuth 2.0 server, which signs the tokens of Cloud Tasks and Cloud Scheduler."""

logger = logging.getLogger("eventbox.tasks")

_TIMEOUT_S = 5.0
_MAX_BYTES = 1024 * 1024
_DEFAULT_AGE_S = 3_600.0
"""How long keys are good whose server does not say it. Google's says some hours."""
_LONGEST_AGE_S = 86_400.0
_SHORTEST_AGE_S = 60.0
_STALE_FOR_S = 86_400.0
"""For how long keys are used beyond their time while no others can be had: an outage, not for ever."""
_AFTER_FAILURE_S = 5.0
_AFTER_SUCCESS_S = 30.0
"""No fetch sooner than this after the last one, so that nobody can order fetches by making up key IDs."""
_MAX_AGE = re.compile(r"max-age\s*=\s*(\d{1,9})", re.IGNORECASE)


class CertificatesUnavailableError(Exception):
    """No keys could be had: whether a token is genuine cannot be said now."""


class Certificates:
    """The keys behind a URL, by their IDs, as PEM.

    They are fetched when first asked for, kept for as long as the server's Cache-Control says, and kept on (for up
    to a day) while it cannot be reached. One fetch at a time, however many ask.

    Args:
        url: gives a JSON object of key IDs and PEM certificates (as Google's `/oauth2/v1/certs`), or a JWK set (as
            its `/oauth2/v3/certs`).
        clock: what their age is measured by.
    """

    def __init__(self, url: str, *, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._fetching = asyncio.Lock()
        self._keys: Mapping[str, str] = {}
        self._good_until = 0.0
        self._not_before: float | None = None

    async def having(self, key_id: str) -> Mapping[str, str]:
        """The keys, fetched anew where they are too old, or where this one is unknown (but not more than now and then).

        Raises:
            CertificatesUnavailableError: there are none, or none that are less than a day too old.
        """
        if self._is_due(key_id):
            async with self._fetching:
                if self._is_due(key_id):  # else another request has just fetched them
                    await self._refresh()
        if not self._keys or self._clock.monotonic() > self._good_until + _STALE_FOR_S:
            raise CertificatesUnavailableError(f"the certificates at {self._url} cannot be had")
        return self._keys

    def _is_due(self, key_id: str) -> bool:
        now = self._clock.monotonic()
        if self._not_before is not None and now < self._not_before:
            return False
        return now >= self._good_until or key_id not in self._keys

    async def _refresh(self) -> None:
        try:
            keys, age_s = await self._fetch()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            self._not_before = self._clock.monotonic() + _AFTER_FAILURE_S
            logger.warning("the certificates at %s could not be fetched: %r", self._url, error)
            return
        now = self._clock.monotonic()
        self._keys = keys
        self._good_until = now + age_s
        self._not_before = now + _AFTER_SUCCESS_S

    async def _fetch(self) -> tuple[Mapping[str, str], float]:
        """The keys, and for how many seconds they are good."""
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        # a session for each fetch: there is one in hours, and nothing to close
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
            session.get(self._url, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise ValueError(f"status {response.status}")
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > _MAX_BYTES:
                    raise ValueError(f"more than {_MAX_BYTES} bytes")
            return _parse(bytes(body)), _age_s(response.headers)


def _age_s(headers: Mapping[str, str]) -> float:
    found = _MAX_AGE.search(headers.get("Cache-Control", ""))
    if found is None:
        return _DEFAULT_AGE_S
    age = headers.get("Age", "")
    spent = int(age) if age.isascii() and age.isdigit() and len(age) < 10 else 0  # in caches on the way
    return min(max(float(found[1]) - spent, _SHORTEST_AGE_S), _LONGEST_AGE_S)


def _parse(body: bytes) -> Mapping[str, str]:
    try:
        found = json.loads(body)
    except RecursionError as error:
        raise ValueError("JSON too deep") from error
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    if isinstance(found.get("keys"), list):
        keys = {
            str(key.get("kid")): _pem(key)
            for key in found["keys"]
            if isinstance(key, dict) and key.get("kty") == "RSA" and key.get("use", "sig") == "sig"
        }
    else:
        keys = {key_id: pem for key_id, pem in found.items() if isinstance(pem, str) and "-----BEGIN " in pem}
    if not keys:
        raise ValueError("no keys in it")
    return keys


def _pem(key: Mapping[str, object]) -> str:
    """A JWK as PEM, which google-auth takes."""
    public = RSAPublicNumbers(e=_number(key.get("e")), n=_number(key.get("n"))).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _number(text: object) -> int:
    if not isinstance(text, str):
        raise ValueError("a key without its numbers")
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")

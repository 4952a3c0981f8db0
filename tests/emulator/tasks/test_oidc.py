"""Tokens that whoever verifies Google's tokens takes, and only by the key of the emulator that signed them."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from google.auth import exceptions
from google.auth.transport.requests import Request
from google.oauth2 import id_token

from emulator.tasks.certs_server import certs_server
from emulator.tasks.oidc import Signer, SigningKey

EMAIL = "invoker@demo.iam.gserviceaccount.com"
AUDIENCE = "https://worker.example"


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return SigningKey.generate()


@pytest.fixture
async def certs_url(key: SigningKey) -> AsyncIterator[str]:
    async with certs_server(Signer(key), "127.0.0.1:0") as url:
        yield url


async def verify(token: str, certs_url: str, audience: str = AUDIENCE) -> Any:
    """As a worker does: google-auth fetches the certificates, and checks."""

    def check() -> Any:
        with requests.Session() as session:
            return id_token.verify_token(token, Request(session), audience, certs_url=certs_url)

    return await asyncio.to_thread(check)


def parts(token: str) -> tuple[Any, Any, bytes]:
    """A token's header, claims and signature."""
    header, claims, signature = (base64.urlsafe_b64decode(one + "==") for one in token.split("."))
    return json.loads(header), json.loads(claims), signature


async def test_google_auth_verifies_a_token_by_the_served_certificates(
    key: SigningKey, certs_url: str
) -> None:
    found = await verify(Signer(key).token(EMAIL, AUDIENCE), certs_url)
    now = time.time()
    assert now - 60 < found["iat"] <= now
    assert found["exp"] == found["iat"] + 3_600
    assert found["sub"] == found["azp"]
    assert (found["iss"], found["aud"]) == ("https://accounts.google.com", AUDIENCE)
    assert (found["email"], found["email_verified"]) == (EMAIL, True)
    assert set(found) == {"iss", "aud", "azp", "email", "email_verified", "sub", "iat", "exp"}


async def test_a_token_by_another_key_is_refused(certs_url: str) -> None:
    with pytest.raises(exceptions.MalformedError, match=r"Certificate for key id .* not found"):
        await verify(Signer().token(EMAIL, AUDIENCE), certs_url)


async def test_a_forged_token_that_names_the_right_key_is_refused(key: SigningKey, certs_url: str) -> None:
    foreign = SigningKey.generate()
    foreign.id = key.id
    with pytest.raises(ValueError, match="Could not verify token signature"):
        await verify(Signer(foreign).token(EMAIL, AUDIENCE), certs_url)


async def test_a_token_whose_claims_were_changed_is_refused(key: SigningKey, certs_url: str) -> None:
    header, claims, signature = Signer(key).token(EMAIL, AUDIENCE).split(".")
    other = Signer(key).token("admin@demo.iam.gserviceaccount.com", AUDIENCE).split(".")[1]
    assert other != claims
    with pytest.raises(ValueError, match="Could not verify token signature"):
        await verify(f"{header}.{other}.{signature}", certs_url)


async def test_a_token_for_another_audience_is_refused(key: SigningKey, certs_url: str) -> None:
    with pytest.raises(ValueError, match="wrong audience"):
        await verify(Signer(key).token(EMAIL, "https://other.example"), certs_url)


@pytest.mark.parametrize(("hours", "message"), [(-2, "Token expired"), (2, "Token used too early")])
async def test_a_token_of_another_time_is_refused(
    key: SigningKey, certs_url: str, hours: int, message: str
) -> None:
    token = Signer(key, wall=lambda: time.time() + hours * 3_600).token(EMAIL, AUDIENCE)
    with pytest.raises(ValueError, match=message):
        await verify(token, certs_url)


async def test_the_key_is_served_as_a_json_web_key_set_too(key: SigningKey, certs_url: str) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(certs_url.replace("/v1/", "/v3/")) as response:
            assert "max-age=" in response.headers["Cache-Control"]
            (jwk,) = (await response.json())["keys"]
        async with session.get(
            certs_url.removesuffix("/oauth2/v1/certs") + "/.well-known/openid-configuration"
        ) as r:
            configuration = await r.json()
    assert configuration["jwks_uri"] == certs_url.replace("/v1/", "/v3/")
    assert configuration["issuer"] == "https://accounts.google.com"
    token = Signer(key).token(EMAIL, AUDIENCE)
    header, _, signature = parts(token)
    assert (jwk["kid"], jwk["kty"], jwk["alg"], jwk["use"]) == (header["kid"], "RSA", "RS256", "sig")
    n, e = (int.from_bytes(base64.urlsafe_b64decode(jwk[one] + "=="), "big") for one in "ne")
    public = rsa.RSAPublicNumbers(e, n).public_key()
    public.verify(signature, token.rpartition(".")[0].encode(), padding.PKCS1v15(), SHA256())


async def test_certificates_may_be_cached_and_name_the_key_of_the_tokens(
    key: SigningKey, certs_url: str
) -> None:
    async with aiohttp.ClientSession() as session, session.get(certs_url) as response:
        assert response.headers["Cache-Control"].startswith("public, max-age=")
        ((id, pem),) = (await response.json()).items()
    header, _, _ = parts(Signer(key).token(EMAIL, AUDIENCE))
    assert header == {"alg": "RS256", "typ": "JWT", "kid": id}
    certificate = x509.load_pem_x509_certificate(pem.encode())
    assert (
        certificate.not_valid_before_utc.timestamp()
        < time.time()
        < certificate.not_valid_after_utc.timestamp()
    )


async def test_the_certificates_are_served_where_asked_or_it_is_an_os_error(key: SigningKey) -> None:
    async with certs_server(Signer(key), "127.0.0.1:0") as url:
        address = url.removeprefix("http://").partition("/")[0]
        with pytest.raises(OSError, match="address already in use"):
            async with certs_server(Signer(key), address):
                pass


def test_a_token_is_used_again_until_it_has_little_left_than_a_dispatch_may_take(key: SigningKey) -> None:
    now = 1_900_000_000.0
    signer = Signer(key, wall=lambda: now)
    first = signer.token(EMAIL, AUDIENCE)
    now += 24 * 60
    assert signer.token(EMAIL, AUDIENCE) is first
    now += 60
    second = signer.token(EMAIL, AUDIENCE)
    assert parts(second)[1]["iat"] == now
    assert parts(first)[1]["iat"] == now - 25 * 60
    assert signer.token(EMAIL, AUDIENCE) is second


def test_each_account_and_audience_has_a_token_of_its_own(key: SigningKey) -> None:
    signer = Signer(key)
    asked = [(email, audience) for email in ("a@x", "b@x") for audience in ("https://a", "https://b")]
    tokens = [parts(signer.token(*one))[1] for one in asked]
    assert [(one["email"], one["aud"]) for one in tokens] == asked
    assert len({one["sub"] for one in tokens}) == 2
    assert all(len(one["sub"]) == 21 and one["sub"].isdecimal() for one in tokens)


def test_a_signer_keeps_no_more_tokens_than_it_may_and_those_used_last(
    key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emulator.tasks.oidc._MAX_CACHED", 2)
    signer = Signer(key)
    a, b = (signer.token(EMAIL, one) for one in ("a", "b"))
    assert signer.token(EMAIL, "a") is a
    signer.token(EMAIL, "c")
    assert signer.token(EMAIL, "a") is a
    assert len(signer._tokens) == 2
    assert signer.token(EMAIL, "b") is not b


def test_a_key_comes_back_from_its_pem_with_the_same_name(key: SigningKey) -> None:
    again = SigningKey(key.pem)
    assert (again.id, again.jwk) == (key.id, key.jwk)
    assert again.sign(b"x") == key.sign(b"x")
    assert SigningKey.generate().id != key.id


def no_pem() -> bytes:
    return b"nonsense"


def another_kind() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )


def with_a_password() -> bytes:
    private = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))


@pytest.mark.parametrize("make", [no_pem, another_kind, with_a_password])
def test_what_is_no_readable_rsa_key_is_a_value_error(make: Any) -> None:
    with pytest.raises(ValueError):
        SigningKey(make())

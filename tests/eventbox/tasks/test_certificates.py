"""How the keys that tokens are verified with are fetched, kept, and fetched again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from aiohttp import web

from emulator.tasks.oidc import SigningKey
from eventbox.tasks.certificates import Certificates, CertificatesUnavailableError
from eventbox.testing import ManualClock


@dataclass
class Keys:
    """A server of keys that does as it is told."""

    key: SigningKey
    document: object = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    fetches: int = 0
    url: str = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.fetches += 1
        document = {self.key.id: self.key.certificate} if self.document is None else self.document
        return web.json_response(document, status=self.status, headers=self.headers)


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return SigningKey.generate()


@pytest.fixture
async def keys(key: SigningKey) -> AsyncIterator[Keys]:
    keys = Keys(key)
    app = web.Application()
    app.router.add_get("/certs", keys.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    keys.url = f"http://127.0.0.1:{runner.addresses[0][1]}/certs"
    try:
        yield keys
    finally:
        await runner.cleanup()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def certificates(keys: Keys, clock: ManualClock) -> Certificates:
    return Certificates(keys.url, clock=clock)


async def test_many_who_ask_at_once_share_one_fetch(certificates: Certificates, keys: Keys) -> None:
    found = await asyncio.gather(*(certificates.having(keys.key.id) for _ in range(50)))

    assert keys.fetches == 1
    assert all(keys.key.id in one for one in found)


@pytest.mark.parametrize(
    ("headers", "good_for_s"),
    [
        ({"Cache-Control": "public, max-age=600, must-revalidate"}, 600),
        ({"Cache-Control": "max-age=600", "Age": "200"}, 400),
        ({"Cache-Control": "max-age=600", "Age": "soon"}, 600),
        ({"Cache-Control": "max-age=1"}, 60),
        ({"Cache-Control": "max-age=999999999"}, 86_400),
        ({"Cache-Control": "no-cache"}, 3_600),
        ({}, 3_600),
    ],
)
async def test_keys_are_kept_for_as_long_as_the_server_says_within_reason(
    certificates: Certificates, keys: Keys, clock: ManualClock, headers: dict[str, str], good_for_s: int
) -> None:
    keys.headers = headers
    await certificates.having(keys.key.id)

    clock.advance(timedelta(seconds=good_for_s - 1))
    await certificates.having(keys.key.id)
    assert keys.fetches == 1

    clock.advance(timedelta(seconds=1))
    await certificates.having(keys.key.id)
    assert keys.fetches == 2


async def test_made_up_key_ids_order_no_more_than_a_fetch_now_and_then(
    certificates: Certificates, keys: Keys, clock: ManualClock
) -> None:
    await certificates.having(keys.key.id)
    for made_up in range(100):
        await certificates.having(f"made up {made_up}")
    assert keys.fetches == 1

    clock.advance(timedelta(seconds=30))
    for made_up in range(100):
        await certificates.having(f"made up {made_up}")
    assert keys.fetches == 2


async def test_a_new_key_is_known_before_the_old_ones_are_too_old(
    certificates: Certificates, keys: Keys, clock: ManualClock
) -> None:
    await certificates.having(keys.key.id)
    keys.document = {keys.key.id: keys.key.certificate, "new": keys.key.certificate}
    clock.advance(timedelta(seconds=30))

    assert "new" in await certificates.having("new")


@pytest.mark.parametrize("what", ["error", "nothing", "nonsense"])
async def test_an_outage_is_bridged_by_the_old_keys_for_a_day(
    certificates: Certificates, keys: Keys, clock: ManualClock, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    await certificates.having(keys.key.id)
    keys.status, keys.document = (500, None) if what == "error" else (200, {} if what == "nothing" else ["x"])

    clock.advance(timedelta(hours=24))
    assert keys.key.id in await certificates.having(keys.key.id)
    assert "could not be fetched" in caplog.text

    clock.advance(timedelta(hours=1, seconds=1))
    with pytest.raises(CertificatesUnavailableError):
        await certificates.having(keys.key.id)

    keys.status, keys.document = 200, None
    clock.advance(timedelta(seconds=5))
    assert keys.key.id in await certificates.having(keys.key.id)


async def test_after_a_failure_it_is_tried_again_but_not_at_once(
    certificates: Certificates, keys: Keys, clock: ManualClock
) -> None:
    keys.status = 503
    for _ in range(20):
        with pytest.raises(CertificatesUnavailableError):
            await certificates.having(keys.key.id)
    assert keys.fetches == 1

    keys.status = 200
    clock.advance(timedelta(seconds=5))
    assert keys.key.id in await certificates.having(keys.key.id)


async def test_a_redirect_is_not_followed(certificates: Certificates, keys: Keys) -> None:
    keys.status, keys.headers = 302, {"Location": keys.url}

    with pytest.raises(CertificatesUnavailableError):
        await certificates.having(keys.key.id)
    assert keys.fetches == 1


async def test_an_endless_document_is_not_read_to_its_end(certificates: Certificates, keys: Keys) -> None:
    keys.document = {"x": "-----BEGIN " + "y" * 2 * 1024 * 1024}

    with pytest.raises(CertificatesUnavailableError):
        await certificates.having(keys.key.id)


async def test_nobody_listening_is_an_outage(clock: ManualClock) -> None:
    with pytest.raises(CertificatesUnavailableError):
        await Certificates("http://127.0.0.1:9/certs", clock=clock).having("key")


async def test_a_jwk_set_gives_the_same_keys_and_skips_what_it_does_not_know(
    certificates: Certificates, keys: Keys
) -> None:
    jwk = keys.key.jwk
    keys.document = {"keys": [{"kty": "EC", "kid": "other"}, {**jwk, "use": "enc", "kid": "enc"}, jwk, "x"]}

    found = await certificates.having(keys.key.id)

    assert list(found) == [keys.key.id]
    assert "PUBLIC KEY" in found[keys.key.id]


@pytest.mark.parametrize("broken", [{"n": 1}, {"n": "!"}, {"e": None}, {"n": "", "e": ""}])
async def test_a_broken_jwk_is_an_outage(
    certificates: Certificates, keys: Keys, broken: dict[str, object]
) -> None:
    keys.document = {"keys": [{**keys.key.jwk, **broken}]}

    with pytest.raises(CertificatesUnavailableError):
        await certificates.having(keys.key.id)

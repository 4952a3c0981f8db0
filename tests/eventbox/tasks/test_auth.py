"""Who is let in, by each mode of `Auth`, with tokens as the tasks emulator signs them."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore import AsyncClient
from google.oauth2.credentials import Credentials
from starlette.datastructures import Headers

from emulator.firestore import Emulator
from emulator.tasks.certs_server import JWKS_PATH, X509_PATH, certs_server
from emulator.tasks.oidc import Signer, SigningKey, claims
from eventbox.tasks.auth import Auth, Purpose, RefusedError
from eventbox.tasks.certificates import CertificatesUnavailableError

URL = "https://worker.example"
TASKS = "tasks@demo.iam.gserviceaccount.com"
SCHEDULER = "scheduler@demo.iam.gserviceaccount.com"
STRANGER = "stranger@elsewhere.iam.gserviceaccount.com"


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return SigningKey.generate()


@pytest.fixture
async def certs_url(key: SigningKey) -> AsyncIterator[str]:
    async with certs_server(Signer(key), "127.0.0.1:0") as url:
        yield url


@pytest.fixture(params=[X509_PATH, JWKS_PATH])
def auth(request: pytest.FixtureRequest, certs_url: str) -> Auth:
    url = certs_url.replace(X509_PATH, request.param)
    return Auth.verify(URL, TASKS, sweep_service_account=SCHEDULER, certs_url=url)


def bearer(token: str) -> Headers:
    return Headers({"Authorization": f"Bearer {token}"})


def signed(key: SigningKey, header: dict[str, Any] | None = None, **changed: Any) -> str:
    """A token of the queue's account whose claims are these; None takes a claim away."""
    said = {**claims(TASKS, URL, int(time.time())), **changed}
    body = {name: value for name, value in said.items() if value is not None}
    head = {"alg": "RS256", "kid": key.id, "typ": "JWT"} if header is None else header
    data = f"{encoded(head)}.{encoded(body)}"
    return f"{data}.{base64.urlsafe_b64encode(key.sign(data.encode())).decode().rstrip('=')}"


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


async def refusal(auth: Auth, headers: Headers, purpose: Purpose = Purpose.TASK) -> RefusedError:
    with pytest.raises(RefusedError) as raised:
        await auth.authenticate(headers, purpose)
    return raised.value


async def test_the_queues_account_is_let_in(auth: Auth, key: SigningKey) -> None:
    token = Signer(key).token(TASKS, URL)

    assert await auth.authenticate(bearer(token), Purpose.TASK) == TASKS
    assert await auth.authenticate(bearer(token), Purpose.SWEEP) == TASKS
    assert await auth.authenticate(Headers({"authorization": f"bearer  {token} "}), Purpose.TASK) == TASKS


async def test_the_schedulers_account_may_sweep_and_nothing_else(auth: Auth, key: SigningKey) -> None:
    token = Signer(key).token(SCHEDULER, URL)

    assert await auth.authenticate(bearer(token), Purpose.SWEEP) == SCHEDULER
    assert (await refusal(auth, bearer(token))).status == 403


async def test_a_valid_token_of_somebody_else_is_forbidden(auth: Auth, key: SigningKey) -> None:
    for purpose in Purpose:
        refused = await refusal(auth, bearer(Signer(key).token(STRANGER, URL)), purpose)

        assert refused.status == 403
        assert STRANGER in refused.reason


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "https://elsewhere.example"},
        {"aud": None},
        {"aud": [URL]},
        {"iss": "https://accounts.evil.example"},
        {"iss": None},
        {"exp": 1_000_000_000},
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": [1]},
        {"iat": 4_000_000_000},
        {"iat": None},
        {"email_verified": False},
        {"email_verified": None},
        {"email_verified": "true"},
        {"email": None},
        {"email": [TASKS]},
    ],
    ids=str,
)
async def test_a_token_with_a_wrong_claim_says_nothing(
    auth: Auth, key: SigningKey, changed: dict[str, Any]
) -> None:
    assert (await refusal(auth, bearer(signed(key, **changed)))).status == 401


async def test_a_clock_may_be_off_by_the_skew_and_no_more(certs_url: str, key: SigningKey) -> None:
    now = int(time.time())
    wide = Auth.verify(URL, TASKS, certs_url=certs_url, clock_skew=timedelta(minutes=5))
    narrow = Auth.verify(URL, TASKS, certs_url=certs_url, clock_skew=timedelta(0))

    for token in (signed(key, exp=now - 60), signed(key, iat=now + 60)):
        assert await wide.authenticate(bearer(token), Purpose.TASK) == TASKS
        assert (await refusal(narrow, bearer(token))).status == 401


async def test_a_token_of_another_key_is_refused_whatever_it_says(auth: Auth, key: SigningKey) -> None:
    foreign = SigningKey.generate()
    unknown = signed(foreign)
    disguised = signed(foreign, {"alg": "RS256", "kid": key.id, "typ": "JWT"})

    for token in (unknown, disguised):
        assert (await refusal(auth, bearer(token))).status == 401


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "ES256"},
        {"alg": ["RS256"]},
        {"alg": None},
        {"kid": None},
        {"kid": ["x"]},
        {"kid": ""},
    ],
    ids=str,
)
async def test_a_token_does_not_choose_how_it_is_verified(
    auth: Auth, key: SigningKey, header: dict[str, Any]
) -> None:
    token = signed(key, {"alg": "RS256", "kid": key.id, "typ": "JWT", **header})

    assert (await refusal(auth, bearer(token))).status == 401


@pytest.mark.parametrize(
    "headers",
    [
        Headers({}),
        Headers({"X-CloudTasks-QueueName": "q", "X-CloudTasks-TaskName": "t"}),
        Headers({"Authorization": ""}),
        Headers({"Authorization": "Bearer"}),
        Headers({"Authorization": "Bearer  "}),
        Headers({"Authorization": "Basic dGFza3M6eA=="}),
        Headers({"Authorization": "Bearer not.a.token"}),
        Headers({"Authorization": "Bearer a.b.c.d"}),
        Headers({"Authorization": "Bearer \u00e9.\u00e9.\u00e9"}),
        Headers({"Authorization": "Bearer " + "a" * 100_000}),
        Headers({"Authorization": f"Bearer {encoded(['x'])}.{encoded({})}.eA"}),
        Headers({"Authorization": f"Bearer {encoded({})}.{encoded(7)}.eA"}),
        Headers(raw=[(b"authorization", b"Bearer a.b.c"), (b"authorization", b"Bearer a.b.c")]),
    ],
    ids=lambda headers: str(headers)[:60],
)
async def test_whoever_shows_no_token_is_not_known(auth: Auth, headers: Headers) -> None:
    refused = await refusal(auth, headers)

    assert refused.status == 401
    assert len(refused.reason) < 400


async def test_of_two_tokens_nobody_knows_which_one_was_checked(auth: Auth, key: SigningKey) -> None:
    raw = [(b"authorization", f"Bearer {Signer(key).token(TASKS, URL)}".encode())] * 2

    assert (await refusal(auth, Headers(raw=raw))).status == 401
    await auth.authenticate(Headers(raw=raw[:1]), Purpose.TASK)


async def test_a_signature_that_google_removed_tells_to_trust_iam(auth: Auth, key: SigningKey) -> None:
    header, body, _ = Signer(key).token(TASKS, URL).split(".")

    refused = await refusal(auth, bearer(f"{header}.{body}.SIGNATURE_REMOVED_BY_GOOGLE"))

    assert refused.status == 401
    assert refused.misconfigured
    assert "Auth.iam()" in refused.reason


async def test_without_keys_nobody_can_tell(key: SigningKey) -> None:
    auth = Auth.verify(URL, TASKS, certs_url="http://127.0.0.1:9/certs")

    with pytest.raises(CertificatesUnavailableError):
        await auth.authenticate(bearer(Signer(key).token(TASKS, URL)), Purpose.TASK)


async def test_a_target_is_the_same_audience_with_a_slash_at_its_end_and_without(
    certs_url: str, key: SigningKey
) -> None:
    for audience, of_token in ((URL, f"{URL}/"), (f"{URL}/", URL), (f"{URL}/", f"{URL}/")):
        auth = Auth.verify(audience, TASKS, certs_url=certs_url)
        token = Signer(key).token(TASKS, of_token)
        assert await auth.authenticate(bearer(token), Purpose.TASK) == TASKS
    with pytest.raises(RefusedError, match="audience"):
        await auth.authenticate(bearer(Signer(key).token(TASKS, f"{URL}/x")), Purpose.TASK)


async def test_of_several_audiences_and_accounts_any_will_do(certs_url: str, key: SigningKey) -> None:
    auth = Auth.verify([URL, "https://alias.example"], {TASKS, STRANGER}, certs_url=certs_url)

    for account, audience in ((TASKS, URL), (STRANGER, "https://alias.example")):
        token = Signer(key).token(account, audience)
        assert await auth.authenticate(bearer(token), Purpose.TASK) == account


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"audience": ""}, ValueError),
        ({"audience": []}, ValueError),
        ({"audience": None}, TypeError),
        ({"audience": [None]}, TypeError),
        ({"service_account": ""}, ValueError),
        ({"service_account": ()}, ValueError),
        ({"service_account": "tasks"}, ValueError),
        ({"service_account": "@x"}, ValueError),
        ({"service_account": f" {TASKS}"}, ValueError),
        ({"service_account": None}, TypeError),
        ({"sweep_service_account": "x"}, ValueError),
        ({"certs_url": "certs"}, ValueError),
        ({"certs_url": "file:///etc/certs"}, ValueError),
        ({"certs_url": 1}, TypeError),
        ({"clock_skew": 10}, TypeError),
    ],
    ids=str,
)
def test_an_auth_that_lets_in_nobody_or_everybody_is_not_made(
    wrong: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        Auth.verify(**{"audience": URL, "service_account": TASKS, **wrong})


# Behind IAM ----------------------------------------------------------------------------------------------------


def removed(email: str) -> str:
    """A token as Cloud Run hands it on."""
    header = encoded({"alg": "RS256", "kid": "k", "typ": "JWT"})
    return f"{header}.{encoded(claims(email, URL, int(time.time())))}.SIGNATURE_REMOVED_BY_GOOGLE"


async def test_whoever_iam_let_in_is_let_in() -> None:
    for purpose in Purpose:
        await Auth.iam().authenticate(bearer(removed(STRANGER)), purpose)


async def test_a_request_without_a_token_cannot_have_come_through_iam() -> None:
    assert (await refusal(Auth.iam(), Headers({"X-CloudTasks-TaskName": "t"}))).status == 401


async def test_of_those_that_iam_lets_in_only_the_named_may_call() -> None:
    auth = Auth.iam(service_account=TASKS, sweep_service_account=SCHEDULER)

    assert await auth.authenticate(bearer(removed(TASKS)), Purpose.TASK) == TASKS
    assert await auth.authenticate(bearer(removed(SCHEDULER)), Purpose.SWEEP) == SCHEDULER
    assert (await refusal(auth, bearer(removed(SCHEDULER)))).status == 403
    assert (await refusal(auth, bearer(removed(STRANGER)))).status == 403
    assert (await refusal(auth, bearer("x"))).status == 401


async def test_the_token_that_cloud_run_checked_counts_and_no_other() -> None:
    auth = Auth.iam(service_account=TASKS)
    headers = Headers(
        {
            "X-Serverless-Authorization": f"Bearer {removed(STRANGER)}",
            "Authorization": f"Bearer {removed(TASKS)}",
        }
    )

    assert (await refusal(auth, headers)).status == 403


def test_a_sweeper_of_its_own_needs_an_account_to_differ_from() -> None:
    with pytest.raises(ValueError):
        Auth.iam(sweep_service_account=SCHEDULER)


# On an emulator ------------------------------------------------------------------------------------------------


async def test_on_an_emulator_everybody_is_let_in() -> None:
    auth = Auth.none()

    auth.check_client(Emulator().client())
    auth.check_client(AsyncClient(project="demo", credentials=AnonymousCredentials()))
    await auth.authenticate(Headers({}), Purpose.TASK)


def test_a_client_with_credentials_is_no_place_for_none() -> None:
    client = AsyncClient(project="demo", credentials=Credentials("token"))

    with pytest.raises(ValueError, match="emulators only"):
        Auth.none().check_client(client)
    Auth.iam().check_client(client)

"""`Auth`: who may call a worker."""

from __future__ import annotations

import abc
import logging
from collections.abc import Collection, Mapping
from datetime import timedelta
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

from google.auth import exceptions, jwt
from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore_v1.async_client import AsyncClient
from starlette.datastructures import Headers

from dsset.clock import Clock, SystemClock
from eventbox.tasks.certificates import GOOGLE_CERTS_URL, Certificates

logger = logging.getLogger("eventbox.tasks")

_ISSUERS = frozenset({"https://accounts.google.com", "accounts.google.com"})
_REMOVED = ".SIGNATURE_REMOVED_BY_GOOGLE"
_MAX_TOKEN_CHARS = 16_384
_MAX_SKEW = timedelta(minutes=5)


class Purpose(Enum):
    """What a caller wants to do: the sweep may be left to another account than the tasks."""

    TASK = "task"
    SWEEP = "sweep"


class RefusedError(Exception):
    """The caller is not let in.

    `status` is 401 where it is not known who it is, 403 where it is somebody else. `misconfigured` tells that the
    worker's own settings are the likely reason, so that somebody should look.
    """

    def __init__(self, status: int, reason: str, *, misconfigured: bool = False) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.misconfigured = misconfigured


class Auth(abc.ABC):
    """Who may call a worker. There is no default: choose by where the service runs.

        Auth.verify(URL, "tasks@project.iam.gserviceaccount.com")   # anybody can reach it: the worker checks the token
        Auth.iam()                                                  # Cloud Run asks for authentication: IAM has checked
        Auth.none()                                                 # on this machine, on an emulator

    The headers `X-CloudTasks-*` prove nothing outside of App Engine: anybody can send them.
    """

    @staticmethod
    def verify(
        audience: str | Collection[str],
        service_account: str | Collection[str],
        *,
        sweep_service_account: str | Collection[str] = (),
        certs_url: str | None = None,
        clock_skew: timedelta = timedelta(seconds=10),
        clock: Clock | None = None,
    ) -> Auth:
        """The worker verifies the OIDC token of each request itself, by Google's certificates.

        For a service that anybody can reach. Not behind Cloud Run's IAM, which takes the signature off each token:
        there every task would be refused (the log says so). What is checked: signature, issuer, audience, the
        account's e-mail address and that it is verified, and when the token was issued and expires.

        Args:
            audience: what the tokens are made out for: the `target` of the `TaskQueue`, with or without a slash at its
                end. One of several will do.
            service_account: the e-mail address of the account whose tokens the queue sends; of several, any.
            sweep_service_account: who may call `/eventbox/sweep` besides, such as Cloud Scheduler's account.
            certs_url: where the certificates are: Google's by default; of an emulator, its `certs_url`.
            clock_skew: how far this machine's clock may be off, at most 5 minutes.
            clock: what the age of the kept certificates goes by. Tokens go by this machine's time in any case.

        Raises:
            TypeError, ValueError: an argument that would let in nobody, or everybody.
        """
        audiences = _names("audience", audience)
        accounts = _accounts("service_account", service_account)
        if not audiences or not accounts:
            raise ValueError(
                "audience and service_account must name at least one each: nobody else is let in"
            )
        if not isinstance(clock_skew, timedelta):
            raise TypeError(f"clock_skew must be a timedelta, not {type(clock_skew).__name__}")
        if not timedelta(0) <= clock_skew <= _MAX_SKEW:
            raise ValueError(f"clock_skew must be between 0 and {_MAX_SKEW}, not {clock_skew}")
        url = GOOGLE_CERTS_URL if certs_url is None else certs_url
        if not isinstance(url, str):
            raise TypeError(f"certs_url must be a str, not {type(url).__name__}")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"certs_url must be a URL such as {GOOGLE_CERTS_URL}, not {url!r}")
        return _Verify(
            audiences | {form for audience in audiences for form in _slashed(audience)},
            accounts,
            accounts | _accounts("sweep_service_account", sweep_service_account),
            Certificates(url, clock=clock or SystemClock()),
            int(clock_skew.total_seconds()),
        )

    @staticmethod
    def iam(
        *,
        service_account: str | Collection[str] = (),
        sweep_service_account: str | Collection[str] = (),
    ) -> Auth:
        """IAM has checked the caller: for a Cloud Run service that requires authentication ("no unauthenticated").

        IAM lets in whoever is an invoker of the service, and takes the signature off the token, so that it cannot be
        verified again. A request without any bearer token is refused all the same: it cannot have come through IAM.
        That proves nothing against a forger, and catches a service that was opened, or a way around IAM.

        Args:
            service_account: of the invokers that IAM lets in, only these may call (by the token that IAM checked); all
                of them by default. Give it where the service has other invokers, for other paths.
            sweep_service_account: who may call `/eventbox/sweep` besides, where `service_account` is given.

        Raises:
            TypeError, ValueError: not an e-mail address, or a `sweep_service_account` alone.
        """
        accounts = _accounts("service_account", service_account)
        sweepers = _accounts("sweep_service_account", sweep_service_account)
        if sweepers and not accounts:
            raise ValueError("without service_account every invoker may sweep already")
        return _Iam(accounts, accounts | sweepers)

    @staticmethod
    def none() -> Auth:
        """Everybody may call. For emulators: a `Worker` refuses it unless its box's client has no credentials."""
        return _Nobody()

    def check_client(self, client: AsyncClient) -> None:  # noqa: B027 - nearly all will do everywhere
        """See whether this will do for a worker of this client; `Worker` calls it.

        Raises:
            ValueError: it must not be used there.
        """

    @abc.abstractmethod
    async def authenticate(self, headers: Headers, purpose: Purpose) -> str:
        """Who is calling: the account's e-mail address, "" where that is not known.

        Raises:
            RefusedError: not to be let in; nothing is to be done.
            CertificatesUnavailableError: nobody can tell now.
        """


class _Verify(Auth):
    def __init__(
        self,
        audiences: frozenset[str],
        accounts: frozenset[str],
        sweepers: frozenset[str],
        certificates: Certificates,
        clock_skew_s: int,
    ) -> None:
        self._audiences = sorted(audiences)
        self._accounts = accounts
        self._sweepers = sweepers
        self._certificates = certificates
        self._clock_skew_s = clock_skew_s

    async def authenticate(self, headers: Headers, purpose: Purpose) -> str:
        token = _bearer_token(headers, "authorization")
        if token.endswith(_REMOVED):
            raise RefusedError(
                401,
                "the token's signature was removed by Google: the service is behind Cloud Run's IAM, which has checked "
                "the token already; use Auth.iam() there",
                misconfigured=True,
            )
        # what a token says of itself picks the key and is trusted no further
        certificates = await self._certificates.having(_key_id(token))
        try:
            claims = jwt.decode(
                token,
                certs=certificates,
                audience=self._audiences,
                clock_skew_in_seconds=self._clock_skew_s,
            )
        except Exception as error:  # a forger's token may break google-auth in any way
            raise RefusedError(401, f"the token is not valid: {_brief(error)}") from error
        if claims.get("iss") not in _ISSUERS:
            raise RefusedError(401, f"the token was issued by {_brief(claims.get('iss'))}, not by Google")
        if claims.get("email_verified") is not True:
            raise RefusedError(401, "the token has no verified e-mail address")
        return _check_account(claims, self._sweepers if purpose is Purpose.SWEEP else self._accounts)


class _Iam(Auth):
    def __init__(self, accounts: frozenset[str], sweepers: frozenset[str]) -> None:
        self._accounts = accounts
        self._sweepers = sweepers

    async def authenticate(self, headers: Headers, purpose: Purpose) -> str:
        # where both are sent, Cloud Run checks this one alone, and passes the other on as it came
        checked = "x-serverless-authorization"
        token = _bearer_token(headers, checked if checked in headers else "authorization")
        allowed = self._sweepers if purpose is Purpose.SWEEP else self._accounts
        if not allowed:
            return ""
        try:
            claims = jwt.decode(token, verify=False)
        except Exception as error:
            raise RefusedError(401, f"the token cannot be read: {_brief(error)}") from error
        return _check_account(claims, allowed)


class _Nobody(Auth):
    def check_client(self, client: AsyncClient) -> None:
        if not isinstance(client._credentials, AnonymousCredentials):
            raise ValueError(
                "Auth.none() lets everybody in, and this worker's Firestore client has real credentials "
                f"({type(client._credentials).__name__}): it is for emulators only. Use Auth.verify(...) for a service "
                "that anybody can reach, or Auth.iam() behind Cloud Run's IAM"
            )

    async def authenticate(self, headers: Headers, purpose: Purpose) -> str:
        return ""


def _bearer_token(headers: Headers, header: str) -> str:
    values = headers.getlist(header)
    if not values:
        raise RefusedError(401, f"the request has no {header} header")
    if len(values) > 1:
        raise RefusedError(401, f"the request has {len(values)} {header} headers")
    scheme, _, token = values[0].partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise RefusedError(401, f"the {header} header holds no bearer token")
    if len(token) > _MAX_TOKEN_CHARS:
        raise RefusedError(401, f"the token has {len(token)} characters")
    return token


def _key_id(token: str) -> str:
    try:
        key_id = jwt.decode_header(token).get("kid")
    except Exception as error:
        raise RefusedError(401, f"the token cannot be read: {_brief(error)}") from error
    if not isinstance(key_id, str) or not key_id:
        raise RefusedError(401, "the token does not say which key it is signed with")
    return key_id


def _check_account(claims: Mapping[str, Any], allowed: Collection[str]) -> str:
    email = claims.get("email")
    if not isinstance(email, str):
        raise RefusedError(401, "the token has no e-mail address")
    if email not in allowed:
        raise RefusedError(
            403, f"{_brief(email)} is not allowed to call; {', '.join(sorted(allowed))} would be"
        )
    return email


def _brief(value: object) -> str:
    """What a stranger sent, for the log: not at any length, and never a whole token."""
    if isinstance(value, exceptions.GoogleAuthError) and value.args:
        value = value.args[0]
    text = repr(value) if not isinstance(value, str) else value
    text = " ".join(text.split())
    return text if len(text) <= 200 else text[:200] + "..."


def _names(argument: str, value: str | Collection[str]) -> frozenset[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, Collection) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"{argument} must be a str, or several, not {value!r}")
    if not all(name.strip() == name and name for name in names):
        raise ValueError(f"{argument} must not be empty, nor have spaces around it: {value!r}")
    return frozenset(names)


def _slashed(audience: str) -> tuple[str, ...]:
    """A URL without a slash at its end and with one: `TaskQueue.target` leaves it out, and its tokens do not."""
    url = audience.rstrip("/")
    return (url, f"{url}/") if url.startswith(("http://", "https://")) else ()


def _accounts(argument: str, value: str | Collection[str]) -> frozenset[str]:
    names = _names(argument, value)
    for name in names:
        if not name.partition("@")[0] or not name.partition("@")[2]:
            raise ValueError(
                f"{argument} must be an e-mail address such as tasks@project.iam.gserviceaccount.com, not {name!r}"
            )
    return names

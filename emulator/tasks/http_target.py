"""A queue's own HTTP target, which goes before what its tasks say: URL, method, headers and token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from emulator.tasks import protos
from emulator.tasks.limits import STAY_IN_URLS, check_headers, invalid

_SCHEMES = {1: "http", 2: "https"}
_HTTPS = "https"
_IF_NOT_EXISTS = 1


def check_http_target(target: Any) -> None:
    """INVALID_ARGUMENT for a target that Cloud Tasks does not take."""
    uri = target.uri_override
    if uri.HasField("host") and not uri.host:
        raise invalid("UriOverride.host cannot be empty.")
    if uri.HasField("host") and any(char in "/?#@ \t\r\n" for char in uri.host):
        raise invalid(f"UriOverride.host {uri.host!r} is no host.")
    if uri.HasField("port") and not 0 <= uri.port <= 65_535:
        raise invalid(f"UriOverride.port {uri.port} is no port.")
    if target.http_method not in protos.METHODS:
        raise invalid(f"HttpTarget.http_method {target.http_method} is none that there is.")
    check_headers({each.header.key: each.header.value for each in target.header_overrides})
    match target.WhichOneof("authorization_header"):
        case "oidc_token" if not (target.oidc_token.service_account_email and target.oidc_token.audience):
            raise invalid("HttpTarget.oidc_token needs both service_account_email and audience.")
        case "oauth_token" if not (target.oauth_token.service_account_email and target.oauth_token.scope):
            raise invalid("HttpTarget.oauth_token needs both service_account_email and scope.")


def overridden_url(target: Any, url: str) -> str:
    """Where a task goes that was created for this URL.

    With IF_NOT_EXISTS, the queue says only what the task's URL does not. A URL that cannot be taken apart stays as it
    is, and fails when it is called.
    """
    uri = target.uri_override
    if not uri.ByteSize():
        return url
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return url
    keep = uri.uri_override_enforce_mode == _IF_NOT_EXISTS
    scheme, host, path, query = parts.scheme, parts.hostname or "", parts.path, parts.query
    if uri.HasField("scheme") and not keep:
        scheme = _SCHEMES.get(uri.scheme, _HTTPS)
    if uri.HasField("host") and not keep:
        host = uri.host
    if uri.HasField("port") and not (keep and port):
        port = uri.port or None
    if uri.HasField("path_override") and not (keep and path):
        path = uri.path_override.path
        path = f"/{path}" if path and not path.startswith("/") else path
    if uri.HasField("query_override") and not (keep and query):
        query = uri.query_override.query_params
    if ":" in host:
        host = f"[{host}]"
    netloc = host if port is None else f"{host}:{port}"
    return quote(urlunsplit((scheme, netloc, path, query, "")), safe=STAY_IN_URLS)


def overridden_headers(target: Any, headers: Mapping[str, str]) -> dict[str, str]:
    """A task's headers, with the queue's in the place of those of the same names."""
    own = {each.header.key.lower() for each in target.header_overrides}
    kept = {name: value for name, value in headers.items() if name.lower() not in own}
    return kept | {each.header.key: each.header.value for each in target.header_overrides}

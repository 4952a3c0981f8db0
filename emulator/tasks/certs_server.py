"""The public key of the emulator's tokens over HTTP, at the paths and in the formats of Google's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from emulator.tasks.oidc import ISSUER, Signer

X509_PATH = "/oauth2/v1/certs"
JWKS_PATH = "/oauth2/v3/certs"

_CACHE_CONTROL = "public, max-age=60, must-revalidate"
"""Google's say hours. An emulator that starts anew without a data folder has another key."""

_STOPPING = 0.5
"""Seconds that requests under way have when the server stops."""


@asynccontextmanager
async def certs_server(signer: Signer, address: str) -> AsyncIterator[str]:
    """Serve on an address such as "127.0.0.1:0" (0: any free port); gives the URL of the certificates.

    `/oauth2/v1/certs` maps the key's ID to a certificate in PEM, which is what google-auth's `certs_url` takes without
    further packages; `/oauth2/v3/certs` is a JSON Web Key Set; `/.well-known/openid-configuration` tells of it.

    Raises:
        OSError: the address cannot be bound.
    """
    host, _, port = address.rpartition(":")

    async def x509(request: web.Request) -> web.Response:
        return _json({signer.key.id: signer.key.certificate})

    async def jwks(request: web.Request) -> web.Response:
        return _json({"keys": [signer.key.jwk]})

    async def discovery(request: web.Request) -> web.Response:
        return _json(
            {
                "issuer": ISSUER,
                "jwks_uri": f"http://{host}:{bound[1]}{JWKS_PATH}",
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
            }
        )

    app = web.Application()
    app.add_routes(
        [
            web.get(X509_PATH, x509),
            web.get(JWKS_PATH, jwks),
            web.get("/.well-known/openid-configuration", discovery),
        ]
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOPPING)
    await runner.setup()
    try:
        await web.TCPSite(runner, host.strip("[]"), int(port)).start()
        bound: Any = runner.addresses[0]
        yield f"http://{host}:{bound[1]}{X509_PATH}"
    finally:
        await runner.cleanup()


def _json(content: Any) -> web.Response:
    return web.json_response(content, headers={"Cache-Control": _CACHE_CONTROL})

"""Lets a client of vLLM ask for compressed answers: `vllm serve … --middleware vllm_gzip.GzipOnRequest`.

vLLM compresses nothing by itself; whoever wants it adds the middleware of the framework that vLLM is built on.
So does this, for requests with the header `x-e2e-gzip` only, because all other cases want plain answers and every
client accepts gzip.
"""

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

HEADER = b"x-e2e-gzip"


class GzipOnRequest:
    def __init__(self, app: ASGIApp) -> None:
        self._plain = app
        self._compressing = GZipMiddleware(app, minimum_size=0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = any(name == HEADER for name, _ in scope.get("headers", []))
        await (self._compressing if asked else self._plain)(scope, receive, send)

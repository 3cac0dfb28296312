"""The web application: routes, errors as one line of JSON, and what stands before every request."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from westofn.errors import WestofnError
from westofn.models.ensemble import Ensemble
from westofn.serving.batching import Batcher
from westofn.serving.forms import FORMS, Form
from westofn.serving.reading import Checked, Reader
from westofn.serving.refused import RefusedError

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

HEALTH = "/health"
BODY_SECONDS = 60.0
"""Longest time that the body of a request may take to come."""


@dataclass(frozen=True)
class Served:
    """What is served, and how.

    Attributes:
        name: Name of the model.
        ensemble: The model.
        reader: Reads rows.
        reading: Runs the reader, in one thread.
        batcher: Scores rows.
        max_bytes: Largest body.
        key: What a request must bear; "" if every request is answered.
        started: When the server started, seconds since 1970.
    """

    name: str
    ensemble: Ensemble
    reader: Reader
    reading: Executor
    batcher: Batcher
    max_bytes: int
    key: str = field(default="", repr=False)
    started: int = field(default_factory=lambda: int(time.time()))


def application(served: Served) -> Any:
    """Return the application, for an ASGI server."""
    routes = [
        Route(path, partial(_answer, served, form), methods=["POST"])
        for path, form in FORMS.items()
    ]
    routes += [
        Route(HEALTH, partial(_health, served), methods=["GET"]),
        Route("/v1/models", partial(_models, served), methods=["GET"]),
    ]
    handlers: Any = {
        RefusedError: _refused,
        WestofnError: _unreadable,
        HTTPException: _no_route,
        Exception: _broken,
    }
    return _Gate(Starlette(routes=routes, exception_handlers=handlers), served)


async def _answer(served: Served, form: type[Form], request: Request) -> Response:
    """Read a request, score its rows with others, and answer."""
    asked = form.parse(await request.body())
    if asked.model not in (None, served.name):
        raise RefusedError(f"model {asked.model!r} is not served, {served.name!r} is", 404)
    loop = asyncio.get_running_loop()
    checked = await loop.run_in_executor(served.reading, _checked, served.reader, asked)
    columns = await asyncio.wrap_future(served.batcher.submit(checked.rows, checked.tokens))
    return JSONResponse(asked.answer(served.name, checked, columns))


def _checked(reader: Reader, asked: Form) -> Checked:
    return reader.check(asked.read(reader))


async def _health(served: Served, request: Request) -> Response:
    """Say that the server answers."""
    return JSONResponse({"status": "ok", "model": served.name})


async def _models(served: Served, request: Request) -> Response:
    """List the model, as OpenAI-compatible servers do."""
    limits = served.ensemble.encoder.template
    model = {
        "id": served.name,
        "object": "model",
        "created": served.started,
        "owned_by": "westofn",
        "max_prompt_tokens": limits.max_prompt_tokens,
        "max_response_tokens": limits.max_response_tokens,
    }
    return JSONResponse({"object": "list", "data": [model]})


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    content = {"error": {"message": message, "code": status}}
    return JSONResponse(content, status_code=status, headers=headers)


async def _refused(request: Request, error: RefusedError) -> Response:
    return _error(error.status, str(error), error.headers)


async def _unreadable(request: Request, error: WestofnError) -> Response:
    """Answer an error of the functions that read rows."""
    return _error(422, str(error))


async def _no_route(request: Request, error: HTTPException) -> Response:
    paths = ", ".join([*FORMS, "/v1/models", HEALTH])
    message = f"{request.method} {request.url.path}: {error.detail}; served are {paths}"
    return _error(error.status_code, message)


async def _broken(request: Request, error: Exception) -> Response:
    """Answer after a bug, whose traceback goes to stderr."""
    return _error(500, "the server met an error of its own, which its log shows")


class _Gate:
    """Stands before the application: the key, the queue's room, and the size of the body."""

    def __init__(self, app: Any, served: Served) -> None:
        self.app, self.served = app, served

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http" or scope["path"] == HEALTH:
            await self.app(scope, receive, send)
            return
        with ExitStack() as stack:
            try:
                self._check_key(scope)
                stack.enter_context(self.served.batcher.admitted())
                body = await self._body(scope, receive)
            except RefusedError as error:
                answer = _error(error.status, str(error), {"connection": "close", **error.headers})
                await answer(scope, receive, send)
                return
            await self.app(scope, _replayed(body, receive), send)

    def _check_key(self, scope: Scope) -> None:
        given = dict(scope["headers"]).get(b"authorization", b"")
        if self.served.key and not hmac.compare_digest(given, f"Bearer {self.served.key}".encode()):
            raise RefusedError(
                "the request bears no key or another one; send Authorization: Bearer KEY",
                401,
                www_authenticate="Bearer",
            )

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """Return the body, which may be neither too large nor too slow."""
        length = dict(scope["headers"]).get(b"content-length", b"0")
        body, more = bytearray(), True
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while more and max(int(length), len(body)) <= self.served.max_bytes:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise RefusedError("the connection ended within the body", 400)
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
        except TimeoutError:
            raise RefusedError(
                f"the body did not come within {BODY_SECONDS:g} s; send it at once", 408
            ) from None
        if max(int(length), len(body)) > self.served.max_bytes:
            raise RefusedError(
                f"the body has more than {self.served.max_bytes:,} bytes; send several requests, "
                "or start the server with a larger --max-bytes",
                413,
            )
        return bytes(body)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a channel that gives the body once, and then what the connection says."""
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> dict[str, Any]:
        return pending.pop() if pending else await receive()

    return replay

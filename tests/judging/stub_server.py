"""A chat server on 127.0.0.1 that answers by a script and notes what it was sent."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.loopback import QuietHandler, serving


@dataclass(frozen=True)
class Reply:
    """One reply: status, body, headers, and seconds before it comes."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0


Script = Callable[[int, dict[str, Any]], Reply]


@dataclass
class Stub:
    """The server's address, and the requests that it got."""

    url: str
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    at_once: int = 0


def said(text: str, top: dict[str, float] | None = None) -> Reply:
    """A chat completion of one token, with log-probabilities where they are given."""
    choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": text}}
    if top is not None:
        listed = [{"token": token, "logprob": logprob} for token, logprob in top.items()]
        choice["logprobs"] = {"content": [{"token": text, "logprob": 0.0, "top_logprobs": listed}]}
    return Reply(body={"object": "chat.completion", "choices": [choice]})


def refused(status: int, message: str, **headers: str) -> Reply:
    return Reply(status, {"error": {"message": message}}, headers)


@contextmanager
def serve(script: Script, models: bytes = b"<html>") -> Iterator[Stub]:
    """Run a server whose n-th request (from 0) is answered by `script(n, body)`.

    Asked for its models, it sends `models`, an answer all the same if it is none.
    """
    lock, busy = threading.Lock(), [0]

    class Handler(QuietHandler, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(models)))
            self.end_headers()
            self.wfile.write(models)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(stub.bodies)
                stub.bodies.append({"path": self.path, **body})
                stub.keys.append(self.headers["Authorization"])
                stub.times.append(time.monotonic())
                busy[0] += 1
                stub.at_once = max(stub.at_once, busy[0])
            reply = script(number, body)
            time.sleep(reply.delay)
            with lock:
                busy[0] -= 1
            plain = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            try:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(plain)))
                self.end_headers()
                self.wfile.write(plain)
            except OSError:
                self.close_connection = True  # the client did not wait

    with serving(Handler) as url:
        stub = Stub(f"{url}/v1")
        yield stub

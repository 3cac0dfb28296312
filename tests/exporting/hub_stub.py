"""A hub on 127.0.0.1 with the part of the API that a push uses; it notes what it was sent."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.loopback import QuietHandler, serving

OWNER = "me"


@dataclass
class Hub:
    """The hub: its repositories, and the requests that it got.

    Attributes:
        repositories: models/OWNER/NAME or datasets/OWNER/NAME -> what the hub tells of it.
        commits: Path of the request, and its header and files, of each commit.
        large: Endings of files that the hub wants by LFS.
        refused: Beginning of a path -> status and message with which it is answered.
        warned: What validation of a card remarks.
        stored: SHA-256 -> content of each file that came by LFS.
        tokens: Authorization of each request.
    """

    url: str = ""
    repositories: dict[str, dict[str, Any]] = field(default_factory=dict)
    commits: list[tuple[str, dict[str, Any], dict[str, bytes]]] = field(default_factory=list)
    large: tuple[str, ...] = ()
    refused: dict[str, tuple[int, str]] = field(default_factory=dict)
    warned: list[str] = field(default_factory=list)
    stored: dict[str, bytes] = field(default_factory=dict)
    tokens: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def answer(self, path: str, body: bytes) -> tuple[int, Any]:
        """Return status and JSON of the answer to a request."""
        for start, (status, message) in self.refused.items():
            if path.startswith(start):
                return status, {"error": message}
        parts = path.strip("/").split("/")
        if path == "/api/whoami-v2":
            return 200, {"type": "user", "name": OWNER, "orgs": []}
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": [{"message": text} for text in self.warned]}
        if parts[-2:] == ["preupload", "main"]:
            return 200, {"files": [self._mode(file) for file in json.loads(body)["files"]]}
        if parts[-2:] == ["commit", "main"]:
            return self._commit(path, body)
        if path.endswith("/info/lfs/objects/batch"):
            return 200, {"transfer": "basic", "objects": self._batch(json.loads(body)["objects"])}
        if parts[0] == "lfs":
            self.stored[hashlib.sha256(body).hexdigest()] = body
            return 200, {}
        known = self.repositories.get("/".join(parts[1:]))
        return (200, known) if known else (404, {"error": "Repository not found"})

    def _create(self, asked: dict[str, Any]) -> tuple[int, Any]:
        kind = asked.get("type", "model")
        name = f"{asked['organization'] or OWNER}/{asked['name']}"
        key = f"{kind}s/{name}"
        if key in self.repositories:
            return 409, {"error": "You already created this repo"}
        private = asked["visibility"] == "private"
        files = [{"rfilename": ".gitattributes"}]
        self.repositories[key] = {"id": name, "private": private, "tags": [], "siblings": files}
        address = name if kind == "model" else key
        return 200, {"url": f"{self.url}/{address}"}

    def _mode(self, file: dict[str, Any]) -> dict[str, Any]:
        mode = "lfs" if file["path"].endswith(self.large or ("\0",)) else "regular"
        return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}

    def _batch(self, objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            {**entry, "actions": {"upload": {"href": f"{self.url}/lfs/{entry['oid']}"}}}
            for entry in objects
        ]

    def _commit(self, path: str, body: bytes) -> tuple[int, Any]:
        header: dict[str, Any] = {}
        files: dict[str, bytes] = {}
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                header = value
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            else:
                files[value["path"]] = self.stored[value["oid"]]
        self.commits.append((path, header, files))
        known = self.repositories[path.removeprefix("/api/").removesuffix("/commit/main")]
        known["siblings"] += [{"rfilename": name} for name in files]
        known["tags"] = ["west-of-n"] if b"west-of-n" in files["README.md"] else []
        return 200, {"commitUrl": f"{self.url}/{known['id']}/commit/0", "commitOid": "0"}


@contextmanager
def serve_hub() -> Iterator[Hub]:
    hub, lock = Hub(), threading.Lock()

    class Handler(QuietHandler, BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with lock:
                hub.tokens.append(self.headers["Authorization"])
                hub.paths.append(self.path)
                status, answer = hub.answer(self.path.partition("?")[0], body)
            plain = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(plain)))
            self.end_headers()
            self.wfile.write(plain)

        do_GET = do_POST = do_PUT = _answer  # noqa: N815 (names that the server calls)

    with serving(Handler) as url:
        hub.url = url
        yield hub

"""`python -m westofn serve` on loopback: a real server, asked over HTTP."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.small_models import PROMPTS, VOCABULARY, tiny_scorer
from westofn.models.ensemble import Ensemble
from westofn.models.reward import Scorer
from westofn.models.scoring import score_rows
from westofn.params.comparator import ComparatorName
from westofn.serving.batching import Batcher, BatchLimits
from westofn.serving.reading import Reader
from westofn.serving.run import scored
from westofn.serving.start import listening_socket
from westofn.text.encoding import Encoder

uvicorn = pytest.importorskip("uvicorn", reason="needs uvicorn: pip install -e '.[serve]'")
app = pytest.importorskip(
    "westofn.serving.app", reason="needs starlette: pip install -e '.[serve]'"
)
ROOT = Path(__file__).resolve().parents[2]
KEY = "rm-canary-9f3b61d7"
LIMITS = BatchLimits(tokens=4096, seconds=0.003, requests=64)
WAIT = 120.0


@pytest.fixture
def ensemble(small_encoder: Encoder) -> Ensemble:
    return Ensemble.of(tiny_scorer(small_encoder, "pointwise", seed=3))


@contextmanager
def serving(
    ensemble: Ensemble, limits: BatchLimits = LIMITS, max_bytes: int = 10_000, key: str = ""
) -> Iterator[httpx2.Client]:
    """A server in a thread, and a client of it."""
    batcher = Batcher(lambda rows: scored(ensemble, rows), limits)
    reader = Reader(ensemble, 8, "refuse")
    with (
        listening_socket("127.0.0.1", 0) as listener,
        ThreadPoolExecutor(1) as reading,
        batcher.running(),
    ):
        served = app.Served("rm", ensemble, reader, reading, batcher, max_bytes, key)
        config = uvicorn.Config(
            app.application(served), log_level="error", lifespan="off", ws="none"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            with httpx2.Client(base_url=url, timeout=WAIT, trust_env=False) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()


def line(reply: httpx2.Response) -> str:
    """The message of a refusal, which is one line of JSON."""
    assert len(reply.text.splitlines()) == 1
    error = reply.json()["error"]
    assert error["code"] == reply.status_code
    return str(error["message"])


def test_rewards_do_not_depend_on_what_is_asked_at_the_same_time(ensemble: Ensemble) -> None:
    """32 clients ask at once, for rows of every length; each reward is that of the row alone."""
    choose = random.Random(0)
    rows = [
        (choose.choice(PROMPTS), " ".join(choose.choices(VOCABULARY, k=choose.randint(1, 8))))
        for _ in range(96)
    ]
    (scorer,) = ensemble.members
    alone = [float(score_rows(scorer, [prompt], [response])[0, 0]) for prompt, response in rows]

    def reward(row: tuple[str, str]) -> float:
        reply = client.post("/score", json={"queries": row[0], "documents": row[1]})
        return float(reply.json()["data"][0]["score"])

    with serving(ensemble) as client, ThreadPoolExecutor(32) as clients:
        assert list(clients.map(reward, rows)) == pytest.approx(alone, abs=1e-5)


def test_health_and_models_are_answered(ensemble: Ensemble) -> None:
    with serving(ensemble) as client:
        assert client.get("/health").json() == {"status": "ok", "model": "rm"}
        (model,) = client.get("/v1/models").json()["data"]
    assert (model["id"], model["max_response_tokens"]) == ("rm", 8)


def test_requests_that_are_not_answered_get_one_line(ensemble: Ensemble) -> None:
    body = {"queries": "sun", "documents": "good"}
    with serving(ensemble) as client:
        assert line(client.post("/score", json={**body, "model": "gpt"})) == (
            "model 'gpt' is not served, 'rm' is"
        )
        assert client.post("/score", json={**body, "model": "rm"}).status_code == 200
        assert line(client.get("/score")).startswith("GET /score: Method Not Allowed; served are")
        assert client.post("/v1/embeddings", json=body).status_code == 404
        assert line(client.post("/score", content=b"{")).startswith("the body is no JSON")
        bad_row = client.post("/rewards", json={"rows": [{"prompt": "sun", "response": 3}]})
        assert bad_row.status_code == 422
        assert line(bad_row).startswith("rows[0]")


def test_a_large_body_is_413_whether_or_not_its_length_is_stated(ensemble: Ensemble) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(20):
            yield b" " * 1000

    with serving(ensemble) as client:
        for content in (b" " * 10_001, parts()):
            reply = client.post("/score", content=content)
            assert reply.status_code == 413
            assert line(reply).startswith("the body has more than 10,000 bytes; send several")
        reply = client.post("/score", json={"queries": "sun", "documents": ["good"] * 9})
        assert reply.status_code == 413
        assert line(reply).startswith("9 responses in one request, at most 8 are read")


def test_a_body_that_does_not_come_is_408(
    ensemble: Ensemble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "BODY_SECONDS", 0.1)
    with serving(ensemble) as client:
        address = (client.base_url.host, client.base_url.port)
        with socket.create_connection(address, WAIT) as connection:
            connection.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{")
            assert connection.recv(4096).startswith(b"HTTP/1.1 408 ")


def test_a_full_queue_is_503_with_retry_after(ensemble: Ensemble) -> None:
    """One request may be open, and one is: its body has not ended."""
    with serving(ensemble, BatchLimits(4096, 0.0, requests=1)) as client:
        address = (client.base_url.host, client.base_url.port)
        with socket.create_connection(address, WAIT) as connection:
            connection.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{")
            until = time.monotonic() + WAIT
            while client.post("/score", json={}).status_code != 503 and time.monotonic() < until:
                pass
            reply = client.post("/score", json={})
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
        assert line(reply) == "the queue is full: 1 requests are open; ask again later"
        assert client.get("/health").status_code == 200


def test_a_key_is_needed_where_one_is_set(
    ensemble: Ensemble, capfd: pytest.CaptureFixture[str]
) -> None:
    body = {"queries": "sun", "documents": "good"}
    with serving(ensemble, key=KEY) as client:
        for headers in ({}, {"Authorization": "Bearer other"}, {"Authorization": KEY}):
            reply = client.post("/score", json=body, headers=headers)
            assert (reply.status_code, reply.headers["www-authenticate"]) == (401, "Bearer")
            assert KEY not in line(reply)
        assert client.get("/health").status_code == 200
        assert client.get("/v1/models").status_code == 401
        allowed = client.post("/score", json=body, headers={"Authorization": f"Bearer {KEY}"})
        assert allowed.status_code == 200
    printed = capfd.readouterr()
    assert KEY not in printed.out + printed.err


def command(*arguments: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "westofn", "serve", *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT), "WESTOFN_DEVICE": "cpu"} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


OPEN = "whoever reaches 0.0.0.0 may ask; --key-variable sets a key\n"


@pytest.mark.parametrize(
    ("number", "host", "warning"),
    [(signal.SIGTERM, "127.0.0.1", ""), (signal.SIGINT, "0.0.0.0", OPEN)],
)
def test_a_signal_ends_the_server_with_one_line(
    number: signal.Signals,
    host: str,
    warning: str,
    saved_models: Path,
    scorers: Callable[[ComparatorName], Scorer],
) -> None:
    folder = saved_models / "pointwise"
    with command(str(folder), "--host", host, "--port", "0", "--name", "rm") as server:
        assert server.stdout
        address = server.stdout.readline()
        assert address.startswith(f"rm is served at http://{host}:")
        assert not warning or server.stdout.readline() == warning
        url = address.split()[-1].replace(host, "127.0.0.1")
        row = {"prompt": "sun", "response": "good"}
        reply = httpx2.post(f"{url}/rewards", json={"rows": [row]}, trust_env=False, timeout=WAIT)
        server.send_signal(number)
        out, err = server.communicate(timeout=WAIT)
    assert reply.status_code == 200
    assert (out, server.returncode) == ("", 128 + number)
    assert err == "westofn serve: interrupted; requests that had begun were answered\n"
    expected = float(score_rows(scorers("pointwise"), ["sun"], ["good"])[0, 0])
    assert reply.json()["rows"] == [{"reward": pytest.approx(expected, abs=1e-5)}]

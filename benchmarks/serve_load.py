"""Requests a second and latency of `westofn serve` on loopback, beside scoring without a server.

    python -m benchmarks.serve_load --model data/loop/k1/rm [--requests 200]

One process serves; another one asks with 1, 8 and 32 clients, each of which sends its next request
when the last one is answered. A request has one row. The rows are prompts of the embedded world
with responses of one policy, in the order of the file; each client takes the next one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import quantiles
from typing import Annotated

import polars as pl
import typer

from westofn.models.ensemble import load_reward_models, mean_rewards
from westofn.runtime import load_runtime, set_up_torch

CLIENTS = (1, 8, 32)
AT_ONCE = 512
"""Rows in one call where no server stands between."""

Row = tuple[str, str]


@dataclass(frozen=True)
class Load:
    """What a number of clients measured.

    Attributes:
        clients: Clients that ask at the same time.
        rate: Answered requests a second.
        p50: Median of the time from request to answer, seconds.
        p95: Its 95th percentile.
    """

    clients: int
    rate: float
    p50: float
    p95: float


@contextmanager
def server(model: Path) -> Iterator[str]:
    """Serve a model in a process of its own; its address."""
    command = [sys.executable, "-m", "westofn", "serve", str(model), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


def ask(url: str, row: Row) -> tuple[float, float]:
    """Ask for the reward of a row; the time it took, and the reward."""
    body = json.dumps({"queries": row[0], "documents": row[1]}).encode()
    request = urllib.request.Request(f"{url}/score", body, {"Content-Type": "application/json"})
    start = time.perf_counter()
    with urllib.request.urlopen(request, timeout=600) as reply:
        answer = json.load(reply)
    return time.perf_counter() - start, float(answer["data"][0]["score"])


def load(url: str, rows: Sequence[Row], clients: int) -> Load:
    """Let clients ask for all rows."""
    lock, source = threading.Lock(), iter(rows)

    def client(_: int) -> list[float]:
        times: list[float] = []
        while True:
            with lock:
                row = next(source, None)
            if row is None:
                return times
            times.append(ask(url, row)[0])

    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        times = [seconds for taken in pool.map(client, range(clients)) for seconds in taken]
    cuts = quantiles(times, n=20)
    return Load(clients, len(rows) / (time.perf_counter() - start), cuts[9], cuts[18])


def direct(model: Path, rows: Sequence[Row], at_once: int) -> tuple[float, list[float]]:
    """Rows a second without a server, so many in one call; and the rewards."""
    ensemble = load_reward_models(model, set_up_torch(load_runtime()))
    rewards: list[float] = []
    start = time.perf_counter()
    waiting = iter(rows)
    while part := list(islice(waiting, at_once)):
        prompts, responses = zip(*part, strict=True)
        pools = [[response] for response in responses]
        rewards += mean_rewards(ensemble, prompts, pools)[:, 0].tolist()
    return len(rows) / (time.perf_counter() - start), rewards


def main(
    model: Annotated[Path, typer.Option(help="folder of a pointwise reward model")],
    candidates: Annotated[Path, typer.Option(help="table candidates")] = Path(
        "data/loop/k1/candidates.parquet"
    ),
    prompts: Annotated[Path, typer.Option(help="table prompts")] = Path(
        "data/prepared/prompts.parquet"
    ),
    requests: Annotated[int, typer.Option(min=40, help="requests of each number of clients")] = 400,
) -> None:
    """Print the table of docs/serving.md."""
    texts = dict(pl.read_parquet(prompts).select("prompt_id", "prompt").iter_rows())
    drawn = pl.read_parquet(candidates).select("prompt_id", "response").unique(maintain_order=True)
    sampled = drawn.sample(requests, seed=0)
    rows = [(texts[name], response) for name, response in sampled.iter_rows()]
    alone, expected = direct(model, rows, 1)
    together, _ = direct(model, rows, AT_ONCE)
    print("| | rows/s | p50 ms | p95 ms |\n|---|---:|---:|---:|")
    print(f"| no server, one row a call | {alone:.0f} | | |")
    print(f"| no server, {AT_ONCE} rows a call | {together:.0f} | | |")
    with server(model) as url:
        worst = max(abs(ask(url, row)[1] - r) for row, r in zip(rows, expected, strict=True))
        for clients in CLIENTS:
            taken = load(url, rows, clients)
            print(
                f"| {clients} client{'s' * (clients > 1)} | {taken.rate:.0f} | "
                f"{taken.p50 * 1000:.1f} | {taken.p95 * 1000:.1f} |"
            )
    print(f"\nlargest difference to scoring without a server: {worst:.1g}")


if __name__ == "__main__":
    typer.run(main)

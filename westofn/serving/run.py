"""Load a model and serve its rewards until a signal ends the server."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from westofn.errors import ModelError
from westofn.execution import interrupts
from westofn.models.ensemble import Ensemble, load_reward_models
from westofn.models.scoring import RESPONSES_A_BATCH
from westofn.progress import silent
from westofn.runtime import load_runtime, set_up_torch
from westofn.scoring.rows import Faults, Row
from westofn.scoring.stream import new_columns
from westofn.serving.batching import Batcher, BatchLimits, NewColumns
from westofn.serving.reading import Reader, TooLong
from westofn.serving.refused import RefusedError

ENDING_SECONDS = 30
"""Longest time that requests get to be answered after a signal."""
LOOPBACK = ("127.0.0.1", "::1")


@dataclass(frozen=True)
class Settings:
    """How a model is served.

    Attributes:
        model: Folder of a reward model or an ensemble.
        name: Name of the model in requests and answers.
        batch: See `BatchLimits`.
        max_rows: Most responses in one request.
        max_bytes: Largest body.
        too_long: What happens to rows beyond the limits of training.
    """

    model: Path
    name: str
    batch: BatchLimits
    max_rows: int
    max_bytes: int
    too_long: TooLong


def serve_model(
    settings: Settings, listener: socket.socket, key: str, say: Callable[[str], object]
) -> None:
    """Serve a model until a signal ends the server; open requests are answered first.

    Args:
        settings: See `Settings`.
        listener: A socket that listens.
        key: What requests must bear; "" if every request is answered.
        say: Prints the address, and a warning if anybody may ask.

    Raises:
        ModelError: The folder contains no reward model.
    """
    import uvicorn

    from westofn.serving.app import Served, application

    with ThreadPoolExecutor(1, "reading") as reading:
        ensemble = load_reward_models(settings.model, set_up_torch(load_runtime()))
        batcher = Batcher(partial(scored, ensemble), settings.batch)
        reader = Reader(ensemble, settings.max_rows, settings.too_long)
        served = Served(settings.name, ensemble, reader, reading, batcher, settings.max_bytes, key)
        server = uvicorn.Server(
            uvicorn.Config(
                application(served),
                log_level="error",
                access_log=False,
                server_header=False,
                lifespan="off",
                ws="none",
                timeout_graceful_shutdown=ENDING_SECONDS,
            )
        )
        host, port = listener.getsockname()[:2]
        say(f"{settings.name} is served at http://{f'[{host}]' if ':' in host else host}:{port}")
        if not key and host not in LOOPBACK:
            say(f"whoever reaches {host} may ask; --key-variable sets a key")
        with (
            interrupts.keeping("requests that had begun were answered"),
            silent(),
            batcher.running(),
        ):
            server.run(sockets=[listener])


def scored(ensemble: Ensemble, rows: Sequence[Row]) -> NewColumns:
    """Compute the columns that `score` would add to rows of any form.

    Raises:
        RefusedError: The model cannot read a row, or is damaged.
    """
    columns: dict[int, Mapping[str, object]] = {}
    for form in dict.fromkeys(row.form for row in rows):
        places = [place for place, row in enumerate(rows) if row.form == form]
        unscored = Faults()
        try:
            added = new_columns(
                ensemble, [rows[place] for place in places], RESPONSES_A_BATCH, unscored
            )
        except ModelError as error:
            raise RefusedError(str(error), 500) from None
        if unscored.count:
            raise RefusedError(unscored.first)
        columns |= dict(zip(places, added, strict=True))
    return [columns[place] for place in range(len(rows))]

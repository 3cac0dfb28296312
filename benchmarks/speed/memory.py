"""Peak memory of stages on large tables: of a fresh process each, that does one of them.

    python -m benchmarks.speed.memory filter FOLDER

`nothing` has imported what the others do. `sample` makes one table of the shards of `make_shards`
and counts its rows, without a policy. The reward model of `won_select` is replaced by given
rewards; its tokenizer is one that counts words.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import polars as pl
import torch

from benchmarks.speed.tables import FILTER, read_rewards
from stages.sample import counts_of
from westofn.artifacts.candidates import CANDIDATES
from westofn.artifacts.decisions import DECISIONS
from westofn.artifacts.nested_pairs import NESTED_PAIRS
from westofn.artifacts.pairs import PAIRS
from westofn.artifacts.pool_margins import POOL_MARGINS
from westofn.artifacts.pools import PROMPTS_AT_ONCE, PoolFile, Pools, pool_rows
from westofn.artifacts.preferences import PREFERENCES
from westofn.artifacts.prompts import PROMPTS
from westofn.core.comparators import COMPARATORS
from westofn.pairing.filters import filter_frames
from westofn.pairing.frames import margins_frame, nested_frame, pairs_frame
from westofn.pairing.select import select_in_shards
from westofn.pairing.teacher import Panel


def measure(folder: Path, steps: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Run steps in a process of its own each; none are all, in the order of `STEPS`.

    Returns:
        Name, seconds of processor time and peak resident memory in MiB of each.
    """
    figures = []
    for step in steps or STEPS:
        command = [sys.executable, "-m", "benchmarks.speed.memory", step, str(folder)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        figures.append({"step": step, **json.loads(done.stdout.splitlines()[-1])})
        print(figures[-1])
    return figures


def _nothing(_: Path) -> None:
    return


def _read(folder: Path) -> None:
    rows = sum(part.height for part in CANDIDATES.parts(_candidates(folder), PROMPTS_AT_ONCE))
    assert rows == read_rewards(folder).size


def _sample(folder: Path) -> None:
    out = folder / "gathered.parquet"
    CANDIDATES.gather(sorted((folder / "shards").iterdir()), out)
    counts = counts_of(out, _prompts(folder), _words())
    assert counts["candidates"] == read_rewards(folder).size


def _won_select(folder: Path) -> None:
    rewards, done = torch.from_numpy(read_rewards(folder)), 0

    def outputs(block: Pools) -> list[torch.Tensor]:
        nonlocal done
        done += len(block)
        return [rewards[done - len(block) : done, :, None]]

    pools = PoolFile(_candidates(folder), _prompts(folder), rewards.shape[1])
    given = SimpleNamespace(outputs=outputs)
    teacher: Any = SimpleNamespace(
        encoder=_words().encoder,
        panels=[Panel(COMPARATORS["pointwise"], 1)],
        weight=0.0,
        load=lambda: given,
    )
    with TemporaryDirectory(dir=folder) as shards:
        chosen = select_in_shards(teacher, pools, Path(shards), selector="west", seed=0)
    PAIRS.write(pairs_frame(chosen), folder / "pairs.parquet")
    NESTED_PAIRS.write(nested_frame(chosen), folder / "nested_pairs.parquet")
    POOL_MARGINS.write(margins_frame(chosen), folder / "pool_margins.parquet")


def _filter(folder: Path) -> None:
    rows = pool_rows(_candidates(folder), _prompts(folder), PROMPTS_AT_ONCE)
    filtered = filter_frames(PAIRS.read(folder / "pairs.parquet"), rows, FILTER)
    PREFERENCES.write(filtered.preferences("k1"), folder / "preferences.parquet")
    DECISIONS.write(filtered.decisions, folder / "decisions.parquet")


def peak_mebibytes() -> int:
    """Return the peak resident memory of this program, MiB; Linux alone tells it.

    `ru_maxrss` would not do: a process inherits it from the one that started it.
    """
    status = Path("/proc/self/status").read_text("utf-8")
    peak = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    assert peak, "no VmHWM in /proc/self/status"
    return round(int(peak.group(1)) / 1024)


STEPS = {
    "nothing": _nothing,
    "sample": _sample,
    "read": _read,
    "won_select": _won_select,
    "filter": _filter,
}


def _candidates(folder: Path) -> Path:
    return folder / "candidates.parquet"


def _prompts(folder: Path) -> pl.DataFrame:
    return PROMPTS.read(folder / "prompts.parquet")


def _words() -> Any:
    """A policy with an encoder of words and no network."""
    encoder = SimpleNamespace(
        template=SimpleNamespace(max_response_tokens=32),
        response_lengths=lambda pool: [text.count(" ") + 1 for text in pool],
        responses=lambda pool: [text.split(" ") for text in pool],
        trims=lambda prompts: [False] * len(prompts),
    )
    return SimpleNamespace(encoder=encoder)


if __name__ == "__main__":
    torch.set_num_threads(1)
    STEPS[sys.argv[1]](Path(sys.argv[2]))
    print(json.dumps({"seconds": round(time.process_time(), 1), "mebibytes": peak_mebibytes()}))

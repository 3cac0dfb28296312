"""The default pipeline over several seeds: `make seeds`.

Each seed is a DVC experiment (`dvc exp run --temp -S seed=S`): the workspace stays as it is, and
what has run before with the same code and parameters comes from DVC's cache. Seeds run side by
side, one thread each. Writes docs/results.json (every number of every seed) and docs/results.md
(means with intervals).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from westofn.experiments import Experiment, ExperimentError, read_output, run_all
from westofn.report.seeds import COLUMNS, Metrics, difference, estimate, markdown_table

ARMS = {"hf50": "HF50", "k1": "HF50 + West-of-N", "hf100": "HF100", "base": "base (pairwise)"}
DEFAULT_SEEDS = "0,1,2,3,4"
PAGE = """# Results

{command}

{seeds} seeds of the default pipeline; each seed writes its own world, trains its own models and is
tested on its own test set. Means with 95 % t-intervals over seeds; differences are paired by seed.
Accuracies and win rates in percent, gold in units of the gold reward. Every number of every seed is
in [results.json](results.json).

{table}

{reading}

## Synthetic labels

West-of-N pairs whose gold reward agrees with the label, by pool size N, against two random
candidates in the base model's order (the N = 2 control):

{labels}
"""


def main(
    seeds: Annotated[str, typer.Option(help="comma-separated")] = DEFAULT_SEEDS,
    jobs: Annotated[int, typer.Option(help="experiments at a time")] = os.cpu_count() or 1,
    out: Annotated[Path, typer.Option(help="folder of the results")] = Path("docs"),
) -> None:
    """Run the seeds and write the results."""
    names = [int(seed) for seed in seeds.split(",")]
    found = _run(names, jobs)
    runs = list(found.values())
    text = json.dumps(found, indent=1, sort_keys=True)
    (out / "results.json").write_text(text + "\n", encoding="utf-8")
    command = "make seeds" if seeds == DEFAULT_SEEDS else f"make seeds SEEDS={seeds}"
    page = PAGE.format(
        command=f"Made by `{command}`.",
        seeds=len(runs),
        table=markdown_table(runs, ARMS, "hf50"),
        reading="\n".join(f"- {line}" for line in _reading(runs)),
        labels=_labels(runs),
    )
    (out / "results.md").write_text(page, encoding="utf-8")
    typer.echo(f"written: {out / 'results.md'}, {out / 'results.json'}")


def _run(seeds: list[int], jobs: int) -> dict[str, Metrics]:
    """Every seed's metrics.json, in the order of the seeds."""
    found: dict[str, Metrics] = {}

    def finished(experiment: Experiment, revision: str) -> None:
        seed = str(experiment.settings["seed"])
        found[seed] = json.loads(read_output(revision, "metrics.json"))
        typer.echo(f"seed {seed} done")

    try:
        run_all([Experiment(f"seed-{seed}", {"seed": seed}) for seed in seeds], jobs, finished)
    except ExperimentError as error:
        sys.exit(str(error))
    return {str(seed): found[str(seed)] for seed in seeds}


def _reading(runs: list[Metrics]) -> list[str]:
    """What the differences to HF50 say: an effect only where its interval excludes zero."""
    lines = []
    for arm in ("k1", "hf100"):
        for metric, title, scale in COLUMNS:
            found = difference(runs, arm, "hf50", metric)
            if found is None:
                continue
            low, high = found.mean - found.half, found.mean + found.half
            verdict = "above" if low > 0 else "below" if high < 0 else "not told apart from"
            span = f"{scale * low:+.2f} to {scale * high:+.2f}"
            lines.append(f"{ARMS[arm]} is {verdict} HF50 on {title} ({span}).")
    return lines


def _labels(runs: list[Metrics]) -> str:
    """Label correctness by N as a table."""
    keys = [key for key in runs[0]["k1"] if key.startswith("label_accuracy_n")]
    sizes = sorted(int(key.removeprefix("label_accuracy_n")) for key in keys)
    cells = {f"N = {n}": [run["k1"][f"label_accuracy_n{n}"] for run in runs] for n in sizes}
    cells["random pairs"] = [run["k1"]["label_accuracy_random"] for run in runs]
    head = "| " + " | ".join(cells) + " |"
    found = [estimate(values) for values in cells.values()]
    row = "| " + " | ".join(f"{100 * e.mean:.1f} ± {100 * e.half:.1f}" for e in found) + " |"
    return "\n".join([head, "|" + "---:|" * len(cells), row])


if __name__ == "__main__":
    typer.run(main)

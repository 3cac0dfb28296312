"""The outputs of a run, as far as an export reads them, made without a run."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from westofn.artifacts.json_file import write_json
from westofn.artifacts.preferences import PREFERENCES
from westofn.artifacts.prompts import PROMPTS

DIALOGUE = "\n\nHuman: Why?\n\nAssistant: Why not?\n\nHuman: Oh.\n\nAssistant:"


def preferences(
    names: list[str], prompts: list[str], label_source: str, source: str
) -> pl.DataFrame:
    """One pair a prompt, `good NAME` over `bad NAME`."""
    return PREFERENCES.frame({
        "pair_id": [f"{source}-{name}" for name in names],
        "prompt_id": names,
        "prompt": prompts,
        "chosen": [f"good {name}" for name in names],
        "rejected": [f"bad {name}" for name in names],
        "split": ["train"] * len(names),
        "source": [source] * len(names),
        "label_source": [label_source] * len(names),
        "p_chosen": [None] * len(names),
    })  # fmt: skip


def write_run(folder: Path) -> Path:
    """Two human pairs in D_L, and two synthetic ones kept of four; the folder."""
    human = preferences(["a", "b"], ["Ask a", DIALOGUE], "human", "world")
    other_half = preferences(["c", "d"], ["Ask c", "Ask d\n"], "human", "world")
    PREFERENCES.write(pl.concat([human, other_half]), folder / "prepared" / "preferences.parquet")
    unlabeled = {
        "prompt_id": ["c", "d"], "prompt": ["Ask c", "Ask d\n"], "split": ["unlabeled"] * 2
    }  # fmt: skip
    PROMPTS.write(PROMPTS.frame(unlabeled), folder / "prepared" / "prompts.parquet")
    k1 = folder / "loop" / "k1"
    synthetic = preferences(["c", "d"], ["Ask c", "Ask d\n"], "west_of_n", "k1")
    PREFERENCES.write(synthetic, k1 / "synthetic" / "preferences.parquet")
    write_json(
        {
            "pairs_selected": 4,
            "pairs_kept": 2,
            "dropped": {"confidence": 1, "identical": 1},
            "confidence_threshold": 0.875,
        },
        k1 / "synthetic" / "summary.json",
    )
    write_json(
        {
            "n_candidates": 64,
            "method": "exact",
            "selector": "west",
            "comparator": "embedding",
            "members": 2,
            "pessimism": 0.5,
            "p_chosen_quantiles": {"0.5": 0.75},
        },
        k1 / "pairs" / "summary.json",
    )
    return folder

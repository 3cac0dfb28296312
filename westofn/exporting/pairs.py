"""An iteration's preference pairs in a file, and the dataset card beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from westofn.artifacts.atomic import write_bytes
from westofn.artifacts.json_file import read_json
from westofn.artifacts.preferences import PREFERENCES
from westofn.artifacts.prompts import PROMPTS
from westofn.errors import DataError, ParameterError
from westofn.exporting.cards import (
    CARD,
    PAPER,
    check_card,
    parameters,
    table,
    versions,
    write_card,
)
from westofn.exporting.forms import SUFFIXES, Form, encoded, in_form
from westofn.exporting.lineage import LOCK, Lineage, lineage_of
from westofn.sources.data import labeled_half

Include = Literal["synthetic", "mixed"]
SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M"}
"""A hub's names of sizes, by the number of rows below which they hold."""


@dataclass(frozen=True)
class Exported:
    """What was written: pairs by their label_source, and where the card is."""

    counts: Mapping[str, int]
    card: Path


def export_pairs(
    out: Path, *, data: Path, iteration: str, form: Form, include: Include, lock: Path = LOCK
) -> Exported:
    """Write an iteration's pairs and a dataset card beside them.

    Args:
        out: A .jsonl or .parquet file; README.md goes into its folder.
        data: The pipeline's outputs.
        iteration: Whose synthetic pairs.
        form: See `forms`.
        include: The synthetic pairs, or also the human ones that train the student with them.
        lock: DVC's record of the run.

    Raises:
        ParameterError: An argument is none of those known.
        DataError: A table is missing or broken, or the folder holds another README.md.
    """
    if out.suffix not in SUFFIXES:
        raise ParameterError(f"{out}: needs a name that ends with {' or '.join(SUFFIXES)}")
    check_card(out.parent / CARD, out.name)
    synthetic = _synthetic(data, iteration)
    pairs = PREFERENCES.read(synthetic / "preferences.parquet")
    if include == "mixed":
        pairs = pl.concat([_human(data), pairs])
    rows = in_form(pairs, form)
    write_bytes(encoded(rows, out.suffix), out)
    counted = pairs["label_source"].value_counts().sort("label_source")
    counts: dict[str, int] = dict(counted.iter_rows())
    about = _About(
        out=out,
        iteration=iteration,
        form=form,
        columns=rows.columns,
        counts=counts,
        sources=sorted(set(pairs["source"])),
        selection=read_json(synthetic.parent / "pairs" / "summary.json", "won_select"),
        filtering=read_json(synthetic / "summary.json", "filter"),
        lineage=lineage_of(synthetic, lock),
    )
    write_card(out.parent, out.name, _header(about), _body(about))
    return Exported(counts, out.parent / CARD)


def _synthetic(data: Path, iteration: str) -> Path:
    """Where an iteration's synthetic pairs are."""
    folder = data / "loop" / iteration / "synthetic"
    known = sorted(path.parent.name for path in data.glob("loop/*/synthetic"))
    if not known:
        raise DataError(f"{data}/loop has no synthetic pairs; run `dvc repro`, or mend --data")
    if iteration not in known:
        raise ParameterError(f"--iteration: {iteration!r} is none of {', '.join(known)}")
    return folder


def _human(data: Path) -> pl.DataFrame:
    """D_L, the human pairs that the student is trained on."""
    prepared = data / "prepared"
    preferences = PREFERENCES.read(prepared / "preferences.parquet")
    return labeled_half(preferences, PROMPTS.read(prepared / "prompts.parquet"))


@dataclass(frozen=True)
class _About:
    """What the card is made of."""

    out: Path
    iteration: str
    form: Form
    columns: Sequence[str]
    counts: Mapping[str, int]
    sources: Sequence[str]
    selection: Mapping[str, Any]
    filtering: Mapping[str, Any]
    lineage: Lineage

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def _header(about: _About) -> dict[str, object]:
    """What a hub reads."""
    size = next((name for limit, name in SIZES.items() if about.total < limit), "n>1M")
    return {
        "pretty_name": f"West-of-N preferences, iteration {about.iteration}",
        "tags": ["preference", "synthetic", "west-of-n", "trl"],
        "size_categories": [size],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": "train", "path": about.out.name}],
            }
        ],
    }


def _body(about: _About) -> list[str]:
    made, kept = about.selection, about.filtering
    dropped = kept["dropped"]
    ensemble = f" (an ensemble of {made['members']})" if made["members"] > 1 else ""
    return [
        f"# West-of-N preferences, iteration {about.iteration}",
        f"{about.total:,} preference pairs in `{about.out.name}`, in TRL's {about.form} form: "
        f"columns {', '.join(f'`{name}`' for name in about.columns)}. {_seam(about.form)}",
        PAPER,
        "## Counts",
        table(
            ("pairs", "count"),
            [
                ("selected, one a prompt", kept["pairs_selected"]),
                *((f"dropped: {reason}", dropped[reason]) for reason in sorted(dropped)),
                ("synthetic, kept", kept["pairs_kept"]),
                *((f"in this file: {name}", about.counts[name]) for name in sorted(about.counts)),
            ],
        ),
        f"`human` pairs are the labeled half (D_L); a label of `west_of_n` is the base model's. "
        f"Sources: {', '.join(about.sources)}.",
        "## Selection and filter",
        table(
            ("", "value"),
            [
                ("candidates a prompt, N", made["n_candidates"]),
                ("base model's comparator", made["comparator"] + ensemble),
                ("method", made["method"]),
                ("selector", made["selector"]),
                ("pessimism, standard deviations", made["pessimism"]),
                ("least P(chosen ≻ rejected) kept", _threshold(kept, "confidence")),
                ("least log-likelihood kept", _threshold(kept, "likelihood")),
                *(
                    (f"P(chosen ≻ rejected) as selected, quantile {quantile}", f"{value:.4f}")
                    for quantile, value in made["p_chosen_quantiles"].items()
                ),
            ],
        ),
        "Labels are hard: the probabilities chose the pairs and are no targets.",
        "## Parameters",
        parameters(about.lineage),
        versions(),
    ]


def _threshold(kept: Mapping[str, Any], name: str) -> str:
    """A filter's threshold as a number; a quantile of 0 has none."""
    value = kept.get(f"{name}_threshold")
    return "none, all pass" if value is None else f"{value:.6g}"


def _seam(form: Form) -> str:
    if form == "conversational":
        return "Roles are `system`, `user` and `assistant`."
    return (
        "Prompt and response join as they stand: a response begins with a space where neither "
        "had white space at the seam."
    )

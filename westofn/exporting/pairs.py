"""Export an iteration's preference pairs to a file, with a dataset card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from westofn.artifacts.atomic import write_bytes
from westofn.artifacts.json_file import of_right_form, read_json
from westofn.artifacts.preferences import PREFERENCES
from westofn.artifacts.prompts import PROMPTS
from westofn.artifacts.targets import require_file_name
from westofn.errors import DataError, ParameterError
from westofn.exporting.cards import (
    CARD,
    PAPER,
    TAG,
    check_card,
    parameters,
    table,
    versions,
    write_card,
)
from westofn.exporting.forms import SUFFIXES, Form, encoded, in_form, split_elsewhere
from westofn.exporting.lineage import LOCK, Lineage, lineage_of
from westofn.exporting.metadata import check_license, dataset_header
from westofn.sources.data import labeled_half

Include = Literal["synthetic", "mixed"]
SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M"}
"""Exclusive upper bound of the number of rows -> size category of hubs."""


@dataclass(frozen=True)
class Exported:
    """Result of an export.

    Attributes:
        counts: label_source -> number of pairs.
        split_elsewhere: Number of pairs for which TRL finds another prompt in the implicit format;
            None: the format has a column with the prompt.
        card: Path of the card.
    """

    counts: Mapping[str, int]
    split_elsewhere: int | None
    card: Path


def export_pairs(
    out: Path,
    *,
    data: Path,
    iteration: str,
    form: Form,
    include: Include,
    license: str | None = None,  # noqa: A002 (the name of the field in the card)
    lock: Path = LOCK,
) -> Exported:
    """Write an iteration's pairs and a dataset card in the same folder.

    Args:
        out: Path of a .jsonl or .parquet file; README.md is written to the same folder.
        data: Folder of the pipeline's outputs.
        iteration: Iteration whose synthetic pairs are exported.
        form: Format of the pairs, see `forms`.
        include: "synthetic", or "mixed" to add the human pairs of the student's training data.
        license: License for the card; None: known for what only the embedded world gave.
        lock: Path of dvc.lock.

    Raises:
        ParameterError: An argument has an unsupported value.
        DataError: `out` is not a new file or an earlier export, a table is missing or invalid, or
            the folder contains another README.md.
    """
    if out.suffix not in SUFFIXES:
        raise ParameterError(f"{out}: needs a name that ends with {' or '.join(SUFFIXES)}")
    check_license(license)
    require_file_name(out, [data])
    check_card(out.parent / CARD, out.name)
    if out.exists() and not (out.parent / CARD).exists():
        raise DataError(f"{out} exists and is not an export; give another name")
    synthetic = _synthetic(data, iteration)
    pairs = PREFERENCES.read(synthetic / "preferences.parquet")
    if include == "mixed":
        pairs = pl.concat([_human(data), pairs])
    rows = in_form(pairs, form)
    counted = pairs["label_source"].value_counts().sort("label_source")
    counts: dict[str, int] = dict(counted.iter_rows())
    about = _About(
        out=out,
        iteration=iteration,
        form=form,
        columns=rows.columns,
        counts=counts,
        split_elsewhere=split_elsewhere(pairs) if form == "implicit" else None,
        sources=sorted(set(pairs["source"])),
        selection=read_json(synthetic.parent / "pairs" / "summary.json", "won_select"),
        filtering=read_json(synthetic / "summary.json", "filter"),
        license=license,
        lineage=lineage_of(synthetic, lock),
    )
    with of_right_form(f"{synthetic.parent}: pairs or synthetic/summary.json", "won_select"):
        body = _body(about)
    write_bytes(encoded(rows, out.suffix), out)
    write_card(out.parent, out.name, _header(about), body)
    return Exported(counts, about.split_elsewhere, out.parent / CARD)


def _synthetic(data: Path, iteration: str) -> Path:
    """Return the folder of an iteration's synthetic pairs."""
    folder = data / "loop" / iteration / "synthetic"
    known = sorted(path.parent.name for path in data.glob("loop/*/synthetic"))
    if not known:
        raise DataError(f"{data}/loop has no synthetic pairs; run `dvc repro`, or mend --data")
    if iteration not in known:
        raise ParameterError(f"--iteration: {iteration!r} is none of {', '.join(known)}")
    return folder


def _human(data: Path) -> pl.DataFrame:
    """Return D_L, the human pairs that the student is trained on."""
    prepared = data / "prepared"
    preferences = PREFERENCES.read(prepared / "preferences.parquet")
    return labeled_half(preferences, PROMPTS.read(prepared / "prompts.parquet"))


@dataclass(frozen=True)
class _About:
    """Information about the exported pairs for the card."""

    out: Path
    iteration: str
    form: Form
    columns: Sequence[str]
    counts: Mapping[str, int]
    split_elsewhere: int | None
    sources: Sequence[str]
    selection: Mapping[str, Any]
    filtering: Mapping[str, Any]
    license: str | None
    lineage: Lineage

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def _header(about: _About) -> dict[str, object]:
    """Return the YAML header for hubs."""
    size = next((name for limit, name in SIZES.items() if about.total < limit), "n>1M")
    return dataset_header(
        about.lineage.params,
        license=about.license,
        pretty_name=f"West-of-N preferences, iteration {about.iteration}",
        tags=["preference", "synthetic", TAG, "trl"],
        size_categories=[size],
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": "train", "path": about.out.name}],
            }
        ],
    )


def _body(about: _About) -> list[str]:
    selection, filtering = about.selection, about.filtering
    dropped = filtering["dropped"]
    ensemble = f" (an ensemble of {selection['members']})" if selection["members"] > 1 else ""
    return [
        f"# West-of-N preferences, iteration {about.iteration}",
        f"{about.total:,} preference pairs in `{about.out.name}`, in TRL's {about.form} format: "
        f"columns {', '.join(f'`{name}`' for name in about.columns)}. {_format_note(about)}",
        PAPER,
        "## Counts",
        table(
            ("pairs", "count"),
            [
                ("selected, one per prompt", filtering["pairs_selected"]),
                *((f"dropped: {reason}", dropped[reason]) for reason in sorted(dropped)),
                ("synthetic, kept", filtering["pairs_kept"]),
                *((f"in this file: {name}", about.counts[name]) for name in sorted(about.counts)),
            ],
        ),
        f"`human` pairs are the labeled half (D_L); the base model labelled `west_of_n` pairs. "
        f"Sources: {', '.join(about.sources)}.",
        "## Selection and filter",
        table(
            ("", "value"),
            [
                ("candidates per prompt, N", selection["n_candidates"]),
                ("base model's comparator", selection["comparator"] + ensemble),
                ("method", selection["method"]),
                ("selector", selection["selector"]),
                ("pessimism, standard deviations", selection["pessimism"]),
                ("smallest P(chosen ≻ rejected) kept", _threshold(filtering, "confidence")),
                ("smallest log-likelihood kept", _threshold(filtering, "likelihood")),
                *(
                    (f"P(chosen ≻ rejected) as selected, quantile {quantile}", f"{value:.4f}")
                    for quantile, value in selection["p_chosen_quantiles"].items()
                ),
            ],
        ),
        "Labels are hard: the probabilities only served to choose the pairs.",
        "## Parameters",
        parameters(about.lineage),
        versions(),
    ]


def _threshold(filtering: Mapping[str, Any], name: str) -> str:
    """Format a filter's threshold; a filter with quantile 0 has none."""
    value = filtering.get(f"{name}_threshold")
    return "none" if value is None else f"{value:.6g}"


def _format_note(about: _About) -> str:
    if about.form == "conversational":
        return "Roles are `system`, `user` and `assistant`. No trainer has to find the prompt."
    space = "Each response begins with a space if neither text had white space at the boundary."
    if about.split_elsewhere is None:
        return f"Concatenate prompt and response. {space} No trainer has to find the prompt."
    return (
        f"Each text is prompt and response. {space} TRL's RewardTrainer reads the texts whole. "
        "Its DPOTrainer takes their longest common beginning as the prompt, without a space at its "
        f"end: in {about.split_elsewhere:,} of {about.total:,} pairs this is not the prompt, and "
        "the words or letters with which both responses begin are not trained on. The forms "
        "explicit and conversational have a column with the prompt and are exact."
    )

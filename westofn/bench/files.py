"""Files of results: reward-bench's form with intervals, and the scores of every row."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from westofn.artifacts.atomic import write_bytes
from westofn.bench.run import Outcome
from westofn.bench.summary import Summary
from westofn.errors import DataError, ParameterError
from westofn.models.ensemble import Ensemble
from westofn.text.encoding import NO_CHAT

EXTRA = "westofn"
"""Key of what reward-bench's form does not have."""
SCORE_ENDINGS = (".jsonl", ".parquet")
_HEADER = ("model", "model_type", "chat_template", EXTRA)
_OF_ROWS: Mapping[str, Any] = {
    "benchmark": pl.String,
    "place": pl.String,
    "id": pl.String,
    "subset": pl.String,
    "grades": pl.List(pl.Float64),
    "rewards": pl.List(pl.Float64),
    "margins": pl.List(pl.Struct({"a": pl.Int64, "b": pl.Int64, "margin": pl.Float64})),
    "result": pl.Float64,
    "tied": pl.Boolean,
    "beyond_limit": pl.Boolean,
}


def require_endings(out: Path | None, scores: Path | None) -> None:
    """Refuse names of the files of results and of scores that have another ending.

    Raises:
        ParameterError: A name has another ending.
    """
    for path, endings in ((out, (".json",)), (scores, SCORE_ENDINGS)):
        if path and path.suffix not in endings:
            raise ParameterError(f"{path}: needs a name that ends with {' or '.join(endings)}")


def results_record(outcome: Outcome, model: Path, ensemble: Ensemble) -> dict[str, Any]:
    """Return the results in the form of reward-bench's files eval-set/MODEL.json.

    The keys model, model_type and chat_template and one key for each subset are reward-bench's. The
    key `EXTRA` has the intervals, the baselines and the counts of rows.

    Raises:
        DataError: A subset has the name of another key.
    """
    summaries, counts, benchmark = outcome.summaries, outcome.counts, outcome.benchmark
    names = [subset.name for subset in summaries.subsets]
    if clash := [name for name in names if name in _HEADER]:
        raise DataError(f"a subset is named {clash[0]}, which is a key of --out; rename it")
    pointwise = ensemble.comparator.gives_rewards
    chat = ensemble.encoder.template.chat
    extra: dict[str, Any] = {
        "benchmark": benchmark.title,
        "paper": benchmark.paper,
        "comparator": ensemble.comparator.name,
        "ties": benchmark.ties,
        "rows": asdict(counts),
        "subsets": {subset.name: _numbers(subset) for subset in summaries.subsets},
        "sections": {section.name: _numbers(section) for section in summaries.sections},
        "overall": {"is": benchmark.overall, **_numbers(summaries.overall)},
    }
    if summaries.best_of_k:
        extra["best_of_k"] = [asdict(point) for point in summaries.best_of_k]
    return {
        "model": str(model),
        "model_type": "Seq. Classifier" if pointwise else "Custom Classifier",
        "chat_template": "none" if chat == NO_CHAT else "tokenizer",
        **{subset.name: subset.accuracy for subset in summaries.subsets},
        EXTRA: extra,
    }


def _numbers(summary: Summary) -> dict[str, Any]:
    return {
        "rows": summary.rows,
        "accuracy": summary.accuracy,
        "interval": list(summary.interval),
        "tied": summary.tied,
        "longest": summary.longest,
        "shortest": summary.shortest,
        "chance": summary.chance,
        **summary.parts,
    }


def write_scores(outcomes: Sequence[Outcome], out: Path) -> None:
    """Write a row for each row of the benchmarks: grades, rewards or margins, and its result.

    Args:
        outcomes: The results.
        out: A file that ends with one of SCORE_ENDINGS.

    Raises:
        DataError: The system refused.
    """
    rows = [row for outcome in outcomes for row in _score_rows(outcome)]
    frame = pl.DataFrame(rows, schema=_OF_ROWS)
    content = io.BytesIO()
    if out.suffix == ".parquet":
        frame.write_parquet(content)
    else:
        frame.write_ndjson(content)
    write_bytes(content.getvalue(), out)


def _score_rows(outcome: Outcome) -> list[dict[str, Any]]:
    rows = []
    for item, scores in zip(outcome.items, outcome.scores, strict=True):
        row: dict[str, Any] = {
            "benchmark": outcome.benchmark.title,
            "place": item.place,
            "id": item.name,
            "subset": item.subset,
            "grades": list(item.grades),
        }
        if scores is not None:
            result = outcome.benchmark.rule_of(item.subset).result(item, scores)
            row |= {"result": result.value, "tied": result.tied}
            row["beyond_limit"] = scores.beyond_limit
            if scores.margins is None:
                row["rewards"] = list(scores.values)
            else:
                margins = scores.margins.items()
                row["margins"] = [{"a": a, "b": b, "margin": m} for (a, b), m in margins]
        rows.append(row)
    return rows

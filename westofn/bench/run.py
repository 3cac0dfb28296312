"""Read files, score their rows and summarise them by benchmark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from westofn.bench.catalogue import BENCHMARKS, Benchmark
from westofn.bench.formats import ReadFile, ReadOptions, read_benchmark
from westofn.bench.items import Item, Scores
from westofn.bench.scores import score_items
from westofn.bench.summary import Summaries, summarise
from westofn.errors import ModelError
from westofn.models.ensemble import Ensemble


@dataclass(frozen=True)
class Counts:
    """What became of the rows of a benchmark.

    Attributes:
        scored: Rows that the scores are of.
        dropped: Reason -> rows that were left out when the files were read.
        unscored: Rows that the model cannot read; they are left out.
        beyond_limit: Rows with a response longer than those the model was trained on, scored whole.
        trimmed: Rows whose prompt lost its beginning.
        fault: The first fault of a row that was left out; "" if there is none.
    """

    scored: int
    dropped: Mapping[str, int]
    unscored: int
    beyond_limit: int
    trimmed: int
    fault: str


@dataclass(frozen=True)
class Outcome:
    """The result of a benchmark.

    Attributes:
        benchmark: The benchmark.
        counts: What became of its rows.
        summaries: Its scores.
        items: Its rows.
        scores: The scores of each row; None for one that the model cannot read.
    """

    benchmark: Benchmark
    counts: Counts
    summaries: Summaries
    items: Sequence[Item]
    scores: Sequence[Scores | None]


def read_files(
    files: Sequence[Path], options: ReadOptions
) -> list[tuple[Benchmark, list[ReadFile]]]:
    """Read files, those of one benchmark together, in the order of the catalogue.

    Args:
        files: The files; a row without a subset gets the name of its file, or of the file's
            folder if several files have one name.
        options: How they are read.

    Raises:
        DataError: See `read_benchmark`.
    """
    stems = Counter(_stem(file) for file in files)
    of_format: dict[str, list[ReadFile]] = {}
    for file in files:
        stem = _stem(file)
        name = stem if stems[stem] == 1 else file.resolve().parent.name
        read = read_benchmark(file, name, options)
        of_format.setdefault(read.benchmark.format, []).append(read)
    return [(b, of_format[name]) for name, b in BENCHMARKS.items() if name in of_format]


def _stem(file: Path) -> str:
    return file.name.split(".")[0] or file.name


def evaluate(
    ensemble: Ensemble, benchmark: Benchmark, files: Sequence[ReadFile], batch: int
) -> Outcome:
    """Score the rows of a benchmark and summarise them.

    Args:
        ensemble: A model or an ensemble.
        benchmark: The benchmark.
        files: Its files.
        batch: Number of responses in one forward pass.

    Raises:
        ModelError: The model can read no row, or a score is not finite.
    """
    items = [item for file in files for item in file.items]
    scored = score_items(
        ensemble, items, lambda item: benchmark.rule_of(item.subset).compared(item), batch
    )
    read = [(i, s) for i, s in zip(items, scored.scores, strict=True) if s is not None]
    if not read:
        raise ModelError(f"the model can read no row; the first: {scored.unscored.first}")
    dropped: Counter[str] = Counter()
    for file in files:
        dropped.update(file.dropped)
    counts = Counts(
        scored=len(read),
        dropped=dict(sorted(dropped.items())),
        unscored=len(items) - len(read),
        beyond_limit=sum(scores.beyond_limit for _, scores in read),
        trimmed=scored.trimmed,
        fault=next(filter(None, (file.fault for file in files)), scored.unscored.first),
    )
    summaries = summarise(benchmark, [item for item, _ in read], [scores for _, scores in read])
    return Outcome(benchmark, counts, summaries, items, scored.scores)

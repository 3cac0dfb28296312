"""Print the results of benchmarks on a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from westofn.bench.run import Counts, Outcome
from westofn.bench.summary import Summaries, Summary

_WIDEST = 24
_NONE = "-"


def print_outcome(outcome: Outcome, console: Console) -> None:
    """Print tables of a benchmark's scores, and what became of its rows."""
    summaries = outcome.summaries
    console.print(_scores(outcome))
    if "hard" in summaries.overall.parts:
        console.print(_styles(summaries))
    if summaries.best_of_k:
        console.print(_curve(summaries))
    for line in (*_row_lines(outcome.counts), *_notes(outcome)):
        console.print(Text(line), soft_wrap=False)
    console.print()


def _table(title: str) -> Table:
    return Table(
        title=Text(title),
        title_style="bold",
        title_justify="left",
        box=box.SIMPLE,
        padding=(0, 1),
    )


def _scores(outcome: Outcome) -> Table:
    table = _table(f"{outcome.benchmark.title} ({outcome.benchmark.paper}), in percent")
    table.add_column("subset", max_width=_WIDEST, overflow="fold")
    for head in ("rows", "score", "95 %", "longest", "shortest", "chance"):
        table.add_column(head, justify="right", no_wrap=True)
    summaries = outcome.summaries
    for number, group in enumerate(_groups(summaries)):
        if number:
            table.add_section()
        for summary in group:
            table.add_row(*_cells(summary), style="bold" if summary is summaries.overall else None)
    return table


def _groups(summaries: Summaries) -> Iterator[tuple[Summary, ...]]:
    yield summaries.subsets
    if summaries.sections:
        yield summaries.sections
    if len(summaries.subsets) > 1:  # else it repeats the only subset
        yield (summaries.overall,)


def _cells(summary: Summary) -> tuple[Text | str, ...]:
    low, high = summary.interval
    return (
        Text(summary.name),
        f"{summary.rows:,}",
        _percent(summary.accuracy),
        f"{_percent(low)} to {_percent(high)}",
        _percent(summary.longest),
        _percent(summary.shortest),
        _NONE if summary.chance is None else _percent(summary.chance),
    )


def _styles(summaries: Summaries) -> Table:
    table = _table("Style of the rejected response: hard more elaborate, easy plainer")
    table.add_column("subset", max_width=_WIDEST, overflow="fold")
    parts = list(summaries.overall.parts)
    for part in parts:
        table.add_column(part, justify="right")
    for summary in (*summaries.subsets, summaries.overall):
        table.add_row(Text(summary.name), *(_percent(summary.parts[part]) for part in parts))
    return table


def _curve(summaries: Summaries) -> Table:
    table = _table("Correct among the chosen of k, averaged over rows")
    for head in ("k", "model", "longest", "best possible"):
        table.add_column(head, justify="right")
    for point in summaries.best_of_k:
        numbers = point.accuracy, point.longest, point.best
        table.add_row(str(point.k), *map(_percent, numbers))
    return table


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _row_lines(counts: Counts) -> Iterator[str]:
    parts = [f"{counts.scored:,} rows scored"]
    parts += [f"{count:,} left out ({name.replace('_', ' ')})" for name, count in
              counts.dropped.items()]  # fmt: skip
    if counts.unscored:
        parts.append(f"{counts.unscored:,} left out (the model cannot read them)")
    if counts.beyond_limit:
        parts.append(
            f"{counts.beyond_limit:,} with a response beyond the model's limit, read whole"
        )
    if counts.trimmed:
        parts.append(f"{counts.trimmed:,} with a prompt that lost its beginning")
    yield f"Rows: {'; '.join(parts)}."
    if counts.fault:
        yield f"First row left out: {counts.fault}"


def _notes(outcome: Outcome) -> Iterator[str]:
    tied = outcome.summaries.overall.tied
    yield f"Ties: {tied:,} {'row' if tied == 1 else 'rows'}; {outcome.benchmark.ties}."
    if outcome.summaries.overall.chance is None:
        yield "Chance: none for Ties, where it depends on the distribution of random scores."
    yield f"Overall: {outcome.benchmark.overall}. Longest, shortest: by characters."

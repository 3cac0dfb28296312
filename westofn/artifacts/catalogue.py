"""All tables by name, for `westofn show` and the generated documentation."""

from __future__ import annotations

from pathlib import Path

from westofn.artifacts.candidates import CANDIDATES
from westofn.artifacts.decisions import DECISIONS
from westofn.artifacts.nested_pairs import NESTED_PAIRS
from westofn.artifacts.pair_scores import PAIR_SCORES
from westofn.artifacts.pairs import PAIRS
from westofn.artifacts.pool_margins import POOL_MARGINS
from westofn.artifacts.pool_scores import POOL_SCORES
from westofn.artifacts.preferences import PREFERENCES
from westofn.artifacts.prompt_measures import PROMPT_MEASURES
from westofn.artifacts.prompts import PROMPTS
from westofn.artifacts.sft import SFT
from westofn.artifacts.table import Table, did_you_mean
from westofn.artifacts.verdicts import VERDICTS
from westofn.artifacts.world import WORLD
from westofn.errors import DataError

TABLES: tuple[Table, ...] = (
    SFT,
    PREFERENCES,
    PROMPTS,
    WORLD,
    CANDIDATES,
    PAIRS,
    NESTED_PAIRS,
    POOL_MARGINS,
    DECISIONS,
    PAIR_SCORES,
    POOL_SCORES,
    PROMPT_MEASURES,
    VERDICTS,
)


def table_for(path: Path | str) -> Table:
    """Find the table of a file by the file's stem.

    >>> table_for("data/prepared/preferences.parquet").name
    'preferences'

    Raises:
        DataError: no table has that name.
    """
    name = Path(path).stem
    names = [table.name for table in TABLES]
    if name not in names:
        raise DataError(
            f"{path}: no table is called {name}{did_you_mean(name, names)}; "
            f"needs one of {', '.join(names)}"
        )
    return TABLES[names.index(name)]


def markdown() -> str:
    """Describe all tables as Markdown: the body of docs/artifacts.md."""
    sections = [_section(table) for table in TABLES]
    return "\n\n".join(["# Artifacts", *sections]) + "\n"


def _section(table: Table) -> str:
    rows = "\n".join(
        f"| `{name}` | {column.dtype} | {'yes' if column.nullable else ''} | "
        f"{_in_a_cell(column.meaning)} |"
        for name, column in table.fields.items()
    )
    rules = [f"key: {', '.join(table.key)} (unique; rows are sorted by it)"]
    rules += [check.rule for check in table.checks]
    rules += ["may have 0 rows" if table.may_be_empty else "has at least 1 row"]
    return (
        f"## `{table.name}`\n\n{table.description}\n\n"
        f"Written by {', '.join(table.written_by)}; read by {', '.join(table.read_by)}.\n\n"
        f"| column | dtype | null? | meaning |\n|---|---|---|---|\n{rows}\n\n"
        + "\n".join(f"- {rule}" for rule in rules)
    )


def _in_a_cell(text: str) -> str:
    """Escape the bar of π(y|x), which would end the cell."""
    return text.replace("|", "\\|")

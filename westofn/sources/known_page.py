"""The table of known sets in docs/data.md; `python -m westofn pages` writes it."""

from __future__ import annotations

from collections.abc import Iterable

from westofn.sources.known_sets import KNOWN_SETS, KnownSet

START, END = "<!-- known sets -->", "<!-- /known sets -->"

_PROMPT = ("system", "history", "context", "prompt", "input")


def known_sets_table() -> str:
    """Describe all known sets as a table of Markdown."""
    head = "| set | on the hub | form | labels | read | note |\n|---|---|---|---|---|---|"
    return "\n".join([head, *map(_row, KNOWN_SETS)])


def _row(known: KnownSet) -> str:
    form = known.columns.form if known.expand is None else f"{known.columns.form}, rewritten"
    cells = (
        known.name,
        "<br>".join(known.hub.split(",")),
        form,
        "a model" if known.label_source == "ai_judge" else "people",
        _code(_read(known)),
        known.note,
    )
    return f"| {' | '.join(cells)} |"


def _read(known: KnownSet) -> list[str]:
    """Paths that are read, the prompt's first; of rewritten rows, the columns of the raw rows."""
    if known.expand:
        return [*known.requires, *known.also_reads]
    paths = known.columns.paths
    ordered = sorted(paths, key=lambda name: name not in _PROMPT)
    return list(dict.fromkeys(part for name in ordered for part in paths[name].split(",")))


def _code(paths: Iterable[str]) -> str:
    return ", ".join(f"<code>{path}</code>" for path in paths)

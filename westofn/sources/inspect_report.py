"""Print an inspection, or write it as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from westofn.core.dialogue import is_dialogue, to_messages
from westofn.sources.column_settings import as_options
from westofn.sources.columns import Columns
from westofn.sources.inspecting import FileReport, Inspection, warnings_of, words_in
from westofn.sources.token_lengths import TokenLengths, lengths_of

Tokens = Mapping[str, TokenLengths]
"""Name of a file -> its lengths in tokens."""

_SHOWN_CHARACTERS = 300


def to_json(inspection: Inspection, tokens: Tokens) -> dict[str, object]:
    """Return an inspection as plain JSON; the parts of a single file are also at the top level."""
    files = [_file_json(file, tokens) for file in inspection.files]
    together: dict[str, object] = {
        "distinct_prompts": inspection.prompts,
        "repeated_prompts": inspection.repeated,
        "near_duplicates_joined": inspection.near_joined,
        "dialogues_joined": inspection.openings_joined,
        "longer_chosen": inspection.longer_chosen,
        "all_warnings": warnings_of(inspection),
        "files": files,
    }
    return {**files[0], **together} if len(files) == 1 else together


def _file_json(file: FileReport, tokens: Tokens) -> dict[str, object]:
    content: dict[str, object] = {
        "file": file.name,
        "kind": file.kind,
        "form": file.form,
        "set": file.known.title if file.known else None,
        "mapping": _mapping_json(file.mapping),
        "unread": list(file.unread),
        "counts": dict(file.counts),
        "subsets": {name: count for name, count in sorted(file.subsets.items()) if name},
        "warnings": list(file.warnings),
        "rows": [_row_json(row) for row in file.rows],
    }
    if file.note:
        content["note"] = file.note
    if file.suggestion:
        content["suggestion"] = _mapping_json(file.suggestion.columns)
    if file.name in tokens:
        content["tokens"] = tokens[file.name].to_json()
    return content


def _mapping_json(columns: Columns | None) -> dict[str, str]:
    if columns is None:
        return {}
    settings = (setting.split("=", 1) for setting in columns.settings())
    return {key.removeprefix("prepare.columns."): value for key, value in settings}


def _row_json(row: Mapping[str, str]) -> dict[str, object]:
    """Return a row whose prompt, if it is a dialogue, is a list of messages."""
    prompt = row["prompt"]
    if not is_dialogue(prompt):
        return dict(row)
    return {**row, "prompt": [asdict(message) for message in to_messages(prompt)]}


def print_inspection(inspection: Inspection, tokens: Tokens, console: Console) -> None:
    """Print the reports and the first rows of each file."""
    for file in inspection.files:
        _print_file(file, tokens.get(file.name), console)
    console.print(_summary_table(inspection))
    _print_lines(warnings_of(inspection), "yellow", console)


def _print_file(file: FileReport, tokens: TokenLengths | None, console: Console) -> None:
    title = f"{file.known.title}, {file.form}" if file.known else file.form
    console.print(Text(f"{file.name}: {title}", style="bold"), soft_wrap=True)
    _print_lines([file.note] if file.note else [], "yellow", console)
    console.print(_counts_table(file))
    if named_subsets := {name: count for name, count in sorted(file.subsets.items()) if name}:
        shown = ", ".join(f"{name} {count:,}" for name, count in named_subsets.items())
        _print_lines([f"subsets: {shown}"], "", console)
    if file.unread:
        _print_lines([f"not read: {', '.join(file.unread)}"], "", console)
    if file.known and file.known.note:
        _print_lines([file.known.note], "", console)
    if file.mapping:
        _print_mapping("mapping", file.mapping, console)
    elif file.known and file.known.expand:
        _print_lines(
            ["rows are rewritten before they are read, so no mapping is shown"], "", console
        )
    if file.suggestion:
        _print_mapping("a mapping that may fit", file.suggestion.columns, console)
        _print_lines(file.suggestion.check, "", console)
    _print_lines(file.warnings, "yellow", console)
    if file.texts["prompt"]:
        console.print(_words_table(file))
    if tokens:
        for table in _token_tables(tokens):
            console.print(table)
    for row in file.rows:
        console.print(_row_table(row))


def _print_lines(lines: Sequence[str], style: str, console: Console) -> None:
    for line in lines:
        console.print(Padding(Text(line, style=style), (0, 0, 0, 2), expand=False))


def _print_mapping(title: str, columns: Columns, console: Console) -> None:
    """Print options as lines of one shell command."""
    _print_lines([f"{title}, to paste after `dvc exp run` or `inspect FILE`:"], "", console)
    *others, last = as_options(columns)
    for line in (*(f"{option} \\" for option in others), last):
        console.print(Text(f"    {line}"), soft_wrap=True)


def _counts_table(file: FileReport) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, count in file.counts.items():
        if count or not name.startswith("dropped_"):
            table.add_row(f"  {name}", f"{count:,}")
    return table


def _words_table(file: FileReport) -> Table:
    table = _table("  words", "median", "95 %", "longest")
    for name, texts in file.texts.items():
        lengths = lengths_of([words_in(text) for text in texts])
        table.add_row(
            f"  {name}", f"{lengths.median:g}", f"{lengths.high:,}", f"{lengths.longest:,}"
        )
    return table


def _token_tables(tokens: TokenLengths) -> tuple[Table, Table]:
    lengths = _table("  tokens", "median", "95 %", "longest")
    for name, column in tokens.columns.items():
        lengths.add_row(
            f"  {name}", f"{column.median:g}", f"{column.high:,}", f"{column.longest:,}"
        )
    effects = _table("  limit in tokens", "prompts cut", "responses dropped", "rows dropped")
    for effect in tokens.effects:
        limit = f"{effect.prompt_limit:,}"
        if effect.response_limit != effect.prompt_limit:
            limit = f"{limit} and {effect.response_limit:,} (params.yaml)"
        effects.add_row(
            f"  {limit}",
            _count_and_share(effect.prompts_cut, tokens.rows),
            _count_and_share(effect.responses_dropped, tokens.rows * (len(tokens.columns) - 1)),
            _count_and_share(effect.rows_dropped, tokens.rows),
        )
    return lengths, effects


def _count_and_share(count: int, total: int) -> str:
    return f"{count:,} ({count / total:.1%})" if count else "0"


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _summary_table(inspection: Inspection) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("distinct prompts", f"{inspection.prompts:,}")
    table.add_row("rows that repeat a prompt", f"{inspection.repeated:,}")
    table.add_row("prompts joined as near duplicates", f"{inspection.near_joined:,}")
    table.add_row(
        "prompts joined as one dialogue or by another system message",
        f"{inspection.openings_joined:,}",
    )
    if inspection.longer_chosen is not None:
        table.add_row("the longer response is chosen", f"{inspection.longer_chosen:.1%}")
    return table


def _row_table(row: Mapping[str, str]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in row.items():
        table.add_row(Text(f"  {name:>8}"), Text(_shortened(text)))
    table.add_row()
    return table


def _shortened(text: str) -> str:
    line = repr(text)
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[: _SHOWN_CHARACTERS - 1]}…"

"""Convert preference pairs to the formats of TRL.

| form | columns |
|---|---|
| explicit | prompt, chosen, rejected: text |
| implicit | chosen, rejected: prompt and response in one text |
| conversational | prompt, chosen, rejected: lists of {role, content} |

TRL concatenates prompt and response without a separator. So in the first two formats a space is
added before a response if neither text has white space at the boundary. In the third format a
dialogue (`core.dialogue`) becomes its turns, and any other prompt becomes one user message; white
space around a prompt's messages is removed, as by `text.chat`.
"""

from __future__ import annotations

import io
from itertools import takewhile
from typing import Literal

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
from pyarrow import parquet

from westofn.core.dialogue import to_messages

Form = Literal["explicit", "implicit", "conversational"]
SUFFIXES = (".jsonl", ".parquet")

_MESSAGES = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
# `datasets` joins data sets of equal types, and texts in Python have the type `string`: polars
# would write `large_string` and `large_list`.
_ARROW = {
    pl.String(): pa.string(),
    _MESSAGES: pa.list_(pa.struct({"role": pa.string(), "content": pa.string()})),
}


def in_form(pairs: pl.DataFrame, form: Form) -> pl.DataFrame:
    """Convert rows of table preferences to a TRL format, in the same order."""
    if form == "conversational":
        columns = {
            "prompt": [
                [_message(turn["role"], turn["content"].strip()) for turn in turns(text)]
                for text in pairs["prompt"]
            ],
            "chosen": [[_message("assistant", text)] for text in pairs["chosen"]],
            "rejected": [[_message("assistant", text)] for text in pairs["rejected"]],
        }
        return pl.DataFrame(columns, schema=dict.fromkeys(columns, _MESSAGES))
    spaced = pairs.select("prompt", _after_prompt("chosen"), _after_prompt("rejected"))
    if form == "explicit":
        return spaced
    return spaced.select(
        chosen=pl.col("prompt") + pl.col("chosen"), rejected=pl.col("prompt") + pl.col("rejected")
    )


def _after_prompt(side: str) -> pl.Expr:
    """Return the response, with a leading space if there is no white space at the boundary."""
    separated = pl.col("prompt").str.contains(r"\s$") | pl.col(side).str.contains(r"^\s")
    return pl.when(separated).then(pl.col(side)).otherwise(pl.lit(" ") + pl.col(side)).alias(side)


def split_elsewhere(pairs: pl.DataFrame) -> int:
    """Count the pairs whose implicit format TRL splits at another place than after the prompt.

    Args:
        pairs: Rows of table preferences.
    """
    implicit = in_form(pairs, "implicit")
    texts = zip(pairs["prompt"], implicit["chosen"], implicit["rejected"], strict=True)
    return sum(implicit_prompt(chosen, rejected) != prompt for prompt, chosen, rejected in texts)


def implicit_prompt(chosen: str, rejected: str) -> str:
    r"""Return the prompt that TRL finds in two different texts of the implicit format.

    It is their longest common beginning, without a space at its end. If a text is the beginning
    of the other one, it is that text without its last character (`extract_prompt` in
    trl/data_utils.py, TRL 1.16).

    >>> implicit_prompt("Why? Because.", "Why? No.")
    'Why?'
    >>> implicit_prompt("Why? It rains.", "Why? It is cold.")
    'Why? It'
    >>> implicit_prompt("Why? Yes", "Why? Yes, sir")
    'Why? Ye'
    """
    equal = takewhile(lambda pair: pair[0] == pair[1], zip(chosen, rejected, strict=False))
    shared = "".join(character for character, _ in equal)
    return shared[:-1] if shared in (chosen, rejected) else shared.removesuffix(" ")


def turns(prompt: str) -> list[dict[str, str]]:
    r"""Split a prompt into messages; the last one is not from the assistant.

    >>> turns("\n\nHuman: Why?\n\nAssistant: Why not?\n\nHuman: Oh.\n\nAssistant:")[1:]
    [{'role': 'assistant', 'content': 'Why not?'}, {'role': 'user', 'content': 'Oh.'}]
    >>> turns("Why?")
    [{'role': 'user', 'content': 'Why?'}]
    """
    messages = to_messages(prompt)
    if not messages or messages[-1].role == "assistant":
        return [_message("user", prompt)]
    return [_message(message.role, message.content) for message in messages]


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def encoded(rows: pl.DataFrame, suffix: str) -> bytes:
    """Encode rows as a .jsonl or .parquet file; equal rows give equal bytes."""
    buffer = io.BytesIO()
    if suffix == ".parquet":
        schema = pa.schema([(name, _ARROW[dtype]) for name, dtype in rows.schema.items()])
        table = pa.Table.from_pylist(rows.to_dicts(), schema=schema)
        parquet.write_table(table, buffer, compression="zstd")
    else:
        rows.write_ndjson(buffer)
    return buffer.getvalue()

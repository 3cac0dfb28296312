"""Convert preference pairs to the formats of TRL.

| form | columns |
|---|---|
| explicit | prompt, chosen, rejected: text |
| implicit | chosen, rejected: prompt and response in one text |
| conversational | prompt, chosen, rejected: lists of {role, content} |

TRL concatenates prompt and response without a separator. So in the first two formats a space is
added before a response if neither text has white space at the boundary. In the third format a
dialogue (`core.dialogue`) becomes its turns, and any other prompt becomes one user message.
"""

from __future__ import annotations

import io
from typing import Literal

import polars as pl

from westofn.core.dialogue import to_messages

Form = Literal["explicit", "implicit", "conversational"]
SUFFIXES = (".jsonl", ".parquet")

_MESSAGES = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))


def in_form(pairs: pl.DataFrame, form: Form) -> pl.DataFrame:
    """Convert rows of table preferences to a TRL format, in the same order."""
    if form == "conversational":
        columns = {
            "prompt": [turns(text) for text in pairs["prompt"]],
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
        rows.write_parquet(buffer, compression="zstd", statistics=True)
    else:
        rows.write_ndjson(buffer)
    return buffer.getvalue()

"""Preference pairs in the forms that TRL documents.

| form | columns |
|---|---|
| explicit | prompt, chosen, rejected: text |
| implicit | chosen, rejected: prompt and response in one text |
| conversational | prompt, chosen, rejected: lists of {role, content} |

TRL joins prompt and response as they stand. So in the first two forms a response begins with a
space where neither it nor the prompt has white space at the seam. In the third, a dialogue
(`core.dialogue`) becomes its turns, and any other prompt is one message of the user.
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
    """Rows of table preferences in a form of TRL's, in their order."""
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
    """The response with a space before it where it would run into the prompt."""
    apart = pl.col("prompt").str.contains(r"\s$") | pl.col(side).str.contains(r"^\s")
    return pl.when(apart).then(pl.col(side)).otherwise(pl.lit(" ") + pl.col(side)).alias(side)


def turns(prompt: str) -> list[dict[str, str]]:
    r"""Messages of a prompt, of which the last is not the assistant's.

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
    """The bytes of a .jsonl or .parquet file; equal rows give equal bytes."""
    buffer = io.BytesIO()
    if suffix == ".parquet":
        rows.write_parquet(buffer, compression="zstd", statistics=True)
    else:
        rows.write_ndjson(buffer)
    return buffer.getvalue()

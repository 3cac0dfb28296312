"""Text by Jinja templates: sentences are macros of a folder's sentences.jinja, pages are files."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from westofn.report.markdown import line, rule
from westofn.report.numbers import (
    decimal,
    decimal_interval,
    percent,
    percent_interval,
    signed,
)

if TYPE_CHECKING:
    import jinja2

FOLDER = Path(__file__).parent
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def sentence(name: str, folder: Path = FOLDER, **values: Any) -> str:
    """The text of a macro of sentences.jinja, without markup.

    Args:
        name: Name of the macro.
        folder: The folder of sentences.jinja.
        values: Arguments of the macro.
    """
    return str(getattr(_environment(folder).get_template("sentences.jinja").module, name)(**values))


def render(template: str, folder: Path, **values: Any) -> str:
    """A page in markdown.

    Args:
        template: Its file.
        folder: The folder of that file.
        values: What it is rendered with.
    """
    return _environment(folder).get_template(template).render(**values)


@cache
def _environment(folder: Path) -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "decimal": decimal,
        "decimal_interval": decimal_interval,
        "percent": percent,
        "percent_interval": percent_interval,
        "signed": signed,
        "in_words": in_words,
    }
    environment.globals |= {"line": line, "rule": rule}
    return environment


def in_words(count: int) -> str:
    """A small count as a word.

    >>> in_words(9), in_words(12)
    ('nine', '12')
    """
    return NUMBERS[count] if count < len(NUMBERS) else str(count)

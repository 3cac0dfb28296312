"""The templates of the study's pages: all sentences that depend on results are in them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from westofn.report.markdown import line, rule
from westofn.report.numbers import decimal, signed
from westofn.study.means import Cell

if TYPE_CHECKING:
    import jinja2

FOLDER = Path(__file__).parent
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def sentence(name: str, **values: Any) -> str:
    """The text of a macro of sentences.jinja, without markup.

    Args:
        name: Name of the macro.
        values: Its arguments.
    """
    return str(getattr(_environment().get_template("sentences.jinja").module, name)(**values))


def render(template: str, **values: Any) -> str:
    """A page in markdown.

    Args:
        template: Its file in this folder.
        values: What it is rendered with.
    """
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "decimal": decimal,
        "signed": signed,
        "in_words": in_words,
        "interval": interval,
    }
    environment.globals |= {"line": line, "rule": rule}
    return environment


def in_words(count: int) -> str:
    """A small count as a word.

    >>> in_words(9), in_words(12)
    ('nine', '12')
    """
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def interval(cell: Cell | None, scale: float, digits: int, *, signed: bool = False) -> str:
    """A mean with its interval, in the unit of `scale`; a dash where there is none.

    >>> interval(Cell(0.5, 0.25), 100.0, 1), interval(Cell(0.5, None), 1.0, 2, signed=True)
    ('50.0 ± 25.0', '+0.50')
    """
    if cell is None:
        return "—"
    sign = "+" if signed else ""
    text = f"{cell.mean * scale:{sign}.{digits}f}"
    return text if cell.half is None else f"{text} ± {cell.half * scale:.{digits}f}"

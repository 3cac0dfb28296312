"""The account of a stage: the numbers of rows that it read, used, and dropped by reason."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import typer
from numpy.typing import ArrayLike

from westofn.execution.processes import is_first
from westofn.plain_text import wrapped

TOO_LONG = "too_long"
"""The reason to drop a row with more tokens than the limit."""
CUT = "cut"
"""The reason to drop a response that reached the limit of tokens before its end token."""
LIMIT = "sft.max_response_tokens"
"""The parameter that sets the limit of tokens."""
KEPT_SHARE = 0.95
"""The share of rows that the limit proposed in a warning keeps."""
WARNING_SHARE = 0.1
"""The share of rows over the limit above which a warning is printed."""


@dataclass(frozen=True)
class Limit:
    """A limit of tokens.

    Attributes:
        value: The limit, tokens of a response without the end token.
        for_most: The smallest limit that would keep 95 % of the rows.
    """

    value: int
    for_most: int

    @classmethod
    def of(cls, value: int, lengths: ArrayLike) -> Limit:
        """Return a limit, and the one that most of the rows need.

        Args:
            value: The limit, tokens.
            lengths: The lengths (rows,) of all rows, tokens; without rows, `for_most` is 0.

        >>> Limit.of(4, [9] + [3] * 18 + [7])
        Limit(value=4, for_most=7)
        """
        rows = np.asarray(lengths)
        place = math.ceil(round(KEPT_SHARE * len(rows), 9)) - 1
        return cls(value, int(np.partition(rows, place)[place]) if len(rows) else 0)


@dataclass(frozen=True)
class Account:
    """Rows that a stage read, used and dropped.

    Attributes:
        stage: Name of the stage or the arm.
        rows_in: Rows that it read.
        used: Rows that it used.
        dropped: Rows that it dropped, by reason.
        what: Name of the rows.
        notes: Further facts about the rows, such as `12 prompts trimmed`.
        limit: The limit that `too_long` refers to; None where the stage has none.

    Raises:
        AssertionError: The rows used and dropped are not the rows read, or no whole numbers.
    """

    stage: str
    rows_in: int
    used: int
    dropped: Mapping[str, int]
    what: str = "pairs"
    notes: Sequence[str] = field(default=())
    limit: Limit | None = None

    def __post_init__(self) -> None:
        for count in (self.rows_in, self.used, *self.dropped.values()):
            if not isinstance(count, int):
                raise AssertionError(f"{self.stage}: {count!r} is no number of {self.what}")
        if self.rows_in != self.used + sum(self.dropped.values()):
            raise AssertionError(
                f"{self.stage}: {self.rows_in} {self.what} in are not {self.used} used and "
                f"{dict(self.dropped)} dropped"
            )

    def share(self, rows: int) -> float:
        """Return a number of rows as a share of the rows read; 0 where none were read."""
        return rows / self.rows_in if self.rows_in else 0.0

    @property
    def line(self) -> str:
        """The line that a stage prints, wrapped at 80 columns.

        >>> Account("filter", 179, 46, {"too_long": 130, "cut": 3, "identical": 0}).line
        'filter: 179 pairs in, 46 used; dropped 130 too_long, 3 cut'
        """
        counts = [(count, name) for name, count in self.dropped.items() if count]
        parts = [f"{self.rows_in} {self.what} in, {self.used} used"]
        if counts:
            reasons = sorted(counts, key=lambda item: (-item[0], item[1]))
            parts.append("dropped " + ", ".join(f"{count} {name}" for count, name in reasons))
        line = f"{self.stage}: {'; '.join([*parts, *self.notes])}"
        return wrapped(line)

    def is_loud(self, reason: str) -> bool:
        """Return whether more than a tenth of the rows were dropped for exceeding the limit.

        Args:
            reason: `too_long` or `cut`.
        """
        return self.limit is not None and self.share(self.dropped.get(reason, 0)) > WARNING_SHARE


def warnings_of(accounts: Sequence[Account]) -> list[str]:
    """Return what to do if more than a tenth of the rows exceed the limit of tokens.

    >>> warnings_of([Account("filter", 10, 8, {"too_long": 2}, limit=Limit(32, 90))])
    ['filter: 20 % of pairs are too long for sft.max_response_tokens 32; 90 keeps 95 %']
    """
    warnings = []
    for reason, state in ((TOO_LONG, "are too long for"), (CUT, "are cut at")):
        loud = [account for account in accounts if account.is_loud(reason)]
        limits = [account.limit for account in loud if account.limit is not None]
        if not limits:
            continue
        stages = ", ".join(
            f"{each.stage}: {100 * each.share(each.dropped[reason]):.0f} % of {each.what}"
            for each in loud
        )
        most = max(limit.for_most for limit in limits)
        mend = f"{most} keeps {100 * KEPT_SHARE:.0f} %" if reason == TOO_LONG else "raise it"
        warnings.append(f"{stages} {state} {LIMIT} {limits[0].value}; {mend}")
    return warnings


def tell(account: Account) -> None:
    """Print an account to stdout and its warnings to stderr, once for all processes."""
    if is_first():
        typer.echo(account.line)
        warn([account])


def warn(accounts: Sequence[Account]) -> None:
    """Print the warnings of accounts to stderr."""
    print_warnings(warnings_of(accounts))


def print_warnings(warnings: Sequence[str]) -> None:
    """Print warnings to stderr, wrapped at 80 columns."""
    for warning in warnings:
        typer.secho(wrapped(f"WARNING: {warning}"), fg="yellow", bold=True, err=True)


def trimmed_note(count: int) -> list[str]:
    """Return a note with the number of prompts that lose their beginning; no note if it is 0.

    >>> trimmed_note(3), trimmed_note(1), trimmed_note(0)
    (['3 prompts trimmed'], ['1 prompt trimmed'], [])
    """
    return [f"{count} {'prompt' if count == 1 else 'prompts'} trimmed"] if count else []

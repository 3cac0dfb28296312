"""UltraFeedback (Cui et al. 2023, arXiv 2310.01377): an instruction and rated completions.

The pair is the best completion by `overall_score` and a random other one, as in West-of-N's
experiments. A language model gave the scores. Completions without a score are ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from westofn.artifacts.table import show
from westofn.core.dialogue import Message, to_text
from westofn.errors import DataError
from westofn.sources.formats.ratings import ONE_RESPONSE, best_against_other
from westofn.sources.formats.rows import EQUAL_SCORES, Format, Outcome, column, listed, number, text
from westofn.sources.reading import Row

_NEEDS = "instruction, and completions with response and overall_score"
_NO_SCORE = (None, "", "N/A")


class UltraFeedback(Format):
    """Rows of UltraFeedback's original files; the column `source` is the subset."""

    name = "UltraFeedback"
    columns = (("instruction",), ("completions",))
    drops = (EQUAL_SCORES, ONE_RESPONSE)
    label_source = "ai_judge"

    def fits(self, row: Mapping[str, object]) -> bool:
        """Return whether the completions are a list."""
        return isinstance(row["completions"], list)

    def outcomes(self, rows: Iterable[Row], seed: int) -> Iterator[Outcome]:
        """Yield one outcome per row."""
        for row in rows:
            for name in ("instruction", "completions"):
                column(row, (name,), _NEEDS)
            source = row.values.get("source")
            subset = "" if source is None else text(source, "source", row.where)
            instruction = text(row.values["instruction"], "instruction", row.where)
            prompt = to_text([Message("user", instruction)]) if instruction.strip() else ""
            entries = listed(row.values["completions"], "completions", row.where)
            rated = [scored for entry in entries if (scored := _rated(entry, row.where))]
            yield Outcome(row, subset, best_against_other(prompt, rated, subset, seed))


def _rated(entry: object, where: str) -> tuple[str, float] | None:
    if not isinstance(entry, Mapping):
        raise DataError(f"{where}: column completions has {show(entry)}, needs objects; {_NEEDS}")
    entry_row = Row(f"{where}: completions", entry)
    column(entry_row, ("response",), _NEEDS)
    column(entry_row, ("overall_score",), _NEEDS)
    response = text(entry["response"], "response", entry_row.where)
    if entry["overall_score"] in _NO_SCORE:
        return None
    return response, number(entry["overall_score"], "overall_score", entry_row.where)

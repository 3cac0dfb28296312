"""UltraFeedback (Cui et al. 2023, arXiv 2310.01377): an instruction and rated completions.

The best completion by `overall_score` against a random other, as in West-of-N's experiments. The
scores are a language model's. Completions without a score are left out.
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
    """Rows of UltraFeedback's own files; `source` is the subset."""

    name = "UltraFeedback"
    columns = (("instruction",), ("completions",))
    drops = (EQUAL_SCORES, ONE_RESPONSE)
    label_source = "ai_judge"

    def fits(self, row: Mapping[str, object]) -> bool:
        """Whether the completions are a list."""
        return isinstance(row["completions"], list)

    def outcomes(self, rows: Iterable[Row], seed: int) -> Iterator[Outcome]:
        """One outcome a row."""
        for row in rows:
            for name in ("instruction", "completions"):
                column(row, (name,), _NEEDS)
            source = row.values.get("source")
            subset = "" if source is None else text(source, "source", row.where)
            asked = text(row.values["instruction"], "instruction", row.where)
            prompt = to_text([Message("user", asked)]) if asked.strip() else ""
            entries = listed(row.values["completions"], "completions", row.where)
            rated = [found for entry in entries if (found := _rated(entry, row.where))]
            yield Outcome(row, subset, best_against_other(prompt, rated, subset, seed))


def _rated(entry: object, where: str) -> tuple[str, float] | None:
    if not isinstance(entry, Mapping):
        raise DataError(f"{where}: column completions has {show(entry)}, needs objects; {_NEEDS}")
    inside = Row(f"{where}: completions", entry)
    column(inside, ("response",), _NEEDS)
    column(inside, ("overall_score",), _NEEDS)
    response = text(entry["response"], "response", inside.where)
    if entry["overall_score"] in _NO_SCORE:
        return None
    return response, number(entry["overall_score"], "overall_score", inside.where)

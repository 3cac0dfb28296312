"""All readers, and how a number of cases is divided among them."""

from __future__ import annotations

from benchmarks.fuzz import artifacts, models, rows, settings
from benchmarks.fuzz.cases import Reader

READERS: tuple[Reader, ...] = (
    *rows.READERS,
    *settings.READERS,
    *artifacts.READERS,
    *models.READERS,
)


def shares(cases: int, readers: tuple[Reader, ...] = READERS) -> dict[str, int]:
    """Divide a number of cases among readers as their `cases` say.

    Each has at least one; what rounding leaves goes to the first.
    """
    total = sum(reader.cases for reader in readers)
    sizes = {reader.name: max(1, round(cases * reader.cases / total)) for reader in readers}
    sizes[readers[0].name] += max(0, cases - sum(sizes.values()))
    return sizes

"""The section `filter`."""

from __future__ import annotations

from typing import ClassVar, Literal

from westofn.params.base import Fraction, Section


class FilterParams(Section):
    """Which pairs the student sees; 0 switches a filter off."""

    key: ClassVar[str] = "filter"

    quantile: Fraction
    likelihood_quantile: Fraction
    likelihood_normalisation: Literal["sum", "per_token"]

"""The grid of filter settings to try."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from westofn.errors import ParameterError


@dataclass(frozen=True, order=True)
class Setting:
    """Thresholds of the filter, as in params.yaml; ordered lexicographically."""

    quantile: float
    likelihood_quantile: float

    @property
    def parameters(self) -> dict[str, float]:
        """Return dotted key of params.yaml -> value."""
        return {
            "filter.quantile": self.quantile,
            "filter.likelihood_quantile": self.likelihood_quantile,
        }

    def __str__(self) -> str:
        return f"quantile {self.quantile:g}, likelihood quantile {self.likelihood_quantile:g}"


KEEP_ALL = Setting(0.0, 0.0)


def parse_quantiles(text: str, option: str) -> tuple[float, ...]:
    """Parse comma-separated quantiles.

    Args:
        text: Text such as `0,0.5,0.9`.
        option: Name of the option in error messages.

    Raises:
        ParameterError: A value is not a number, lies outside [0, 1), or occurs twice.

    >>> parse_quantiles("0, 0.5,0.9", "--quantiles")
    (0.0, 0.5, 0.9)
    """
    quantiles: list[float] = []
    for part in text.split(","):
        try:
            value = float(part) + 0.0  # converts -0 to 0
        except ValueError:
            raise ParameterError(
                f"{option}: {part.strip()!r} in {text!r} is not a number; needs numbers with "
                "commas between them, such as 0,0.5,0.9"
            ) from None
        if not 0 <= value < 1:
            raise ParameterError(
                f"{option}: {part.strip()} is out of range, needs 0 ≤ quantile < 1 (0 keeps all)"
            )
        if value in quantiles:
            raise ParameterError(f"{option}: {value:g} occurs twice in {text!r}; remove one")
        quantiles.append(value)
    return tuple(quantiles)


def grid(quantiles: tuple[float, ...], likelihood_quantiles: tuple[float, ...]) -> list[Setting]:
    """Return all combinations and KEEP_ALL, sorted.

    >>> [str(setting) for setting in grid((0.5,), (0.0,))]
    ['quantile 0, likelihood quantile 0', 'quantile 0.5, likelihood quantile 0']
    """
    settings = {Setting(*pair) for pair in product(quantiles, likelihood_quantiles)}
    return sorted(settings | {KEEP_ALL})

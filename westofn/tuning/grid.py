"""The settings of the filter that are tried."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from westofn.errors import ParameterError


@dataclass(frozen=True, order=True)
class Setting:
    """Thresholds of the filter, as in params.yaml; ordered by the first, then the second."""

    quantile: float
    likelihood_quantile: float

    @property
    def parameters(self) -> dict[str, float]:
        """Dotted key of params.yaml -> value."""
        return {
            "filter.quantile": self.quantile,
            "filter.likelihood_quantile": self.likelihood_quantile,
        }

    def __str__(self) -> str:
        return f"quantile {self.quantile:g}, likelihood quantile {self.likelihood_quantile:g}"


KEEP_ALL = Setting(0.0, 0.0)


def parse_quantiles(text: str, option: str) -> tuple[float, ...]:
    """Comma-separated quantiles.

    Args:
        text: Such as `0,0.5,0.9`.
        option: What to call it in a message.

    Raises:
        ParameterError: Not a number, out of [0, 1), or the same one twice.

    >>> parse_quantiles("0, 0.5,0.9", "--quantiles")
    (0.0, 0.5, 0.9)
    """
    found: list[float] = []
    for part in text.split(","):
        try:
            value = float(part) + 0.0  # no minus before zero
        except ValueError:
            raise ParameterError(
                f"{option}: {part.strip()!r} in {text!r} is not a number; needs numbers with "
                "commas between them, such as 0,0.5,0.9"
            ) from None
        if not 0 <= value < 1:
            raise ParameterError(
                f"{option}: {part.strip()} is out of range, needs 0 ≤ quantile < 1 (0 keeps all)"
            )
        if value in found:
            raise ParameterError(f"{option}: {value:g} occurs twice in {text!r}; remove one")
        found.append(value)
    return tuple(found)


def grid(quantiles: tuple[float, ...], likelihood_quantiles: tuple[float, ...]) -> list[Setting]:
    """All combinations, smallest first, and always the one that keeps all pairs.

    >>> [str(setting) for setting in grid((0.5,), (0.0,))]
    ['quantile 0, likelihood quantile 0', 'quantile 0.5, likelihood quantile 0']
    """
    settings = {Setting(*pair) for pair in product(quantiles, likelihood_quantiles)}
    return sorted(settings | {KEEP_ALL})

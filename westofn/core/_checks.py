"""Argument checks of the numpy modules: they convert to float64 or raise a precise ValueError."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def finite(name: str, values: ArrayLike) -> FloatArray:
    """Returns `values` as float64; raises ValueError on NaN or infinity."""
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise ValueError(f"{name} has {bad} values that are NaN or infinite, needs finite numbers")
    return array


def vector(name: str, values: ArrayLike) -> FloatArray:
    """Returns `values` as a finite float64 vector (rows,) of at least one row."""
    array = finite(name, values)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}, needs (rows,) with at least one row")
    return array


def matrix(name: str, values: ArrayLike) -> FloatArray:
    """Returns `values` as a finite float64 matrix (rows, columns), neither of them empty."""
    array = finite(name, values)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}, needs (rows, columns), neither empty")
    return array


def probabilities(name: str, values: ArrayLike) -> FloatArray:
    """Returns `values` as a float64 vector (rows,) of numbers in [0, 1]."""
    array = vector(name, values)
    if array.min() < 0 or array.max() > 1:
        value_range = f"{array.min():g} to {array.max():g}"
        raise ValueError(f"{name} ranges from {value_range}, needs probabilities in [0, 1]")
    return array


def same_shape(**arrays: FloatArray) -> None:
    """Raises ValueError unless all arrays have the shape of the first."""
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"shapes differ: {listed}; needs one shape")


def fraction(name: str, value: float) -> float:
    """Returns `value`; raises ValueError unless it lies in [0, 1]."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}, needs a number in [0, 1]")
    return value

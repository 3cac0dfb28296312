"""The comparators that a reward model may have."""

from __future__ import annotations

from typing import Literal

ComparatorName = Literal["embedding", "joint", "pointwise"]

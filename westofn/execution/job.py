"""What computes the shards of a stage: a function here, or a job that any process can do."""

from __future__ import annotations

from collections.abc import Callable, Sized
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import polars as pl

Group = TypeVar("Group", bound=Sized)
Work: TypeAlias = Callable[[Group], pl.DataFrame]
"""From a group of items to a frame with a table's schema."""


@dataclass(frozen=True)
class Job(Generic[Group]):
    """Work that any process can do, after it has loaded a model; pickle copies it there.

    Attributes:
        load: Returns what the work needs; called once in a process.
        work: Function from what was loaded and a group of items to a frame.
    """

    load: Callable[[], Any]
    work: Callable[[Any, Group], pl.DataFrame]

"""When memory runs out, the same work is done in halves; any other failure is a failure."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from westofn.core.halving import in_halves, is_out_of_memory


@given(st.lists(st.integers(), max_size=40), st.integers(1, 10))
def test_the_results_are_those_of_one_call_in_order(items: list[int], fits: int) -> None:
    sizes = []

    def work(some: Sequence[int]) -> list[int]:
        if len(some) > fits:
            raise MemoryError
        sizes.append(len(some))
        return [item * 2 for item in some]

    assert in_halves(items, work) == [item * 2 for item in items]
    assert sum(sizes) == len(items)


def test_eight_items_that_fit_by_two_run_in_four_calls() -> None:
    calls: list[tuple[int, ...]] = []

    def work(some: Sequence[int]) -> list[int]:
        if len(some) > 2:
            raise torch.OutOfMemoryError
        calls.append(tuple(some))
        return list(some)

    in_halves(range(8), work)
    assert calls == [(0, 1), (2, 3), (4, 5), (6, 7)]


def test_one_item_that_does_not_fit_is_an_error() -> None:
    def work(some: Sequence[int]) -> list[int]:
        raise MemoryError(f"{len(some)} at once")

    with pytest.raises(MemoryError, match=r"^1 at once$"):
        in_halves([1, 2, 3], work)


def test_another_failure_is_not_tried_again() -> None:
    calls = []

    def work(some: Sequence[int]) -> list[int]:
        calls.append(len(some))
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        in_halves([1, 2, 3, 4], work)
    assert calls == [4]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
            True,
        ),
        (RuntimeError("MPS backend out of memory (allocated 3 GB)"), True),
        (RuntimeError("shapes do not match"), False),
        (ValueError("out of memory"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_what_counts_as_out_of_memory(error: BaseException, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_torchs_own_refusal_of_an_impossible_size_counts() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50)
    assert is_out_of_memory(caught.value)

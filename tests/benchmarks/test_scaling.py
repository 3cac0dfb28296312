"""The simulation of many GPUs: its queue by hand, its costs at their bounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.scaling.__main__ import drawn_lengths, simulated
from benchmarks.scaling.costs import (
    H100,
    MODELS,
    Work,
    concurrent_responses,
    decode_step_seconds,
    sample_seconds,
    score_seconds,
    training_seconds,
)
from benchmarks.scaling.simulate import Fleet, run_queue

SMALL = Work(prompts=2_000)
SEVEN = MODELS[0]


class TestQueue:
    def test_a_worker_takes_the_next_shard_when_it_is_free(self) -> None:
        run = run_queue([10, 4, 3, 9], Fleet(2, start_seconds=5, restart_seconds=5), 0)
        # The first worker: 10, from 5 to 15. The second one: 4 to 9, 3 to 12, 9 to 21.
        assert (run.seconds, run.working, run.lost, run.faults) == (21, 26, 0, 0)
        assert run.efficiency(2) == pytest.approx(26 / 42)

    def test_every_shard_costs_its_overhead(self) -> None:
        run = run_queue([1.0] * 10, Fleet(1, 0, 0, seconds_per_shard=0.5), 0)
        assert run.seconds == 15

    def test_a_shard_that_a_fault_ends_is_computed_again(self) -> None:
        shards = [100.0] * 50
        run = run_queue(shards, Fleet(4, 0, 30, seconds_between_faults=1000), 1)
        assert run.faults > 0
        assert run.working == pytest.approx(sum(shards))
        assert run.lost > 30 * run.faults
        assert run.seconds > sum(shards) / 4

    def test_more_workers_than_shards_do_not_help(self) -> None:
        few, many = (run_queue([5.0, 5.0], Fleet(count, 1, 1), 0) for count in (2, 64))
        assert few.seconds == many.seconds == 6


class TestCosts:
    def test_one_response_decodes_as_fast_as_the_weights_are_read(self) -> None:
        seconds = decode_step_seconds(SEVEN, H100, SMALL, 1)
        assert seconds == pytest.approx(2 * 7.6e9 / (3.35e12 * 0.6), rel=0.01)

    def test_responses_of_a_full_memory_fit_it(self) -> None:
        count = concurrent_responses(SEVEN, H100, SMALL)
        tokens = count * (512 / 64 + 512)
        assert tokens * SEVEN.kv_bytes + SEVEN.weight_bytes <= 0.9 * 80e9
        assert (tokens + 520) * SEVEN.kv_bytes + SEVEN.weight_bytes > 0.9 * 80e9

    def test_a_shard_costs_more_than_its_reading(self) -> None:
        tokens, longest = np.array([64 * 200.0]), np.array([512.0])
        assert sample_seconds(SEVEN, H100, SMALL, tokens, longest, 1) > score_seconds(
            SEVEN, H100, SMALL, tokens, 1
        )

    def test_training_is_bound_by_operations_and_then_by_the_network(self) -> None:
        few, more, most = (training_seconds(SEVEN, H100, SMALL, count) for count in (8, 16, 1024))
        assert few == pytest.approx(2 * more)
        steps = 2 * SMALL.prompts * SMALL.kept / SMALL.batch_pairs
        assert most == pytest.approx(steps * 3 * SEVEN.weight_bytes * 511 / 512 / 50e9)


def test_drawn_lengths_have_the_mean_and_the_limit() -> None:
    work = replace(SMALL, prompts=5_000, longest=100_000)
    sums, longest = drawn_lengths(work, 0)
    assert sums.mean() / work.candidates == pytest.approx(work.response_tokens, rel=0.03)
    cut, longest = drawn_lengths(SMALL, 0)
    assert longest.max() == SMALL.longest
    assert cut.max() <= SMALL.longest * SMALL.candidates


def test_twice_the_gpus_take_between_half_and_all_of_the_time() -> None:
    lengths = drawn_lengths(SMALL, 0)
    few, more = (simulated(SEVEN, H100, SMALL, count, 16, lengths) for count in (8, 16))
    assert few.total / 2 < more.total < few.total
    assert 0 < more.efficiency < few.efficiency < 1

"""A pool comes out the same in shards, after a restart, and when memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from tests.small_models import PROMPTS, tiny_policy
from westofn.artifacts.candidates import CANDIDATES
from westofn.generation import sample_pools as module
from westofn.generation.hf import Samples, decode, sample
from westofn.generation.sample_pools import Draw, sample_pool
from westofn.models.policy import Policy
from westofn.text.encoding import Encoder

DRAW = Draw(n_candidates=6, temperature=0.8, seed=11)
FRAME = pl.DataFrame(
    {
        "prompt_id": [f"p{row}" for row in range(5)],
        "prompt": [*PROMPTS, "a dog hid"],
        "split": ["unlabeled"] * 5,
    }
)


@pytest.fixture(autouse=True)
def two_prompts_a_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROMPTS_A_SHARD", 2)


@pytest.fixture
def expected(small_policy: Policy) -> pl.DataFrame:
    """Straight from the sampling loop."""
    samples = sample(
        small_policy,
        FRAME["prompt"].to_list(),
        FRAME["prompt_id"].to_list(),
        indices=range(6),
        temperature=0.8,
        seed=11,
    )
    return CANDIDATES.frame(
        {
            "prompt_id": [name for name in FRAME["prompt_id"] for _ in range(6)],
            "candidate_index": list(range(6)) * 5,
            "response": [text for texts in decode(small_policy, samples) for text in texts],
            "logprob": samples.logprob.flatten().tolist(),
            "n_tokens": samples.n_tokens.flatten().tolist(),
            "finish_reason": [
                "stop" if stopped else "length" for stopped in samples.stopped.flatten()
            ],
        }
    )


def _spy(
    monkeypatch: pytest.MonkeyPatch, before: Callable[[int, int], None] = lambda *_: None
) -> list[tuple[str, ...]]:
    """The prompts of every call of the sampling loop; `before` may fail."""
    calls: list[tuple[str, ...]] = []

    def spied(
        policy: Policy,
        prompts: Sequence[str],
        names: Sequence[str],
        *,
        indices: Any,
        **options: Any,
    ) -> Samples:
        before(len(prompts), len(indices))
        calls.append(tuple(names))
        return sample(policy, prompts, names, indices=indices, **options)

    monkeypatch.setattr(module, "sample", spied)
    return calls


def _equal(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    assert found.drop("logprob").equals(expected.drop("logprob"))
    assert found["logprob"].to_list() == pytest.approx(expected["logprob"].to_list(), abs=1e-4)


def test_a_pool_has_n_valid_rows_for_every_prompt(
    small_policy: Policy, expected: pl.DataFrame, tmp_path: Path
) -> None:
    frame = sample_pool(small_policy, FRAME, DRAW, tmp_path, "sampling")
    assert frame.height == 30
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "00000000.parquet",
        "00000002.parquet",
        "00000004.parquet",
    ]
    CANDIDATES.validate(frame, "pool")
    _equal(frame, expected)


def test_the_order_of_the_prompts_frame_does_not_matter(
    small_policy: Policy, tmp_path: Path
) -> None:
    frame = sample_pool(small_policy, FRAME, DRAW, tmp_path / "a", "sampling")
    turned = sample_pool(small_policy, FRAME.reverse(), DRAW, tmp_path / "b", "sampling")
    assert frame.equals(turned)


def test_only_a_missing_shard_is_drawn_again(
    small_policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = sample_pool(small_policy, FRAME, DRAW, tmp_path, "sampling")
    lost = tmp_path / "00000002.parquet"
    content = lost.read_bytes()
    lost.unlink()
    calls = _spy(monkeypatch)
    again = sample_pool(small_policy, FRAME, DRAW, tmp_path, "sampling")
    assert calls == [("p2", "p3")]
    assert again.equals(first)
    assert lost.read_bytes() == content


@pytest.mark.parametrize("fits", [1, 3, 6])
@pytest.mark.parametrize(
    "failure", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")]
)
def test_running_out_of_memory_ends_with_the_same_rows(
    failure: Exception,
    fits: int,
    small_policy: Policy,
    expected: pl.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = []

    def limit(prompts: int, candidates: int) -> None:
        if prompts * candidates > fits:
            refused.append(prompts * candidates)
            raise failure

    _spy(monkeypatch, limit)
    _equal(sample_pool(small_policy, FRAME, DRAW, tmp_path, "sampling"), expected)
    assert refused


def test_memory_that_is_too_small_for_one_sample_is_an_error(
    small_policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(prompts: int, candidates: int) -> None:
        raise MemoryError(f"{prompts} x {candidates}")

    _spy(monkeypatch, never)
    with pytest.raises(MemoryError, match=r"^1 x 1$"):
        sample_pool(small_policy, FRAME, DRAW, tmp_path, "sampling")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("passes", [0.3, 1.5, 1e9])
def test_a_pass_takes_half_of_the_free_memory_and_the_rows_stay_the_same(
    passes: float,
    small_policy: Policy,
    expected: pl.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The free memory holds this many passes of one prompt's pool."""
    limits, network = small_policy.encoder.template, small_policy.network
    pool = network.cache_bytes(limits.max_prompt_tokens, 6, limits.max_response_tokens + 1)
    sizes = []
    _spy(monkeypatch, lambda prompts, candidates: sizes.append(prompts * candidates))
    monkeypatch.setattr(module, "free_bytes", lambda device: int(2 * passes * pool))
    _equal(sample_pool(small_policy, FRAME, DRAW, tmp_path, "sampling"), expected)
    assert max(sizes) == {0.3: 1, 1.5: 6, 1e9: 12}[passes]


def test_the_cache_of_a_model_is_as_large_as_stated(small_policy: Policy) -> None:
    for policy in (small_policy, tiny_policy(Encoder(small_policy.tokenizer, 10, 8, "causal"))):
        network = policy.network
        states = network.prompt_states(
            torch.ones(1, 7, dtype=torch.long), torch.ones(1, 7, dtype=torch.bool)
        )
        cache = network.cache(states, 3, 5)
        network.step(cache, torch.ones(1, 3, dtype=torch.long))
        assert sum(tensor.nbytes for tensor in _tensors(cache)) == pytest.approx(
            network.cache_bytes(7, 3, 5), rel=0.15
        )


def _tensors(cache: Any) -> list[torch.Tensor]:
    if hasattr(cache, "layers"):
        rooms = cache.layers.rooms
        return [tensor for room in rooms for tensor in (room.keys, room.values, *room.prefix)]
    return [*cache.keys, *cache.values, *cache.prompts.keys, *cache.prompts.values]

"""From demonstrations to a student: twice the same bytes, and no batch size in the result."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import torch

from tests.small_models import PROMPTS, VOCABULARY, reward_params, sft_params, start_params
from westofn.artifacts.candidates import CANDIDATES
from westofn.artifacts.pairs import PAIRS
from westofn.artifacts.pools import Pools
from westofn.artifacts.preferences import PREFERENCES
from westofn.core.comparators import margins
from westofn.core.selection import exact_best_worst
from westofn.generation.sample_pools import Draw, sample_pool
from westofn.models.ensemble import Ensemble
from westofn.models.policy import load_policy, save_policy
from westofn.models.reward import Scorer
from westofn.models.saved_reward import load_reward_model, save_reward_model
from westofn.models.scoring import score_pools
from westofn.pairing.filters import filter_frames
from westofn.pairing.frames import pairs_frame
from westofn.pairing.select import select
from westofn.params.comparator import ComparatorName
from westofn.params.filter import FilterParams
from westofn.runtime import Runtime
from westofn.training.arms import preferences_from
from westofn.training.pairs import Preferences, TrainingPairs
from westofn.training.preference import train_reward_model
from westofn.training.recipe import Head, Recipe
from westofn.training.sft import Examples, train_sft

CPU = Runtime(device="cpu")
UNLABELED = pl.DataFrame(
    {
        "prompt_id": [f"p{row}" for row in range(12)],
        "prompt": PROMPTS * 3,
        "split": ["unlabeled"] * 12,
    }
)


def _pairs(seed: int, count: int = 24) -> Preferences:
    chance = random.Random(seed)
    texts = [" ".join(chance.choices(VOCABULARY, k=3)) for _ in range(3 * count)]
    return Preferences(texts[::3], texts[1::3], texts[2::3], [1.0] * count)


def _chain(root: Path) -> dict[str, bytes]:
    """Every file that the stages would write."""
    human, held_out = _pairs(1), _pairs(2)
    sft = train_sft(
        Examples(human.prompts, human.chosen),
        Examples(held_out.prompts, held_out.chosen),
        sft_params(),
        seed=0,
        scratch=root / "scratch-sft",
        runtime=CPU,
    )
    canaries = [("the cat", "good"), ("sun", "bad")]
    save_policy(sft.policy, root / "policy", canaries, sft.facts)

    def train(name: str, head: Head, synthetic: Preferences | None) -> Scorer:
        trained = train_reward_model(
            name,
            TrainingPairs(human, synthetic, held_out),
            Recipe(root / "policy", start_params(), reward_params(dropout=0.1), 0, head),
            root / f"scratch-{name}",
            CPU,
        )
        save_reward_model(trained.scorer, root / name, canaries, trained.facts)
        return load_reward_model(root / name)

    base = train("base_rm", Head("embedding", 2), None)
    draw = Draw(n_candidates=6, temperature=0.8, seed=3)
    policy = load_policy(root / "policy")
    candidates = sample_pool(policy, UNLABELED, draw, root / "scratch-sample", "sampling")
    CANDIDATES.write(candidates, root / "candidates.parquet")
    pools = Pools.from_frames(candidates, UNLABELED, 6)
    selection = select(Ensemble.of(base), pools, method="exact", selector="west", seed=0)
    pairs = pairs_frame(selection)
    PAIRS.write(pairs, root / "pairs.parquet")
    params = FilterParams(
        quantile=0.2, likelihood_quantile=0.05, likelihood_normalisation="per_token"
    )
    filtered = filter_frames(pairs, [pools.as_rows()], params)
    PREFERENCES.write(filtered.preferences("k1"), root / "preferences.parquet")
    train("student", Head("pointwise"), preferences_from(filtered.preferences("k1")))
    written = [root / name for name in ("policy", "base_rm", "student")]
    files = [*root.glob("*.parquet"), *(path for folder in written for path in folder.iterdir())]
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(files)}


def test_two_runs_of_the_whole_chain_write_the_same_bytes(tmp_path: Path) -> None:
    first, again = _chain(tmp_path / "a"), _chain(tmp_path / "b")
    assert len(first) > 12
    assert first.keys() == again.keys()
    assert [name for name in first if first[name] != again[name]] == []


@pytest.mark.parametrize("comparator", ["embedding", "pointwise"])
def test_no_selection_flips_between_a_batch_of_1_and_of_64_in_fp32(
    comparator: ComparatorName, scorers: Callable[[ComparatorName], Scorer]
) -> None:
    chance = random.Random(5)
    prompts = [" ".join(chance.choices(VOCABULARY, k=chance.randint(1, 9))) for _ in range(64)]
    pools = [
        [" ".join(chance.choices(VOCABULARY, k=chance.randint(1, 8))) for _ in range(8)]
        for _ in prompts
    ]
    one = torch.stack(score_pools(scorers(comparator), prompts, pools, batch=1))
    many = torch.stack(score_pools(scorers(comparator), prompts, pools, batch=64 * 8))
    first, second = exact_best_worst(margins(one)), exact_best_worst(margins(many))
    assert torch.equal(first.best, second.best)
    assert torch.equal(first.worst, second.worst)
    assert len(set(first.best.tolist())) > 4


@pytest.mark.parametrize("comparator", ["embedding", "pointwise"])
def test_a_shift_of_all_rewards_changes_no_pair(
    comparator: ComparatorName, scorers: Callable[[ComparatorName], Scorer]
) -> None:
    features = torch.stack(score_pools(scorers(comparator), PROMPTS, [VOCABULARY] * len(PROMPTS)))
    shifted = features.clone()
    shifted[..., 0] += 5.0
    before, after = exact_best_worst(margins(features)), exact_best_worst(margins(shifted))
    assert torch.equal(before.best, after.best)
    assert torch.equal(before.worst, after.worst)
    torch.testing.assert_close(before.p_best, after.p_best, atol=1e-5, rtol=1e-5)

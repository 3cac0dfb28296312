"""Selection by real comparators: exact means every ordered pair, and it is brute force's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import permutations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from tests.pairing.files import pool_file
from tests.small_models import COMPARATORS, PROMPTS, VOCABULARY, tiny_backbone, tiny_scorer
from westofn.artifacts.nested_pairs import NESTED_PAIRS
from westofn.artifacts.pairs import PAIRS
from westofn.artifacts.pool_margins import POOL_MARGINS
from westofn.artifacts.pools import Pools
from westofn.core.selection import SELECTORS
from westofn.errors import ModelError
from westofn.models import scoring
from westofn.models.ensemble import Anchor, Ensemble
from westofn.models.reward import RewardModel, Scorer
from westofn.models.scoring import pair_margins, score_rows
from westofn.networks.encoder_decoder import PromptStates
from westofn.pairing import select as module
from westofn.pairing.frames import margins_frame, nested_frame, pairs_frame, summarise
from westofn.pairing.select import Selection, select
from westofn.params.comparator import ComparatorName
from westofn.text.encoding import Encoder, Padded

Scorers = Callable[[ComparatorName], Scorer]
SIZE = 5


def _pools(size: int = SIZE, prompts: int = 4) -> Pools:
    """Different responses of one to three words, the same at every call."""
    generator = torch.Generator().manual_seed(1)
    responses = []
    for _ in range(prompts):
        pool: list[str] = []
        while len(pool) < size:
            length = 1 + int(torch.randint(3, (), generator=generator))
            ids = torch.randint(len(VOCABULARY), (length,), generator=generator)
            text = " ".join(VOCABULARY[i] for i in ids)
            pool += [text] * (text not in pool)
        responses.append(pool)
    return Pools([f"p{row}" for row in range(prompts)], (PROMPTS * prompts)[:prompts], responses)


def _west(scorer: Scorer, pools: Pools, size: int = SIZE) -> list[tuple[int, int, float]]:
    """The objective by brute force: every ordered pair, one at a time."""
    result = []
    for prompt, pool in zip(pools.prompts, pools.responses, strict=True):
        margins = {
            (i, j): float(pair_margins(scorer, [prompt], [pool[i]], [pool[j]]))
            for i, j in permutations(range(size), 2)
        }
        best, worst = max(margins, key=lambda pair: margins[pair])
        result.append((best, worst, float(torch.tensor(margins[best, worst]).sigmoid())))
    return result


def _rows(pair: object) -> list[tuple[int, int, float]]:
    return list(zip(pair.best.tolist(), pair.worst.tolist(), pair.p_best.tolist(), strict=True))  # type: ignore[attr-defined]


def _same(rows: list[tuple[int, int, float]], expected: list[tuple[int, int, float]]) -> None:
    assert [row[:2] for row in rows] == [row[:2] for row in expected]
    assert [row[2] for row in rows] == pytest.approx([row[2] for row in expected], abs=1e-5)


@pytest.mark.parametrize("comparator", COMPARATORS)
def test_exact_selection_is_the_best_of_all_ordered_pairs(
    comparator: ComparatorName, scorers: Scorers
) -> None:
    pools, scorer = _pools(), scorers(comparator)
    selection = select(Ensemble.of(scorer), pools, method="exact", selector="west", seed=0)
    _same(_rows(selection.pairs), _west(scorer, pools))
    assert sorted(selection.nested) == [2, 4, 5]
    for size, pair in selection.nested.items():
        _same(_rows(pair), _west(scorer, pools, size))


@pytest.mark.parametrize("method", ["exact", "tournament"])
def test_a_margin_that_is_no_number_is_told_with_its_prompt(
    method: str, small_encoder: Encoder
) -> None:
    broken = tiny_scorer(small_encoder, "pointwise")
    torch.nn.init.constant_(broken.model.head.weight, float("nan"))
    with pytest.raises(ModelError, match=r"won_select: prompt p0: a margin .* NaN .*; retrain"):
        select(Ensemble.of(broken), _pools(), method=method, selector="west", seed=0)


class CountsGood(RewardModel):
    """Reads the number of "good" words less the number of "bad" ones: transitive, and planted."""

    worth: Tensor
    end: int

    def features(self, states: PromptStates, responses: Padded) -> Tensor:
        value = self.worth[responses.ids] * responses.mask
        if not self.comparator.reads_pairs:
            return value.sum(-1, keepdim=True)
        first = (responses.ids == self.end).cumsum(-1) == 0
        return (value * first - value * ~first).sum(-1, keepdim=True)


@pytest.fixture
def planted(
    small_encoder: Encoder, words: PreTrainedTokenizerFast
) -> Callable[[ComparatorName], Scorer]:
    def build(comparator: ComparatorName) -> Scorer:
        model = CountsGood(tiny_backbone(small_encoder), comparator, 0)
        tokens = words.convert_ids_to_tokens(list(range(len(words))))
        model.worth = torch.tensor(
            [{"good": 1.0, "bad": -1.0}.get(token.strip(), 0.0) for token in tokens]
        )
        model.end = small_encoder.eos_id
        return Scorer(model.eval(), small_encoder)

    return build


def _graded(values: Sequence[Sequence[int]]) -> Pools:
    """Candidates of given worth."""
    words = [
        [" ".join(["good" if v > 0 else "bad"] * abs(v)) or "so" for v in row] for row in values
    ]
    return Pools([f"p{row}" for row in range(len(values))], PROMPTS[: len(values)], words)


@pytest.mark.parametrize("comparator", ["joint", "pointwise"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_tournament_finds_what_exact_finds_if_preferences_are_transitive(
    comparator: ComparatorName, seed: int, planted: Scorers
) -> None:
    pools = _graded([[0, 2, -1, 3, 1, -4, 4], [3, 2, 1, 0, -1, -2, -3], [-4, 4, 0, 1, 2, 3, -1]])
    exact = select(
        Ensemble.of(planted(comparator)), pools, method="exact", selector="west", seed=seed
    )
    knockout = select(
        Ensemble.of(planted(comparator)), pools, method="tournament", selector="west", seed=seed
    )
    _same(_rows(knockout.pairs), _rows(exact.pairs))
    assert _rows(exact.pairs)[0] == (6, 5, pytest.approx(1 / (1 + 2.718281828**-8), abs=1e-6))
    assert list(knockout.nested) == [7]
    assert knockout.pool_std is None


def _count_rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    seen: list[int] = []
    original = RewardModel.features

    def spy(self: RewardModel, states: PromptStates, responses: Padded) -> Tensor:
        seen.append(responses.ids.shape[0] * responses.ids.shape[1])
        return original(self, states, responses)

    monkeypatch.setattr(RewardModel, "features", spy)
    return seen


@pytest.mark.parametrize(
    ("comparator", "method", "each"),
    [
        ("joint", "exact", 20),  # 5 · 4 ordered pairs
        ("joint", "tournament", 14),  # ceil(3 · 5 / 2) − 2 = 6 matches and the final, both orders
        ("embedding", "exact", 5),
        ("pointwise", "tournament", 5),
    ],
)
def test_the_forward_passes_reported_are_those_made(
    comparator: ComparatorName,
    method: str,
    each: int,
    scorers: Scorers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = _count_rows(monkeypatch)
    selection = select(
        Ensemble.of(scorers(comparator)), _pools(), method=method, selector="west", seed=0
    )
    assert selection.forward_passes == sum(seen) == 4 * each


@pytest.mark.parametrize("comparator", COMPARATORS)
@pytest.mark.parametrize("selector", SELECTORS)
def test_a_selection_does_not_depend_on_its_batch_or_neighbours(
    comparator: ComparatorName,
    selector: str,
    scorers: Scorers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pools, scorer = _pools(), scorers(comparator)
    whole = _rows(
        select(Ensemble.of(scorer), pools, method="exact", selector=selector, seed=3).pairs
    )
    turned = Pools(pools.prompt_ids[::-1], pools.prompts[::-1], pools.responses[::-1])
    _same(
        _rows(select(Ensemble.of(scorer), turned, method="exact", selector=selector, seed=3).pairs),
        whole[::-1],
    )
    monkeypatch.setattr(module, "MARGINS_AT_ONCE", SIZE**2)  # one prompt at a time
    monkeypatch.setattr(scoring, "TextPools", partial(scoring.TextPools, pairs_a_batch=3))
    _same(
        _rows(select(Ensemble.of(scorer), pools, method="exact", selector=selector, seed=3).pairs),
        whole,
    )


def test_random_selectors_follow_the_seed(scorers: Scorers) -> None:
    pools, scorer = _pools(prompts=12), scorers("pointwise")
    first, again, other = (
        _rows(
            select(
                Ensemble.of(scorer), pools, method="exact", selector="random_pair", seed=seed
            ).pairs
        )
        for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other
    assert all(p >= 0.5 for _, _, p in first)


def test_the_spread_of_a_pool_is_that_of_its_rewards(scorers: Scorers) -> None:
    pools, scorer = _pools(), scorers("pointwise")
    selection = select(Ensemble.of(scorer), pools, method="exact", selector="west", seed=0)
    # A mean margin is N/(N−1) times the reward less the pool's mean.
    rewards = torch.stack(
        [
            score_rows(scorer, [x] * SIZE, pool)[:, 0]
            for x, pool in zip(pools.prompts, pools.responses, strict=True)
        ]
    )
    assert selection.pool_std is not None
    torch.testing.assert_close(
        selection.pool_std, rewards.std(-1, correction=0) * SIZE / (SIZE - 1)
    )


@pytest.fixture(scope="module")
def committees(small_encoder: Encoder) -> Callable[[ComparatorName], Ensemble]:
    """Three untrained members that disagree."""

    def build(comparator: ComparatorName) -> Ensemble:
        return Ensemble.of(*(tiny_scorer(small_encoder, comparator, seed) for seed in (3, 4, 5)))

    return build


def _member_margins(ensemble: Ensemble, pools: Pools, row: int) -> Tensor:
    """(members, N, N) margins of a prompt's pool, a pair at a time; 0 on the diagonal."""
    margins = torch.zeros(len(ensemble.members), SIZE, SIZE)
    pool = pools.responses[row]
    for m, member in enumerate(ensemble.members):
        for i, j in permutations(range(SIZE), 2):
            margins[m, i, j] = pair_margins(member, [pools.prompts[row]], [pool[i]], [pool[j]])[0]
    return margins


@pytest.mark.parametrize("comparator", COMPARATORS)
@pytest.mark.parametrize("pessimism", [0.0, 1.5])
def test_an_ensemble_chooses_by_its_mean_less_its_deviations(
    comparator: ComparatorName, pessimism: float, committees: Callable[[ComparatorName], Ensemble]
) -> None:
    pools, ensemble = _pools(), committees(comparator)
    selection = select(
        ensemble, pools, method="exact", selector="west", seed=0, pessimism=pessimism
    )
    expected = []
    for row in range(len(pools.prompts)):
        members = _member_margins(ensemble, pools, row).double().numpy()
        lower = members.mean(0) - pessimism * members.std(0)  # numpy's: divided by the members
        best, worst = max(permutations(range(SIZE), 2), key=lambda pair: lower[pair])
        expected.append((best, worst, float(torch.tensor(lower[best, worst]).sigmoid())))
    _same(_rows(selection.pairs), expected)


def test_pessimism_is_less_sure_and_changes_some_pair(
    committees: Callable[[ComparatorName], Ensemble],
) -> None:
    pools, ensemble = _pools(prompts=12), committees("embedding")
    mean, lower = (
        select(ensemble, pools, method="exact", selector="west", seed=0, pessimism=weight)
        for weight in (0.0, 2.0)
    )
    assert (lower.pairs.p_best < mean.pairs.p_best).all()
    changed = [a[:2] != b[:2] for a, b in zip(_rows(mean.pairs), _rows(lower.pairs), strict=True)]
    assert any(changed)
    assert sorted(lower.nested) == sorted(mean.nested)


@pytest.mark.parametrize("comparator", COMPARATORS)
@pytest.mark.parametrize("method", ["exact", "tournament"])
def test_members_that_agree_choose_as_one_does(
    comparator: ComparatorName, method: str, scorers: Scorers
) -> None:
    pools, one = _pools(), scorers(comparator)
    alone = select(Ensemble.of(one), pools, method=method, selector="west", seed=2)
    twice = select(Ensemble.of(one, one), pools, method=method, selector="west", seed=2)
    assert _rows(alone.pairs) == _rows(twice.pairs)
    assert twice.forward_passes == 2 * alone.forward_passes


@pytest.mark.parametrize("comparator", COMPARATORS)
def test_an_anchored_margin_is_the_weighted_mean_of_both_models(
    comparator: ComparatorName, committees: Callable[[ComparatorName], Ensemble], scorers: Scorers
) -> None:
    pools, student, base = _pools(), Ensemble.of(scorers("pointwise")), committees(comparator)
    selection = select(
        student, pools, method="exact", selector="west", seed=0, anchor=Anchor(base, 0.25)
    )
    expected = []
    for row in range(len(pools.prompts)):
        own = _member_margins(student, pools, row).mean(0)
        both = 0.75 * own + 0.25 * _member_margins(base, pools, row).mean(0)
        best, worst = max(permutations(range(SIZE), 2), key=lambda pair: float(both[pair]))
        expected.append((best, worst, float(both[best, worst].sigmoid())))
    _same(_rows(selection.pairs), expected)
    each = SIZE * (SIZE - 1) if comparator == "joint" else SIZE
    assert selection.forward_passes == len(pools.prompts) * (SIZE + 3 * each)


@pytest.mark.parametrize("method", ["exact", "tournament"])
def test_an_anchor_that_has_all_the_weight_chooses_alone(
    method: str, committees: Callable[[ComparatorName], Ensemble], scorers: Scorers
) -> None:
    pools, student, base = _pools(), Ensemble.of(scorers("pointwise")), committees("pointwise")
    anchored = select(
        student, pools, method=method, selector="west", seed=0, anchor=Anchor(base, 1.0)
    )
    alone = select(base, pools, method=method, selector="west", seed=0)
    assert _rows(anchored.pairs) != _rows(
        select(student, pools, method=method, selector="west", seed=0).pairs
    )
    _same(_rows(anchored.pairs), _rows(alone.pairs))


def test_a_tournament_with_an_anchor_finds_what_exact_finds(
    committees: Callable[[ComparatorName], Ensemble], scorers: Scorers
) -> None:
    # Pointwise models, so their mean is transitive and the tournament is exact.
    pools, student = _pools(), Ensemble.of(scorers("pointwise"))
    anchor = Anchor(committees("pointwise"), 0.5)
    exact, knockout = (
        select(student, pools, method=method, selector="west", seed=0, anchor=anchor)
        for method in ("exact", "tournament")
    )
    _same(_rows(knockout.pairs), _rows(exact.pairs))


def test_a_tournament_of_an_ensemble_asks_for_the_mean(
    committees: Callable[[ComparatorName], Ensemble],
) -> None:
    # Pointwise members, so their mean is transitive and the tournament is exact.
    pools, ensemble = _pools(), committees("pointwise")
    exact, knockout = (
        select(ensemble, pools, method=method, selector="west", seed=0)
        for method in ("exact", "tournament")
    )
    _same(_rows(knockout.pairs), _rows(exact.pairs))


def test_a_pessimistic_tournament_is_refused(scorers: Scorers) -> None:
    with pytest.raises(ValueError, match=r"pessimism is 0\.5, a tournament needs 0"):
        select(
            Ensemble.of(scorers("pointwise")),
            _pools(),
            method="tournament",
            selector="west",
            seed=0,
            pessimism=0.5,
        )


def _selected(scorers: Scorers, method: str = "exact") -> tuple[Pools, Selection]:
    pools = _pools()
    return pools, select(
        Ensemble.of(scorers("embedding")), pools, method=method, selector="west", seed=0
    )


@pytest.mark.parametrize("method", ["exact", "tournament"])
def test_frames_keep_their_tables_contracts(method: str, scorers: Scorers) -> None:
    pools, selection = _selected(scorers, method)
    pairs = PAIRS.validate(pairs_frame(selection), "pairs")
    nested = NESTED_PAIRS.validate(nested_frame(selection), "nested")
    assert pairs["prompt_id"].to_list() == pools.prompt_ids
    assert pairs["pool_std"].null_count() == (0 if method == "exact" else 4)
    last = nested.filter(pl.col("n") == SIZE)
    same = ["prompt_id", "chosen_index", "rejected_index", "p_chosen"]
    assert last.select(same).equals(pairs.select(same))


@pytest.mark.parametrize("comparator", ["pointwise", "embedding"])
def test_the_margins_of_a_pool_order_its_candidates_as_the_teacher_does(
    comparator: ComparatorName, planted: Scorers
) -> None:
    pools = _graded([[0, 2, -1, 3, 1, -4, 4], [3, 2, 1, 0, -1, -2, -3]])
    unfinished = np.zeros((2, 7), np.bool_)
    unfinished[0, 6] = True  # the best of the first pool
    pools = replace(pools, unfinished=unfinished)
    selection = select(
        Ensemble.of(planted(comparator)), pools, method="exact", selector="west", seed=0
    )
    frame = POOL_MARGINS.validate(margins_frame(selection), "margins")
    assert frame.height == 14
    first, second = frame.partition_by("prompt_id")
    order = first.sort("margin", descending=True)["candidate_index"].to_list()
    assert order == [6, 3, 1, 4, 0, 2, 5]
    assert first["margin"][6] == pytest.approx(4 - (0 + 2 - 1 + 3 + 1 - 4) / 6, abs=1e-5)
    assert first["fault"].to_list() == [None] * 6 + ["cut"]
    assert second["fault"].is_null().all()
    assert _rows(selection.pairs)[0][:2] == (3, 5)


def test_margins_are_kept_of_pools_at_equal_distances_and_of_none_of_a_tournament(
    scorers: Scorers,
) -> None:
    pools, selection = _selected(scorers)
    ends = margins_frame(selection, max_pools=2)
    assert ends["prompt_id"].unique(maintain_order=True).to_list() == [
        pools.prompt_ids[0],
        pools.prompt_ids[-1],
    ]
    whole = margins_frame(selection)
    assert ends.equals(whole.join(ends.select("prompt_id").unique(), on="prompt_id", how="semi"))
    assert whole["prompt_id"].n_unique() == len(pools.prompt_ids)
    assert margins_frame(_selected(scorers, "tournament")[1]).height == 0


def test_the_summary_counts_what_was_selected(scorers: Scorers) -> None:
    pools = _pools()
    pools.responses[0][1] = pools.responses[0][0]
    selection = select(
        Ensemble.of(scorers("embedding")), pools, method="exact", selector="west", seed=0
    )
    summary = summarise(selection)
    assert (summary["comparator"], summary["members"]) == ("embedding", 1)
    counts = {"prompts": 4, "pairs_selected": 4, "n_candidates": 5, "forward_passes": 20}
    assert counts.items() <= summary.items()
    assert summary["distinct_responses"] == 19
    quantiles = summary["p_chosen_quantiles"]
    assert isinstance(quantiles, dict)
    assert list(quantiles) == ["0.05", "0.25", "0.5", "0.75", "0.95"]
    assert list(quantiles.values()) == sorted(quantiles.values())
    low, high = selection.pairs.p_best.sort().values[1:3].tolist()
    assert quantiles["0.5"] == pytest.approx((low + high) / 2)


def _cut(values: Sequence[Sequence[int]], cut: Sequence[Sequence[int]]) -> Pools:
    """Graded pools whose candidates at some places were cut."""
    pools = _graded(values)
    unfinished = [
        [place in places for place in range(len(row))]
        for row, places in zip(values, cut, strict=True)
    ]
    return replace(pools, unfinished=np.array(unfinished))


@pytest.mark.parametrize("method", ["exact", "tournament"])
@pytest.mark.parametrize("comparator", ["joint", "pointwise"])
def test_candidates_that_were_cut_form_no_pair(
    comparator: ComparatorName, method: str, planted: Scorers
) -> None:
    # The best of the first pool was cut, the best and the worst of the second, none of the third;
    # of the fourth all but one, so its pair is of all.
    pools = _cut(
        [[0, 4, -1, 3], [4, 2, 1, -3], [1, 2, 3, 4], [1, -1, 0, 2]], [[1], [0, 3], [], [0, 1, 3]]
    )
    base = Ensemble.of(planted(comparator))
    selection = select(base, pools, method=method, selector="west", seed=0)
    assert [row[:2] for row in _rows(selection.pairs)] == [(3, 2), (1, 2), (3, 0), (3, 1)]
    frame = PAIRS.validate(pairs_frame(selection), "pairs")
    assert frame["fault"].to_list() == [None, None, None, "cut"]
    NESTED_PAIRS.validate(nested_frame(selection), "nested")
    summary = summarise(selection)
    assert summary["candidates"] == 16
    assert (summary["candidates_cut"], summary["pools_without_two"]) == (6, 1)


@pytest.mark.parametrize("selector", SELECTORS)
def test_a_cut_candidate_changes_no_other_pool(selector: str, planted: Scorers) -> None:
    values = [[0, 4, -1, 3], [4, 2, 1, -3], [1, 2, 3, 4]]
    base = Ensemble.of(planted("pointwise"))
    whole, cut = (
        select(base, _cut(values, places), method="exact", selector=selector, seed=0)
        for places in ([[], [], []], [[1], [], []])
    )
    assert _rows(cut.pairs)[1:] == _rows(whole.pairs)[1:]
    assert 1 not in _rows(cut.pairs)[0][:2]


def test_a_joint_tournament_pays_for_usable_candidates_alone(planted: Scorers) -> None:
    # ceil(3N/2) - 2 comparisons and the last one, in both orders: 10 passes of four, 8 of three.
    pools = _cut([[0, 4, -1, 3], [4, 2, 1, -3]], [[], [0]])
    base = Ensemble.of(planted("joint"))
    selection = select(base, pools, method="tournament", selector="west", seed=0)
    assert selection.forward_passes == 10 + 8


def test_responses_beyond_the_limit_form_no_pair(planted: Scorers) -> None:
    # Nine words of a limit of eight.
    pools = _graded([[0, 9, -1, 3], [9, 2, 1, -9], [9, -9, 10, -10]])
    selection = select(
        Ensemble.of(planted("pointwise")), pools, method="exact", selector="west", seed=0
    )
    assert [row[:2] for row in _rows(selection.pairs)] == [(3, 2), (1, 2), (2, 3)]
    frame = PAIRS.validate(pairs_frame(selection), "pairs")
    assert frame["fault"].to_list() == [None, None, "too_long"]
    assert selection.faults.limit.value == 8
    assert selection.faults.limit.for_most == 10


@pytest.mark.parametrize("comparator", COMPARATORS)
def test_pools_of_a_file_are_read_in_blocks_and_give_the_same_pairs(
    comparator: ComparatorName, scorers: Scorers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools, base = _pools(prompts=9), Ensemble.of(scorers(comparator))
    file = pool_file(pools, tmp_path)
    whole = select(base, file.read(), method="exact", selector="west", seed=0)
    monkeypatch.setattr(module, "MARGINS_AT_ONCE", 2 * SIZE**2)
    blocks = select(base, file, method="exact", selector="west", seed=0)
    _same(_rows(blocks.pairs), _rows(whole.pairs))
    assert summarise(blocks).keys() == summarise(whole).keys()
    for key, value in summarise(whole).items():
        if key != "p_chosen_quantiles":
            assert summarise(blocks)[key] == value
    assert pairs_frame(blocks)["fault"].to_list() == pairs_frame(whole)["fault"].to_list()
    knockouts = [
        select(base, given, method="tournament", selector="west", seed=0)
        for given in (file, file.read())
    ]
    assert _rows(knockouts[0].pairs) == _rows(knockouts[1].pairs)


def test_rewards_have_the_spread_of_their_margins() -> None:
    rewards = torch.randn(7, SIZE, generator=torch.Generator().manual_seed(3))
    usable = torch.ones(7, SIZE, dtype=torch.bool)
    names = [f"p{row}" for row in range(7)]
    margins = rewards.unsqueeze(-1) - rewards.unsqueeze(-2)
    west = SELECTORS["west"]
    by_margins = module.choose_by_margins(margins, names, west, 0, usable)
    by_rewards = module.choose_by_rewards(rewards, names, west, 0, usable)
    torch.testing.assert_close(by_rewards.spread, by_margins.spread)
    torch.testing.assert_close(by_rewards.mean_margins, by_margins.mean_margins)
    assert float(by_rewards.spread.min()) > 0

"""Every pair is kept, or dropped for one counted reason."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from westofn.artifacts.candidates import CANDIDATES
from westofn.artifacts.decisions import DECISIONS
from westofn.artifacts.pairs import PAIRS
from westofn.artifacts.pools import PoolRows
from westofn.artifacts.preferences import PREFERENCES
from westofn.errors import DataError
from westofn.pairing.filters import Filtered, filter_frames
from westofn.params.filter import FilterParams

# (chosen, its logprob, its tokens), (rejected, …), p_chosen
Row = tuple[tuple[str, float, int], tuple[str, float, int], float]
PLAIN: list[Row] = [
    (("good", -2.0, 2), ("bad", -3.0, 2), 0.6),
    (("so good", -4.0, 4), ("bad", -2.0, 2), 0.7),
    (("good", -1.0, 1), ("so bad", -30.0, 3), 0.8),
    (("good", -2.0, 2), ("bad", -2.0, 2), 0.9),
    (("a good", -2.0, 2), ("bad", -2.0, 2), 0.99),
]
SPOILT: list[Row] = [
    (("", -1.0, 1), ("bad", -3.0, 2), 0.99),
    (("good", -1.0, 1), (" \n", -3.0, 2), 0.99),
    (("same", -1.0, 1), ("same", -1.0, 1), 0.5),
]


def _filter(rows: list[Row], faults: list[str | None] | None = None, **settings: Any) -> Filtered:
    """Pair k has its chosen response at index 2 of the pool, its rejected one at index 0."""
    names = [f"p{row}" for row in range(len(rows))]
    pool = [
        text for chosen, rejected, _ in rows for text in (rejected, ("unused", -9.0, 1), chosen)
    ]
    candidates = CANDIDATES.frame(
        {
            "prompt_id": [name for name in names for _ in range(3)],
            "candidate_index": [0, 1, 2] * len(rows),
            "response": [text for text, _, _ in pool],
            "logprob": [logprob for _, logprob, _ in pool],
            "n_tokens": [tokens for _, _, tokens in pool],
            "finish_reason": ["stop"] * len(pool),
        }
    )
    pairs = PAIRS.frame(
        {
            "prompt_id": names,
            "chosen_index": [2] * len(rows),
            "rejected_index": [0] * len(rows),
            "p_chosen": [p for _, _, p in rows],
            "pool_std": [1.0] * len(rows),
            "fault": faults or [None] * len(rows),
        }
    )
    prompts = pl.DataFrame({"prompt_id": names, "prompt": [f"post {name}" for name in names]})
    given = {"quantile": 0.0, "likelihood_quantile": 0.0, "likelihood_normalisation": "per_token"}
    decided = [
        filter_frames(pairs, parts, FilterParams(**(given | settings)))
        for parts in (
            [PoolRows.of(candidates, prompts)],
            [PoolRows.of(candidates[row : row + 3], prompts) for row in range(0, len(pool), 3)],
        )
    ]
    assert decided[0].summary == decided[1].summary
    assert decided[0].preferences("k1").equals(decided[1].preferences("k1"))
    return decided[1]


def _reasons(filtered: Filtered) -> list[str | None]:
    decisions = DECISIONS.validate(filtered.decisions, "test")
    return decisions.sort("prompt_id")["dropped_by"].to_list()


def test_without_quantiles_all_usable_pairs_are_kept() -> None:
    filtered = _filter(PLAIN)
    assert _reasons(filtered) == [None] * 5
    assert filtered.summary == {"pairs_selected": 5, "pairs_kept": 5, "dropped": {}}


def test_kept_pairs_are_hard_labels_of_their_iteration() -> None:
    frame = PREFERENCES.validate(_filter(PLAIN).preferences("k2"), "test")
    assert frame.row(0, named=True) == {
        "pair_id": "k2-p0",
        "prompt_id": "p0",
        "prompt": "post p0",
        "chosen": "good",
        "rejected": "bad",
        "split": "train",
        "source": "k2",
        "label_source": "west_of_n",
        "p_chosen": pytest.approx(0.6),
    }
    assert frame["rejected"].to_list() == [rejected[0] for _, rejected, _ in PLAIN]


def test_the_confidence_threshold_is_a_quantile_of_the_usable_pairs() -> None:
    # The median of 0.6, 0.7, 0.8, 0.9, 0.99; what equals it stays. Spoilt pairs do not count.
    filtered = _filter(PLAIN + SPOILT, quantile=0.5)
    assert _reasons(filtered) == [
        "confidence",
        "confidence",
        None,
        None,
        None,
        "empty_response",
        "empty_response",
        "identical",
    ]
    summary = filtered.summary
    assert summary["confidence_threshold"] == pytest.approx(0.8)
    assert summary["dropped"] == {"confidence": 2, "empty_response": 2, "identical": 1}
    assert (summary["pairs_selected"], summary["pairs_kept"]) == (8, 3)
    assert "likelihood_threshold" not in summary


@pytest.mark.parametrize(
    ("normalisation", "threshold", "dropped"),
    [
        # Ten responses; the 0.1-quantile stands at position 0.9 of the sorted values.
        # Per token: −10, −1.5, −1 … → −10 + 0.9 · 8.5 = −2.35.
        ("per_token", -2.35, ["p2"]),
        # Sums: −30, −4, −3, −2 … → −30 + 0.9 · 26 = −6.6.
        ("sum", -6.6, ["p2"]),
    ],
)
def test_the_likelihood_threshold_is_a_quantile_of_both_responses(
    normalisation: str, threshold: float, dropped: list[str]
) -> None:
    filtered = _filter(PLAIN, likelihood_quantile=0.1, likelihood_normalisation=normalisation)
    assert filtered.summary["likelihood_threshold"] == pytest.approx(threshold)
    gone = filtered.decisions.filter(pl.col("dropped_by") == "likelihood")
    assert gone["prompt_id"].to_list() == dropped


def test_the_normalisation_decides_which_pair_is_unlikely() -> None:
    # Long: −12 in 12 tokens (−1 a token); short: −3 in 1 token (−3 a token).
    rows: list[Row] = [
        (("long", -12.0, 12), ("bad", -0.5, 1), 0.9),
        (("short", -3.0, 1), ("bad", -0.5, 1), 0.9),
        (("good", -0.5, 1), ("bad", -0.5, 1), 0.9),
    ]
    by_sum = _filter(rows, likelihood_quantile=0.15, likelihood_normalisation="sum")
    by_token = _filter(rows, likelihood_quantile=0.15, likelihood_normalisation="per_token")
    assert _reasons(by_sum) == ["likelihood", None, None]
    assert _reasons(by_token) == [None, "likelihood", None]


@pytest.mark.parametrize("quantile", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("likelihood_quantile", [0.0, 0.2])
def test_rows_in_are_rows_out_and_counted_reasons(
    quantile: float, likelihood_quantile: float
) -> None:
    rows = PLAIN + SPOILT + PLAIN[::-1]
    filtered = _filter(rows, quantile=quantile, likelihood_quantile=likelihood_quantile)
    summary, decisions = filtered.summary, filtered.decisions
    dropped = summary["dropped"]
    assert isinstance(dropped, dict)
    assert summary["pairs_kept"] + sum(dropped.values()) == len(rows) == decisions.height  # type: ignore[operator]
    assert filtered.preferences("k1").height == summary["pairs_kept"]
    assert decisions["kept"].sum() == summary["pairs_kept"]


def test_when_nothing_is_left_the_reasons_are_told() -> None:
    with pytest.raises(
        DataError, match="all 2 pairs are dropped: 2 as empty_response; train the policy"
    ):
        _filter(SPOILT[:2])


def test_pairs_of_candidates_that_are_not_there_are_refused() -> None:
    pairs = PAIRS.frame(
        {
            "prompt_id": ["p0", "p1"],
            "chosen_index": [0, 7],
            "rejected_index": [1, 0],
            "p_chosen": [0.6, 0.6],
            "pool_std": [None, None],
            "fault": [None, None],
        }
    )
    candidates = CANDIDATES.frame(
        {
            "prompt_id": ["p0", "p0", "p1", "p1"],
            "candidate_index": [0, 1, 0, 1],
            "response": ["a", "b", "a", "b"],
            "logprob": [-1.0] * 4,
            "n_tokens": [1] * 4,
            "finish_reason": ["stop"] * 4,
        }
    )
    prompts = pl.DataFrame({"prompt_id": ["p0", "p1"], "prompt": ["x", "y"]})
    params = FilterParams(quantile=0, likelihood_quantile=0, likelihood_normalisation="sum")
    with pytest.raises(
        DataError, match=r"1 of 2 pairs point to candidates .*rerun sample and won_"
    ):
        filter_frames(pairs, [PoolRows.of(candidates, prompts)], params)


def test_pairs_that_can_train_no_student_go_for_their_reason() -> None:
    # What is empty or identical is so however long; the median is of 0.7, 0.9 and 0.99.
    filtered = _filter(
        PLAIN + SPOILT,
        ["cut", None, "too_long", None, None, "cut", None, "too_long"],
        quantile=0.5,
    )
    assert _reasons(filtered) == [
        "cut",
        "confidence",
        "too_long",
        None,
        None,
        "empty_response",
        "empty_response",
        "identical",
    ]
    assert filtered.summary["dropped"] == {
        "cut": 1, "too_long": 1, "confidence": 1, "empty_response": 2, "identical": 1
    }  # fmt: skip


def test_when_all_pairs_are_cut_the_limit_is_to_mend() -> None:
    with pytest.raises(DataError, match=r"all 2 pairs .*raise sft\.max_response_tokens"):
        _filter(PLAIN[:2], ["cut", "cut"])

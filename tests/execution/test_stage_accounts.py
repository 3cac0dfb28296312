from __future__ import annotations

from typing import Any

import pytest

from westofn.execution import stage_accounts
from westofn.execution.account import Limit, warnings_of

LIMIT = {"max_response_tokens": 32, "response_tokens_for_95_percent": 90}
MODEL: dict[str, Any] = {
    "human_pairs": 46,
    "human_dropped_too_long": 133,
    "synthetic_pairs": 0,
    "synthetic_dropped_too_long": 0,
    "validation_pairs": 8,
    "validation_dropped_too_long": 0,
    "validation_not_read": 0,
    "prompts_trimmed": 0,
    **LIMIT,
}
SAMPLED = {
    "prompts": 10,
    "prompts_trimmed": 3,
    "candidates": 80,
    "candidates_cut": 5,
    "rows_other_prompts": 0,
    "responses_too_long": 0,
    "responses_surplus": 0,
}
SELECTED = {"prompts": 10, "prompts_trimmed": 0, "candidates": 80, **LIMIT}


def reward_model(**changed: int) -> str:
    return stage_accounts.reward_model_account("k1", MODEL | changed).line


def test_prepare_tells_rows_that_were_dropped_and_merged() -> None:
    counts = {"rows_in": 10, "rows_out": 6, "dropped_tie": 3, "dropped_other_subset": 0}
    account = stage_accounts.prepare_account(counts)
    assert account is not None
    assert account.line == "prepare: 10 rows in, 6 used; dropped 3 tie, 1 merged"
    assert stage_accounts.prepare_account({"pairs_train": 100}) is None


def test_a_reward_model_tells_its_pairs_by_origin() -> None:
    assert reward_model() == "k1: 179 pairs in, 46 used; dropped 133 too_long"
    assert reward_model(synthetic_pairs=19, synthetic_dropped_too_long=1) == (
        "k1: 199 pairs in, 65 used; dropped 134 too_long; 46 human, 19 synthetic"
    )


def test_trimmed_prompts_and_validation_rows_are_told() -> None:
    line = reward_model(validation_dropped_too_long=2, prompts_trimmed=1)
    assert " ".join(line.split()).endswith("; 8 of 10 validation rows; 1 prompt trimmed")


def test_sft_tells_its_examples() -> None:
    facts = {**MODEL, "train_examples": 20, "dropped_too_long": 5, "prompts_trimmed": 2}
    account = stage_accounts.sft_account(facts)
    assert account.line == "sft: 25 examples in, 20 used; dropped 5 too_long; 2 prompts trimmed"
    assert account.limit == Limit(32, 90)


def test_sampling_drops_nothing_and_tells_what_was_cut() -> None:
    account = stage_accounts.sample_account("sample", SAMPLED)
    assert account.line == (
        "sample: 80 responses in, 80 used; 10 prompts; 5 cut; 3 prompts trimmed"
    )
    assert account.limit is None


def test_pools_of_a_file_tell_what_was_left() -> None:
    read = SAMPLED | {"responses_too_long": 30, "responses_surplus": 10, "rows_other_prompts": 2}
    account = stage_accounts.sample_account("sample", read | LIMIT)
    assert " ".join(account.line.split()) == (
        "sample: 120 responses in, 80 used; dropped 30 too_long, 10 surplus; 10 prompts; 5 cut; "
        "2 rows of other prompts; 3 prompts trimmed"
    )
    assert warnings_of([account])


@pytest.mark.parametrize(
    ("short", "end"), [(0, "dropped 8 cut, 2 too_long"), (1, "; 1 of 10 pools without two")]
)
def test_selection_tells_the_candidates_that_form_no_pair(short: int, end: str) -> None:
    summary = SELECTED | {
        "candidates_cut": 8,
        "candidates_too_long": 2,
        "pools_without_two": short,
    }
    line = " ".join(stage_accounts.selection_account(summary).line.split())
    assert line.startswith("won_select: 80 candidates in, 70 used; dropped 8 cut, 2 too_long")
    assert line.endswith(end)


def test_the_filter_tells_its_reasons() -> None:
    summary = {"pairs_selected": 179, "pairs_kept": 46, "dropped": {"too_long": 130, "cut": 3}}
    account = stage_accounts.filter_account(summary, stage_accounts.limit_of(SELECTED))
    assert account.line == "filter: 179 pairs in, 46 used; dropped 130 too_long, 3 cut"
    assert warnings_of([account])


def test_the_forecast_tells_the_pairs_that_it_did_not_read() -> None:
    counts = {
        "labeled_pairs": 50,
        "validation_pairs": 30,
        "pairs_dropped_too_long": 8,
        "pairs_not_read": 20,
        "prompts_trimmed": 1,
        **LIMIT,
    }
    line = " ".join(stage_accounts.forecast_account(counts).line.split())
    assert line == (
        "forecast: 100 pairs in, 72 used; dropped 20 not_read, 8 too_long; 1 prompt trimmed"
    )


def test_an_evaluation_uses_all_pairs_and_tells_the_accuracy_within_the_limit() -> None:
    metrics = {
        "test_pairs": 40,
        "test_pairs_too_long": 0,
        "prompts_trimmed": 0,
        "accuracy": 0.6,
        **LIMIT,
    }
    account = stage_accounts.evaluation_account
    assert account("k1", metrics).line == "eval k1: 40 test pairs in, 40 used"
    with_too_long = metrics | {
        "test_pairs_too_long": 30,
        "accuracy_within_limit": 0.7,
        "prompts_trimmed": 2,
    }
    assert " ".join(account("k1", with_too_long).line.split()) == (
        "eval k1: 40 test pairs in, 40 used; 30 beyond 32 tokens; accuracy 70.0 % within, "
        "60.0 % of all; 2 prompts trimmed"
    )


def test_rl_tells_the_responses_that_did_not_end() -> None:
    facts = {"prompts": 50, "responses": 640, "cut_by_limit": 12, "prompts_trimmed": 0}
    line = stage_accounts.rl_account(facts).line
    assert line == "rlhf: 50 prompts in, 50 used; 12 of 640 responses without an end token"

"""Build the account of a stage from the numbers that it writes; stages and report print it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from westofn.execution.account import TOO_LONG, Account, Limit, trimmed_note

Numbers = Mapping[str, Any]


def prepare_account(counts: Numbers) -> Account | None:
    """Account for the rows of the user's files in `prepared/counts.json`; None for the world.

    Rows that became part of another row are counted as `merged`.
    """
    if "rows_in" not in counts:
        return None
    prefix = "dropped_"
    dropped = {k.removeprefix(prefix): n for k, n in counts.items() if k.startswith(prefix)}
    merged = counts["rows_in"] - counts["rows_out"] - sum(dropped.values())
    return Account(
        "prepare", counts["rows_in"], counts["rows_out"], dropped | {"merged": merged}, "rows"
    )


def sft_account(facts: Numbers) -> Account:
    """Account for the examples of the SFT policy, from its card."""
    examples, too_long = facts["train_examples"], facts["dropped_too_long"]
    return Account(
        "sft",
        examples + too_long,
        examples,
        {TOO_LONG: too_long},
        "examples",
        [*_validation(facts), *trimmed_note(facts["prompts_trimmed"])],
        limit_of(facts),
    )


def sample_account(stage: str, counts: Numbers) -> Account:
    """Account for the responses that became candidates, from `counts.json`."""
    unused = {
        TOO_LONG: counts["responses_too_long"],
        "surplus": counts["responses_surplus"],
    }
    used, other, cut = (
        counts[key] for key in ("candidates", "rows_other_prompts", "candidates_cut")
    )
    notes = [f"{counts['prompts']} prompts"]
    notes += [f"{cut} cut"] if cut else []
    notes += [f"{other} rows of other prompts"] if other else []
    return Account(
        stage,
        used + sum(unused.values()),
        used,
        unused,
        "responses",
        [*notes, *trimmed_note(counts["prompts_trimmed"])],
        limit_of(counts),
    )


def selection_account(summary: Numbers) -> Account:
    """Account for the candidates from which pairs were chosen, by `pairs/summary.json`."""
    faults = {"cut": summary["candidates_cut"], TOO_LONG: summary["candidates_too_long"]}
    total, short = summary["candidates"], summary["pools_without_two"]
    return Account(
        "won_select",
        total,
        total - sum(faults.values()),
        faults,
        "candidates",
        [
            *([f"{short} of {summary['prompts']} pools without two"] if short else []),
            *trimmed_note(summary["prompts_trimmed"]),
        ],
        limit_of(summary),
    )


def filter_account(summary: Numbers, limit: Limit | None) -> Account:
    """Account for the pairs of the filter, from `synthetic/summary.json`.

    Args:
        summary: The file's content.
        limit: The limit of tokens, see `limit_of` and `pairs/summary.json`.
    """
    return Account(
        "filter",
        summary["pairs_selected"],
        summary["pairs_kept"],
        summary["dropped"],
        limit=limit,
    )


def reward_model_account(stage: str, facts: Numbers) -> Account:
    """Account for the pairs of a reward model, from its card."""
    human, synthetic = facts["human_pairs"], facts["synthetic_pairs"]
    too_long = facts["human_dropped_too_long"] + facts["synthetic_dropped_too_long"]
    notes = [f"{human} human, {synthetic} synthetic"] if synthetic else []
    return Account(
        stage,
        human + synthetic + too_long,
        human + synthetic,
        {TOO_LONG: too_long},
        notes=[*notes, *_validation(facts), *trimmed_note(facts["prompts_trimmed"])],
        limit=limit_of(facts),
    )


def forecast_account(counts: Numbers) -> Account:
    """Account for the human pairs of the forecast, from its counts."""
    read = counts["labeled_pairs"] + counts["validation_pairs"]
    too_long, rest = counts["pairs_dropped_too_long"], counts["pairs_not_read"]
    return Account(
        "forecast",
        read + rest,
        read - too_long,
        {TOO_LONG: too_long, "not_read": rest},
        notes=trimmed_note(counts["prompts_trimmed"]),
        limit=limit_of(counts),
    )


def evaluation_account(name: str, metrics: Numbers) -> Account:
    """Account for the test pairs of an arm, from `metrics.json` of eval; all are scored whole."""
    pairs, too_long = metrics["test_pairs"], metrics["test_pairs_too_long"]
    notes = []
    if too_long:
        notes = [f"{too_long} beyond {metrics['max_response_tokens']} tokens"]
    if "accuracy_within_limit" in metrics:
        within, all_pairs = metrics["accuracy_within_limit"], metrics["accuracy"]
        notes += [f"accuracy {100 * within:.1f} % within, {100 * all_pairs:.1f} % of all"]
    notes += trimmed_note(metrics["prompts_trimmed"])
    return Account(f"eval {name}", pairs, pairs, {}, "test pairs", notes)


def rl_account(facts: Numbers) -> Account:
    """Account for the prompts of RL, from `rl/metrics.json`."""
    prompts, cut = facts["prompts"], facts["cut_by_limit"]
    notes = [f"{cut} of {facts['responses']} responses without an end token"] if cut else []
    return Account(
        "rlhf",
        prompts,
        prompts,
        {},
        "prompts",
        [*notes, *trimmed_note(facts["prompts_trimmed"])],
    )


def limit_of(numbers: Numbers) -> Limit | None:
    """Return the limit of tokens in a stage's numbers; None if the stage has none."""
    if "max_response_tokens" not in numbers:
        return None
    return Limit(numbers["max_response_tokens"], numbers["response_tokens_for_95_percent"])


def _validation(facts: Numbers) -> list[str]:
    """Return a note if validation rows are too long or not read, else no note."""
    kept = facts["validation_pairs"]
    other = facts["validation_dropped_too_long"] + facts["validation_not_read"]
    return [f"{kept} of {kept + other} validation rows"] if other else []

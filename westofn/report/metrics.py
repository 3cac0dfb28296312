"""The content of `metrics.json`, one small flat object an arm, and its headlines.

`dvc exp show` has a column for every number of a declared metric, so that `headlines.json` alone is
declared as such.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from westofn.artifacts.table import show
from westofn.execution.account import warnings_of
from westofn.execution.guards import readings_of_record, readings_record
from westofn.report.differences import difference_key
from westofn.report.inputs import BASE, Arm, Iteration, Record, ReportInputs
from westofn.report.rows import account_of_record, account_record

DIGITS = 4
HEADLINE = ("accuracy", "on_policy_accuracy", "best_of_n_gold", "best_of_n_win_rate")
"""The measures with a 95 % interval over test prompts and a difference to HF50."""
INTERVALS = tuple(f"{key}{end}" for key in HEADLINE for end in ("", "_low", "_high")) + tuple(
    f"{difference_key(key)}{end}" for key in HEADLINE for end in ("", "_low", "_high")
)
TOO_LONG = ("test_pairs_too_long", "accuracy_within_limit")
BASE_KEYS = (*INTERVALS, *TOO_LONG)
ARM_KEYS = (*BASE_KEYS, "high_confidence_accuracy", "ece")
ITERATION_KEYS = ("label_accuracy", "label_bound", "label_accuracy_random")
HEALTH = "pool_health"
"""Key of `pairs/summary.json` in rounds after the first."""
FILTER_KEYS = ("pairs_selected", "pairs_kept")
RL_KEYS = ("rl_reward", "rl_gold", "rl_win_rate", "rl_kl")

ROWS = "rows"
"""Key of the stages' accounts in metrics.json, beside the arms."""
CHECKS = "checks"
"""Key of the guards' readings in metrics.json, beside the arms."""

HEADLINE_KEYS = (
    "accuracy",
    "on_policy_accuracy",
    "best_of_n_win_rate",
    "label_accuracy",
    "pairs_kept",
    "rl_win_rate",
)

Metrics = dict[str, dict[str, Any]]


def collect_metrics(inputs: ReportInputs) -> Metrics:
    """Metrics by arm, floats rounded to 4 digits; what was not measured has no key.

    Returns:
        `{"hf50": {"accuracy": ...}, "k1": {..., "rl_gold": ...}, ..., "base": {...}}`, in the
        order in which the report shows the arms; and `"rows": {"sft": {"in": ...}, ...}`, the
        account of every stage; `"checks": {"chance": {"limit": 0.5, "hf50": ...}, ...}`, what
        every guard read.
    """
    metrics: Metrics = {name: _arm_metrics(inputs, name) for name in inputs.order}
    for name in list(inputs.iterations)[:1]:  # whose candidates the forecast has seen
        metrics[name] |= _forecast(inputs.forecast)
    if inputs.accounts:
        metrics[ROWS] = {account.stage: account_record(account) for account in inputs.accounts}
    if inputs.checks:
        metrics[CHECKS] = readings_record(inputs.checks)
    return metrics


def headlines(metrics: Metrics) -> Metrics:
    """Return the few numbers of metrics.json by which runs are compared, of all arms but the base.

    >>> headlines({"hf50": {"accuracy": 0.6, "ece": 0.1}, "base": {"accuracy": 0.5}, "checks": {}})
    {'hf50': {'accuracy': 0.6}}
    """
    others = (BASE, ROWS, CHECKS)
    return {name: _pick(arm, HEADLINE_KEYS) for name, arm in metrics.items() if name not in others}


def _forecast(forecast: Record) -> dict[str, float]:
    """κ of the policy's samples and of human pairs; absent where it cannot be told."""
    kappa = forecast["kappa"] or {}
    names = {"policy": "kappa", "human": "kappa_human", "ratio": "kappa_ratio"}
    return {name: _rounded(kappa[key]) for key, name in names.items() if key in kappa}


def _arm_metrics(inputs: ReportInputs, name: str) -> dict[str, float]:
    arm = inputs.arms[name]
    if name == BASE:
        return _pick(arm.metrics, BASE_KEYS)
    picked = _pick(arm.metrics, ARM_KEYS)
    if name in inputs.iterations:
        picked |= _iteration_metrics(arm, inputs.iterations[name])
    return picked


def _iteration_metrics(arm: Arm, iteration: Iteration) -> dict[str, float]:
    return (
        _pick(arm.metrics, ITERATION_KEYS)
        | _labels_by_size(arm)
        | _pool_health(iteration)
        | _pick(iteration.filtering, FILTER_KEYS)
        | _pick(iteration.rl_metrics, RL_KEYS)
    )


def _labels_by_size(arm: Arm) -> dict[str, float]:
    """Correctness of the West-of-N pair among the first n candidates, a key an n."""
    points = arm.curves.get("label_accuracy", ())
    return {f"label_accuracy_n{p['n']}": _rounded(p["accuracy"]) for p in points}


def _pool_health(iteration: Iteration) -> dict[str, float]:
    """What a later round's pools are like beside round 1's, such as pool_agreement."""
    health = iteration.selection.get(HEALTH, {})
    return {f"pool_{name}": _rounded(value) for name, value in health.items()}


def _pick(record: Record, keys: tuple[str, ...]) -> dict[str, float]:
    return {key: _rounded(record[key]) for key in keys if key in record}


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else round(value, DIGITS)


def checked_metrics(metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what metrics.json holds.

    Raises:
        TypeError: An arm has something else than numbers.
        KeyError, AssertionError: An account lacks a number, or does not add up.
    """
    for name, arm in metrics.items():
        if name == ROWS:
            warnings_of([account_of_record(stage, record) for stage, record in arm.items()])
        elif name == CHECKS:
            readings_of_record(arm)
        elif not isinstance(arm, dict) or any(type(v) not in (int, float) for v in arm.values()):
            raise TypeError(f"{name} is {show(arm)}, needs an arm's numbers")
    return metrics

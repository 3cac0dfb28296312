"""The account of every stage of a run: rows used, and rows dropped by reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from westofn.artifacts.json_file import read_as
from westofn.execution.account import Account, Limit
from westofn.execution.stage_accounts import (
    filter_account,
    forecast_account,
    limit_of,
    prepare_account,
    reward_model_account,
    rl_account,
    sample_account,
    selection_account,
    sft_account,
)
from westofn.models.card import member_folders, read_card

STAGES = (
    "prepare", "sft", "base_rm", "hf50", "hf100", "prior_rm", "autorater", "forecast",
    "sample", "won_select", "filter", "student_rm", "rlhf",
)  # fmt: skip
"""In the order in which they are shown; those of a round have its name behind theirs."""
DROPPED = "dropped_"
SHARE = "_share"


def read_accounts(data: Path, iterations: Sequence[str]) -> list[Account]:
    """Read the accounts of all stages that may drop rows, in the order of the pipeline.

    Args:
        data: The folder `data/` of the pipeline.
        iterations: Names of the loop's rounds, in order.

    Raises:
        DataError: A file is missing or broken.
        ModelError: A model's card is missing or broken.
    """
    loop, reference = data / "loop", data / "reference"
    models = {"base_rm": loop / "k0" / "rm"}
    models |= {name: reference / name for name in ("hf50", "hf100")}
    models["prior_rm"] = reference / "prior"
    if not (data / "autorater" / "none.json").exists():
        models["autorater"] = data / "autorater"
    prepared = read_as(prepare_account, data / "prepared" / "counts.json", "prepare")
    accounts = [
        *([prepared] if prepared else []),
        sft_account(_facts(loop / "k0" / "policy", "policy")),
        *(_of_reward_model(stage, folder) for stage, folder in models.items()),
        read_as(_of_forecast, data / "forecast" / "forecast.json", "forecast"),
    ]
    for name in iterations:
        accounts += _of_round(loop / name)
    return accounts


def account_record(account: Account) -> dict[str, float | int | str]:
    """An account as an object of metrics.json: counts, and shares of the rows read.

    >>> account_record(Account("filter", 8, 6, {"cut": 2}))["dropped_cut_share"]
    0.25
    """
    record: dict[str, float | int | str] = {
        "what": account.what,
        "in": account.rows_in,
        "used": account.used,
        "used_share": round(account.share(account.used), 4),
    }
    for reason, count in account.dropped.items():
        record[DROPPED + reason] = count
        record[DROPPED + reason + SHARE] = round(account.share(count), 4)
    if account.limit is not None:
        record["max_response_tokens"] = account.limit.value
        record["response_tokens_for_95_percent"] = account.limit.for_most
    return record


def account_of_record(stage: str, record: Mapping[str, Any]) -> Account:
    """The account that `account_record` wrote, without its notes."""
    dropped = {
        key.removeprefix(DROPPED): count
        for key, count in record.items()
        if key.startswith(DROPPED) and not key.endswith(SHARE)
    }
    return Account(
        stage, record["in"], record["used"], dropped, record["what"], limit=limit_of(record)
    )


def place_of_stage(stage: str) -> tuple[str, int]:
    """The place of a stage among those of metrics.json, which are in alphabetical order.

    >>> sorted(["filter k1", "sample k2", "sample k1", "sft"], key=place_of_stage)
    ['sft', 'sample k1', 'filter k1', 'sample k2']
    """
    name, _, iteration = stage.partition(" ")
    return iteration, STAGES.index(name) if name in STAGES else -1


def shares_dropped(account: Account) -> str:
    """The shares of dropped rows by reason, in percent of the rows read.

    >>> shares_dropped(Account("filter", 8, 5, {"cut": 1, "too_long": 2, "identical": 0}))
    '25.0 too_long, 12.5 cut'
    """
    dropped = sorted(account.dropped.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{100 * account.share(n):.1f} {name}" for name, n in dropped if n)


def _of_round(folder: Path) -> list[Account]:
    pairs = folder / "pairs" / "summary.json"
    selection, limit = read_as(_of_selection, pairs, "won_select")
    accounts = [
        read_as(partial(sample_account, "sample"), folder / "counts.json", "sample"),
        selection,
        read_as(
            partial(filter_account, limit=limit), folder / "synthetic" / "summary.json", "filter"
        ),
        _of_reward_model("student_rm", folder / "rm"),
        read_as(rl_account, folder / "rl" / "metrics.json", "rlhf"),
    ]
    return [replace(account, stage=f"{account.stage} {folder.name}") for account in accounts]


def _of_forecast(record: Mapping[str, Any]) -> Account:
    return forecast_account(record["counts"])


def _of_selection(summary: Mapping[str, Any]) -> tuple[Account, Limit | None]:
    return selection_account(summary), limit_of(summary)


def _of_reward_model(stage: str, folder: Path) -> Account:
    """Of an ensemble, whose members have the same pairs, that of the first."""
    return reward_model_account(stage, _facts(member_folders(folder)[0], "reward_model"))


def _facts(folder: Path, role: Literal["policy", "reward_model"]) -> Mapping[str, Any]:
    return read_card(folder, role).training

"""The forecast of one's own data: what West-of-N would bring, before anything is trained.

It takes human pairs and random samples of a policy, from a run's folder or from files, reads frozen
features and asks `westofn.core.forecast`. Two responses a prompt to a few hundred prompts are
enough; pools of 64 are not needed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor

from westofn.artifacts.candidates import CANDIDATES
from westofn.artifacts.pools import Pools
from westofn.core.forecast import Forecast, Gain, forecast
from westofn.core.forecast_terms import (
    CALIBRATION,
    METRIC_TITLES,
    PRIOR,
    TITLES,
    TWICE,
    Calibration,
)
from westofn.core.linear_reward import directions_of, inverse_spread
from westofn.core.seeds import derive_seed
from westofn.errors import DataError
from westofn.execution.account import Limit
from westofn.models.features import FeatureReader
from westofn.params.network import Readout
from westofn.params.reward_start import RewardStartParams
from westofn.sources.human import HumanData
from westofn.text.encoding import Encoder
from westofn.training.arms import preferences_from
from westofn.training.pairs import Preferences, fitting_pairs
from westofn.training.start import reward_start

MOST_PAIRS = 3000
MOST_PROMPTS = 300
MOST_SAMPLES = 16
"""What is read of pairs, of prompts with responses, and of responses a prompt; more cost minutes
and tell little more."""
WIDEST = 256
"""Wider features are projected on so many principal directions of pairs and samples."""
FEWEST_PAIRS = 4
FEW_PROMPTS = 50
"""With samples to fewer prompts the covariance of the samples is poorly known."""
DECIDES = "accuracy"
"""What the suggestion goes by: the forecast tells gains of held-out accuracy best (docs/map.md)."""
NORMAL_975 = 1.96


@dataclass(frozen=True)
class ForecastTexts:
    """What a forecast is made from.

    Attributes:
        labeled: Human pairs one has.
        validation: Human pairs that choose penalties and the prior's power.
        samples: Pools of the policy.
        counts: What was read and what was left out.
    """

    labeled: Preferences
    validation: Preferences
    samples: Pools
    counts: Mapping[str, int]


def texts_of_run(prepared: Path, candidates: Path) -> ForecastTexts:
    """The texts of a run: D_L, the validation pairs, and samples of D_U."""
    human = HumanData.read(prepared)
    return bounded(
        preferences_from(human.labeled_half().train),
        preferences_from(human.validation),
        Pools.from_frames(CANDIDATES.read(candidates), human.prompts),
    )


def bounded(labeled: Preferences, validation: Preferences, samples: Pools) -> ForecastTexts:
    """At most MOST_PAIRS, MOST_PROMPTS and MOST_SAMPLES of what there is."""
    kept = samples.head(MOST_PROMPTS).cut(MOST_SAMPLES)
    few = [_first(pairs, MOST_PAIRS) for pairs in (labeled, validation)]
    counts = {
        "labeled_pairs": len(few[0]),
        "validation_pairs": len(few[1]),
        "prompts_with_samples": len(kept.prompts),
        "samples_a_prompt": kept.n_candidates,
        "pairs_not_read": len(labeled) + len(validation) - len(few[0]) - len(few[1]),
        "prompts_not_read": len(samples.prompts) - len(kept.prompts),
    }
    return ForecastTexts(few[0], few[1], kept, counts)


def reader_of_run(start: RewardStartParams, policy: Path, readout: Readout, seed: int) -> Reader:
    """The frozen weights from which a run's reward models start."""
    origin = reward_start(start, policy, "pointwise", seed)
    return Reader(FeatureReader(origin.model, origin.encoder, readout), origin.encoder)


@dataclass(frozen=True)
class Reader:
    """Features of texts, and the encoder that says which responses fit."""

    features: FeatureReader
    encoder: Encoder


def make_forecast(
    texts: ForecastTexts, reader: Reader, seed: int
) -> tuple[Forecast, dict[str, int]]:
    """Read the features and forecast.

    Args:
        texts: Pairs and samples.
        reader: Reads features.
        seed: Decides all draws.

    Returns:
        The forecast, and the account of what was read and left out.

    Raises:
        DataError: There are fewer than FEWEST_PAIRS pairs, or the samples of every prompt are all
            alike.
    """
    sets = [
        fitting_pairs("forecast", reader.encoder, pairs, what)
        for pairs, what in (
            (texts.labeled, "labelled pairs"),
            (texts.validation, "validation pairs"),
        )
    ]
    if (fitting := sum(len(part.rows) for part in sets)) < FEWEST_PAIRS:
        raise DataError(
            f"forecast: {fitting} human pairs within the limit of tokens, needs at least "
            f"{FEWEST_PAIRS}, of which two halves are compared; give more pairs"
        )
    limit = reader.encoder.template.max_response_tokens
    counts = {
        **texts.counts,
        "pairs_dropped_too_long": sum(part.dropped for part in sets),
        "prompts_trimmed": sum(sum(reader.encoder.trims(part.rows.prompts)) for part in sets),
        "max_response_tokens": limit,
        "response_tokens_for_95_percent": Limit.of(
            limit, [length for part in sets for length in part.lengths]
        ).for_most,
    }
    features = reader.features
    both = [
        features.pools(pairs.prompts, [list(pair) for pair in zip(pairs.chosen, pairs.rejected)])  # noqa: B905
        for pairs in (part.rows for part in sets)
    ]
    scale = inverse_spread(torch.cat([pairs.flatten(0, 1) for pairs in both]))
    pools = features.pools(texts.samples.prompts, texts.samples.responses) * scale
    if not float((pools - pools.mean(1, keepdim=True)).abs().max()) > 0:
        raise DataError(
            "forecast: all samples of every prompt have the same features; sample at a higher "
            "temperature"
        )
    pairs = [(part[:, 0] - part[:, 1]) * scale for part in both]
    narrow = _narrow([*pairs, pools])
    result = forecast(narrow[0], narrow[1], narrow[2], seed=derive_seed(seed, "forecast") % 2**63)
    return calibrated(result), counts


def calibrated(result: Forecast) -> Forecast:
    """The forecast with gains of the size, and intervals of the width, that the map showed.

    A gain's mean is multiplied by the calibration's slope. Its interval takes the posterior's
    spread, multiplied likewise, and what a single draw of the labels adds.
    """
    return replace(
        result,
        gains={
            arm: {
                metric: _calibrated(gains[metric], CALIBRATION[metric][arm == TWICE])
                for metric in METRIC_TITLES
            }
            for arm, gains in result.gains.items()
        },
    )


def _calibrated(gain: Gain, by: Calibration) -> Gain:
    mean = by.slope * gain.mean
    half = math.hypot(by.slope * (gain.high - gain.low) / 2, NORMAL_975 * by.spread)
    return Gain(mean, mean - half, mean + half)


def forecast_record(result: Forecast, counts: Mapping[str, int]) -> dict[str, Any]:
    """The content of forecast.json: κ, powers, levels and gains by name, advice, the account."""
    return {
        "kappa": None if result.kappa is None else asdict(result.kappa),
        "powers": {f"{power:g}": share for power, share in result.powers.items()},
        "hf50": {metric: asdict(level) for metric, level in result.teacher.items()},
        "gains": {
            arm: {metric: asdict(gain) for metric, gain in gains.items()}
            for arm, gains in result.gains.items()
        },
        "advice": advice(result, counts["prompts_with_samples"]),
        "counts": dict(counts),
    }


def advice(result: Forecast, prompts: int) -> str:
    """What the forecast suggests, no surer than its intervals and its samples allow."""
    if prompts >= FEW_PROMPTS:
        return _suggestion(result)
    return (
        f"{_suggestion(result)} Only {prompts} prompts have samples, which says little of how the "
        "policy varies: sample two responses to a few hundred."
    )


def _suggestion(result: Forecast) -> str:
    if result.kappa is None:
        return (
            "The labels are too few or too noisy to tell what people care about: two halves of "
            "them agree on nothing. Label more (westofn export questions)."
        )
    west = {arm: gains[DECIDES] for arm, gains in result.gains.items() if arm not in (PRIOR, TWICE)}
    best = max(west, key=lambda arm: west[arm].mean)
    gain, twice, prior = west[best], result.gains[TWICE][DECIDES], result.gains[PRIOR][DECIDES]
    shown = f"{_shown(gain)} points of held-out accuracy, twice the labels {_shown(twice)}"
    if gain.high < 0 or (gain.mean <= 0 and twice.mean > gain.mean):
        return (
            f"Label more instead (westofn export questions): {TITLES[best]} is the best way to "
            f"make pairs here and is expected to bring {shown}."
        )
    if gain.low > 0:
        also = (
            " The covariance prior brings as much without sampled pairs."
            if prior.low > 0 and prior.mean >= gain.mean
            else ""
        )
        return f"Use {TITLES[best]}: expected {shown}.{also}"
    return (
        f"Not certain: {TITLES[best]} is expected to bring {shown}; its interval holds zero. "
        "Try it and go by validation, or label more first (westofn export questions)."
    )


def print_forecast(record: Mapping[str, Any], console: Console) -> None:
    """Print the forecast as a table that fits 80 columns."""
    kappa = record["kappa"]
    if kappa is None:
        console.print("κ cannot be told: two halves of the labels agree on no direction.")
    else:
        console.print(
            f"κ {kappa['policy']:.1f} {_ends(kappa['policy_interval'])} of the policy's samples, "
            f"κ_H {kappa['human']:.1f} {_ends(kappa['human_interval'])} of the human pairs, "
            f"κ/κ_H {kappa['ratio']:.2f} {_ends(kappa['ratio_interval'])}",
            highlight=False,
        )
        console.print(
            "κ: how much more the samples vary along what people care about than along a random "
            "direction. West-of-N has room where κ is well above κ_H and labels are few.",
            highlight=False,
        )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("gain over the labels alone")
    heads = ("held-out accuracy\npoints", "on-policy accuracy\npoints")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for arm, gains in record["gains"].items():
        cells = [_shown(Gain(**gains[metric])).replace(" ", "\n", 1) for metric in METRIC_TITLES]
        table.add_row(TITLES.get(arm, arm), *cells)
    console.print(table)
    powers = ", ".join(f"{power}: {share:.2f}" for power, share in record["powers"].items())
    console.print(f"Probability of the prior's power p: {powers}", highlight=False)
    console.print(record["advice"], highlight=False)


def _narrow(parts: Sequence[Tensor]) -> list[Tensor]:
    """Pairs and pools in at most WIDEST directions; as they are where they are no wider."""
    width = parts[0].shape[-1]
    if width <= WIDEST:
        return list(parts)
    pools = parts[-1] - parts[-1].mean(1, keepdim=True)
    rows = [*(part / len(part) ** 0.5 for part in parts[:-1])]
    rows.append(pools.reshape(-1, width) / pools[..., 0].numel() ** 0.5)
    directions = directions_of(torch.cat(rows), WIDEST)
    return [part @ directions for part in parts]


def _first(pairs: Preferences, most: int) -> Preferences:
    return pairs.take(range(min(most, len(pairs))))


def _shown(gain: Gain) -> str:
    return f"{gain.mean:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}]"


def _ends(interval: Sequence[float]) -> str:
    return f"[{interval[0]:.1f}, {interval[1]:.1f}]"

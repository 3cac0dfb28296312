"""A small run on disk, as the pipeline leaves it, with numbers that tests can derive by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from westofn.artifacts.candidates import CANDIDATES
from westofn.artifacts.curve import write_curve
from westofn.artifacts.decisions import DECISIONS
from westofn.artifacts.pairs import PAIRS
from westofn.artifacts.pool_margins import POOL_MARGINS
from westofn.artifacts.preferences import PREFERENCES
from westofn.artifacts.prompt_measures import MEASURES, PROMPT_MEASURES
from westofn.artifacts.prompts import PROMPTS
from westofn.artifacts.world import WORLD
from westofn.execution.account import Account
from westofn.execution.guards import Reading
from westofn.report.inputs import ReportInputs, read_inputs

ACCURACY = {"base": 0.74, "hf50": 0.70, "hf100": 0.725, "prior": 0.73, "k1": 0.715, "k2": 0.76}
HALF_WIDTH = 0.02
POOL = 4
FACTS = (
    "my sister wants me to move the wedding to June",
    "the landlord keeps the deposit and answers no letter",
    "the new manager asked for the report by Friday, a week early",
    "I have practised the violin for two years and the recital is on Sunday",
)


GAIN = {"mean": 1.5, "low": 0.25, "high": 2.75}
FORECAST: dict[str, Any] = {
    "kappa": {
        "policy": 8.0,
        "human": 4.0,
        "ratio": 2.0,
        "policy_interval": [6.0, 10.0],
        "human_interval": [3.0, 5.0],
        "ratio_interval": [1.5, 2.5],
        "agreement": 0.5,
    },
    "powers": {"0": 0.25, "1": 0.75},
    "gains": {
        "west N=64 k=1": dict.fromkeys(("accuracy", "on_policy_accuracy", "best_of_n_gold"), GAIN)
    },
    "advice": "Use West-of-N, N = 64, one pair a prompt.",
}


class Run:
    """Writes the files of a run below `data`; every method may be called again to change them."""

    def __init__(self, data: Path, *, pairs: int, iterations: tuple[str, ...], gold: bool) -> None:
        self.data = data
        self.pairs = pairs
        self.iterations = iterations
        self.gold = gold
        self.accounts: list[Account] = []
        self.checks: list[Reading] = []
        self.students = {name: {"synthetic_pairs": "8"} for name in iterations}
        self.json(
            "prepared/counts.json", {"sft": 2000, "preferences_train": 1500, "prompts": pairs}
        )
        self.prompts()
        self.human({})
        WORLD.write(WORLD.empty(), self.named("world/world.parquet"))
        self.json("forecast/forecast.json", FORECAST)
        for name in ACCURACY:
            if name in ("base", "hf50", "hf100", "prior", *iterations):
                self.evaluation(name)
        write_curve([{"split": "train", "step": 1, "loss": 0.7}], data / "loop/k0/policy")
        for place, name in enumerate(iterations):
            self.selection(name)
            self.rl(name, place)

    def inputs(self) -> ReportInputs:
        return read_inputs(
            self.data,
            self.iterations,
            base_model={"comparator": "embedding", "family": "encoder_decoder"},
            students=self.students,
            accounts=self.accounts,
            checks=self.checks,
            seed=7,
        )

    def json(self, name: str, value: object) -> None:
        self.named(name).write_text(json.dumps(value), encoding="utf-8")

    def named(self, name: str) -> Path:
        path = self.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def human(self, pairs: dict[int, list[tuple[str, str]]]) -> None:
        """Human pairs (chosen, rejected) by the row of their prompt, beside one of another."""
        rows = [(-1, "one", "other"), *((row, *pair) for row in pairs for pair in pairs[row])]
        PREFERENCES.write(
            PREFERENCES.frame(
                {
                    "pair_id": [f"h{place}" for place in range(len(rows))],
                    "prompt_id": [f"p{row:05d}" for row, _, _ in rows],
                    "prompt": ["a prompt"] * len(rows),
                    "chosen": [chosen for _, chosen, _ in rows],
                    "rejected": [rejected for _, _, rejected in rows],
                    "split": ["train"] * len(rows),
                    "source": ["here"] * len(rows),
                    "label_source": ["human"] * len(rows),
                    "p_chosen": [None] * len(rows),
                }
            ),
            self.named("prepared/preferences.parquet"),
        )

    def margins(
        self, name: str, margin: Callable[[int, int], float], faults: dict[int, str] | None = None
    ) -> None:
        """Mean margins by row and index; faults by index, in every pool."""
        rows = [(row, index) for row in range(self.pairs) for index in range(POOL)]
        POOL_MARGINS.write(
            POOL_MARGINS.frame(
                {
                    "prompt_id": [f"p{row:05d}" for row, _ in rows],
                    "candidate_index": [index for _, index in rows],
                    "margin": [margin(row, index) for row, index in rows],
                    "fault": [(faults or {}).get(index) for _, index in rows],
                }
            ),
            self.named(f"loop/{name}/pairs/pool_margins.parquet"),
        )

    def prompts(self, text: Callable[[int], str] | None = None) -> None:
        text = text or (lambda row: f"Post {row}: {FACTS[row % 4]}. What should I do, and by when?")
        PROMPTS.write(
            PROMPTS.frame(
                {
                    "prompt_id": [f"p{row:05d}" for row in range(self.pairs)],
                    "prompt": [text(row) for row in range(self.pairs)],
                    "split": ["unlabeled"] * self.pairs,
                }
            ),
            self.data / "prepared/prompts.parquet",
        )

    def selection(self, name: str, response: Callable[[int, int], str] | None = None) -> None:
        """Pools of 4: pair i has p_chosen (i + 0.5) / pairs, so its rank is its number."""
        response = response or (
            lambda row, index: f"answer {index} to post {row}: {FACTS[row % 4]}"
        )
        rows = [(row, index) for row in range(self.pairs) for index in range(POOL)]
        CANDIDATES.write(
            CANDIDATES.frame(
                {
                    "prompt_id": [f"p{row:05d}" for row, _ in rows],
                    "candidate_index": [index for _, index in rows],
                    "response": [response(row, index) for row, index in rows],
                    "logprob": [-6.0 - index for _, index in rows],
                    "n_tokens": [10 + row % 7 for row, _ in rows],
                    "finish_reason": ["stop"] * len(rows),
                }
            ),
            self.data / "loop" / name / "candidates.parquet",
        )
        ids = [f"p{row:05d}" for row in range(self.pairs)]
        PAIRS.write(
            PAIRS.frame(
                {
                    "prompt_id": ids,
                    "chosen_index": [row % POOL for row in range(self.pairs)],
                    "rejected_index": [(row + 1) % POOL for row in range(self.pairs)],
                    "p_chosen": [(row + 0.5) / self.pairs for row in range(self.pairs)],
                    "pool_std": [1.0] * self.pairs,
                    "fault": [None] * self.pairs,
                }
            ),
            self.data / "loop" / name / "pairs/pairs.parquet",
        )
        # The chosen candidate is the best, and the one behind it the worst.
        self.margins(name, lambda row, index: (1.5, -1.5, 0.5, -0.5)[(index - row) % POOL])
        reasons = ["confidence" if row % 5 == 0 else None for row in range(self.pairs)]
        reasons[1] = "likelihood"
        DECISIONS.write(
            DECISIONS.frame(
                {
                    "prompt_id": ids,
                    "kept": [reason is None for reason in reasons],
                    "dropped_by": reasons,
                }
            ),
            self.data / "loop" / name / "synthetic/decisions.parquet",
        )
        kept = sum(reason is None for reason in reasons)
        self.json(
            f"loop/{name}/pairs/summary.json",
            {"n_candidates": POOL, "prompts": self.pairs, "method": "exact", "selector": "west"},
        )
        self.json(
            f"loop/{name}/synthetic/summary.json",
            {"pairs_selected": self.pairs, "pairs_kept": kept},
        )

    def evaluation(self, name: str, **changed: Any) -> None:
        accuracy = ACCURACY[name]
        metrics: dict[str, Any] = {
            **interval("accuracy", accuracy, HALF_WIDTH),
            "high_confidence_accuracy": accuracy + 0.08,
            "judge": "gold" if self.gold else "autorater",
            "high_confidence_by": "gold" if self.gold else "autorater",
            "ece": 0.031234,
            "test_pairs": 1000,
            "longest_accuracy": 0.55,
            "shortest_accuracy": 0.45,
            "accuracy_when_chosen_longer": accuracy + 0.06,
            "accuracy_when_chosen_shorter": accuracy - 0.06,
        }
        if self.gold:
            metrics |= interval("on_policy_accuracy", accuracy + 0.1, HALF_WIDTH)
        if name != "base":
            metrics |= {"n_candidates": 64, **interval("best_of_n_win_rate", accuracy + 0.1, 0.03)}
            if self.gold:
                metrics |= interval("best_of_n_gold", 5 * accuracy, 0.05)
        if name in self.iterations and self.gold:
            metrics |= {
                **interval("label_accuracy", 0.96, 0.01),
                "label_bound": 0.59,
                "label_bound_q95_holds": 0.98,
                "label_accuracy_random": 0.76,
                "label_accuracy_random_low": 0.73,
                "label_accuracy_random_high": 0.79,
                "label_epsilon": 0.35,
                "pair_logprob_per_token": -0.61,
                "human_logprob_per_token": -2.41,
            }
        metrics |= changed
        self.prompt_measures(name, metrics)
        self.json(f"eval/{name}/metrics.json", metrics)
        self.json(f"eval/{name}/curves.json", self.curves(name))

    def prompt_measures(self, name: str, metrics: dict[str, Any]) -> None:
        """Ten prompts of two pairs; an arm gains the same on each, HF100 more on every other."""
        swing = 0.3 if name == "hf100" else 0.0
        rows = [
            (measure, prompt, metrics[measure] + 0.01 * prompt + swing * (-1) ** prompt)
            for measure in MEASURES
            if measure in metrics
            for prompt in range(10)
        ]
        PROMPT_MEASURES.write(
            PROMPT_MEASURES.frame(
                {
                    "prompt_id": [f"t{prompt}" for _, prompt, _ in rows],
                    "measure": [measure for measure, _, _ in rows],
                    "model": [name] * len(rows),
                    "value": [value for _, _, value in rows],
                    "rows": [1 if "best" in measure else 2 for measure, _, _ in rows],
                }
            ),
            self.data / "eval" / name / "prompt_measures.parquet",
        )

    def curves(self, name: str) -> dict[str, Any]:
        accuracy = ACCURACY[name]
        bins = [(0.5 + 0.1 * bin_, 0.6 + 0.1 * bin_) for bin_ in range(5)]
        curves: dict[str, Any] = {
            "reliability": [
                {
                    "p_low": low,
                    "p_high": high,
                    "p_mean": low + 0.05,
                    "accuracy": low + 0.02 + 0.1 * (accuracy - 0.7),
                    "pairs": 200,
                }
                for low, high in bins
            ],
            "length": [
                {
                    "length_difference_low": -30.0 + 12 * bin_,
                    "length_difference_high": -18.0 + 12 * bin_,
                    "accuracy": accuracy + 0.03 * (bin_ - 2),
                    "pairs": 200,
                }
                for bin_ in range(5)
            ],
        }
        if name != "base":
            curves["best_of_n"] = [self.best_of_n(2**power, accuracy) for power in range(7)]
        if name in self.iterations and self.gold:
            shift = 0.0 if name == "k1" else -0.015
            right = [0.98 + shift - 0.46 / 2**power for power in range(7)]
            curves["label_accuracy"] = [
                {
                    "n": 2**power,
                    "accuracy": right[power],
                    "low": right[power] - 0.01,
                    "high": right[power] + 0.01,
                    "p_true": 0.95 - 0.5 / 2**power,
                    "bound": 0.60 - 0.6 / 2**power,
                    "bound_q95": 0.90 - 0.6 / 2**power,
                }
                for power in range(1, 7)
            ]
        return curves

    def best_of_n(self, n: int, accuracy: float) -> dict[str, Any]:
        kl = math.log(n) - (n - 1) / n
        gain = (accuracy - 0.6) * 5 * math.sqrt(kl) - 0.1 * kl
        record = {
            "n": n,
            "kl": kl,
            "win_rate_n": min(n, 63),
            **interval("proxy", 2 * math.sqrt(kl), 0.1),
        }
        record |= interval("win_rate", min(0.99, 0.5 + 0.3 * gain), 0.02)
        return record | (interval("gold", 3.0 + gain, 0.06) if self.gold else {})

    def rl(self, name: str, place: int) -> None:
        curve = [
            {
                "step": step,
                "reward": 0.1 + 1.4 * (1 - math.exp(-step / 120)) + 0.05 * math.sin(step),
                "kl": 6.0 * (1 - math.exp(-step / 200)),
                "length": 22 + step / 100 + 0.3 * math.cos(step),
                **(
                    {"gold": 3.0 + 0.6 * (1 - math.exp(-step / (90 + 40 * place)))}
                    if self.gold
                    else {}
                ),
            }
            for step in range(0, 401, 10)
        ]
        metrics = {
            "rl_reward": 1.5,
            "sft_reward": 0.1,
            "rl_win_rate": 0.81,
            "rl_kl": 5.2,
            "rl_length": 26.04,
            **({"rl_gold": 3.6, "sft_gold": 3.0} if self.gold else {}),
        }
        self.json(f"loop/{name}/rl/curve.json", curve)
        self.json(f"loop/{name}/rl/metrics.json", metrics)


def interval(key: str, value: float, half_width: float) -> dict[str, float]:
    return {key: value, f"{key}_low": value - half_width, f"{key}_high": value + half_width}


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """A run in a temporary folder: 10 pairs, one iteration, gold known, unless told otherwise."""

    def make(*, pairs: int = 10, iterations: tuple[str, ...] = ("k1",), gold: bool = True) -> Run:
        return Run(tmp_path / "data", pairs=pairs, iterations=iterations, gold=gold)

    return make


@pytest.fixture
def run(make_run: Callable[..., Run]) -> Run:
    return make_run()

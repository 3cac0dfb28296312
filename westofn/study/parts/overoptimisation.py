"""Proxy and gold reward against sqrt(KL), for best-of-n and for RL (Gao et al. 2022).

Measured for HF50, HF100 and the West-of-N student. Proxy rewards are in standard deviations of each
model over its own training pairs; gold has one scale. On data without a gold annotator the
autorater stands in.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from westofn.core.best_of_n import best_of_n, best_of_n_kl
from westofn.core.overoptimisation import GaoForm, empirical_peak, fit_overoptimisation
from westofn.core.seeds import derive_seed
from westofn.core.selection import default_sizes
from westofn.evaluation.candidate_rewards import judge_pools, model_rewards
from westofn.evaluation.policy import PolicyProbe
from westofn.evaluation.records import Record
from westofn.models.ensemble import Ensemble
from westofn.models.reward import Scorer
from westofn.models.saved_reward import load_reward_model
from westofn.study.lab import Lab
from westofn.training.rl import Prompts, train_rl

STUDENTS = {"hf50": "reference/hf50", "hf100": "reference/hf100", "west": "loop/k1/rm"}


def run(lab: Lab) -> None:
    """Both ways of optimising, for each student."""
    inputs = lab.inputs
    pool = inputs.deep_test
    judged = judge_pools(inputs.judge, pool)
    sizes = [1, *default_sizes(pool.n_candidates)]
    for name, folder in STUDENTS.items():
        scorer = load_reward_model(inputs.data / folder, inputs.device)
        rewards = (
            model_rewards(name, Ensemble.of(scorer), pool) - scorer.reward_mean
        ) / scorer.reward_std
        proxy = best_of_n(rewards, rewards, sizes).mean(axis=0)
        gold = best_of_n(rewards, judged, sizes).mean(axis=0)
        curve: list[Record] = [
            {"n": n, "kl": best_of_n_kl(n), "proxy": float(p), "gold": float(g)}
            for n, p, g in zip(sizes, proxy, gold, strict=True)
        ]
        _keep(lab, name, "best_of_n", curve)
        _keep(lab, name, "rl", _rl(lab, name, scorer))


def _rl(lab: Lab, name: str, scorer: Scorer) -> list[Record]:
    """The curve of one RL run: step, kl in nats, proxy, gold."""
    inputs = lab.inputs
    params = inputs.params.rlhf.model_copy(
        update={
            "steps": inputs.params.study.rl_steps,
            "kl_weight": inputs.params.study.rl_kl_weight,
            "evaluations": inputs.params.study.rl_evaluations,
        }
    )
    test = inputs.prompts_of("test").head(inputs.params.study.deep_prompts)
    learn = inputs.prompts_of("unlabeled")
    probe = PolicyProbe(test, scorer, inputs.judge, params.temperature, inputs.seed)
    reference = probe.measure(inputs.policy, "sft")
    result = train_rl(
        inputs.policy,
        scorer,
        Prompts(learn["prompt_id"].to_list(), learn["prompt"].to_list()),
        params,
        seed=derive_seed(inputs.seed, "study", "rl") % 2**31,
        evaluate=probe.curve_point(reference),
        scratch=lab.subfolder(f"rl-{name}"),
        runtime=lab.runtime,
    )
    return [
        {
            "step": point["step"],
            "kl": max(0.0, float(point["kl"])),
            "proxy": point["reward"],
            "gold": point.get("gold", point["win_rate"]),
        }
        for point in result.curve
    ]


def _keep(lab: Lab, student: str, form: GaoForm, curve: Sequence[Record]) -> None:
    """Record a curve, its fit, and where both peak."""
    distance = np.sqrt([float(point["kl"]) for point in curve])
    gold = np.array([float(point["gold"]) for point in curve])
    for point, d in zip(curve, distance.tolist(), strict=True):
        lab.record("curves", student=student, method=form, distance=d, **point)
    if (distance > 0).sum() < 3:
        return
    fit = fit_overoptimisation(distance, gold - gold[0], form)
    measured, fitted = empirical_peak(distance, gold), fit.peak()
    facts: Record = {
        "student": student,
        "method": form,
        "alpha": fit.alpha,
        "beta": fit.beta,
        "residual_std": fit.residual_std,
        "largest_distance": float(distance.max()),
        "measured_peak": measured.d,
        "peak_is_inside": int(measured.interior),
        "gold_at_peak": measured.value,
        "gold_at_end": float(gold[-1]),
        "gold_at_start": float(gold[0]),
    }
    lab.record("fits", **(facts if fitted is None else facts | {"fitted_peak": fitted}))

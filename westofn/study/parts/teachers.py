"""Comparators as teachers, ensembles of them, exact selection against tournaments, the theorem.

A student's arm is named after its teacher. Seconds, without tokenising, are of this machine and
this run: read them as ratios. Forward passes count responses that went through the comparator once
(for `joint`, ordered pairs).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

import numpy as np
import torch
from torch import Tensor

from westofn.artifacts.pools import IndexArray, Pools
from westofn.core.agreement import agreement_with_exact, cyclic_triads
from westofn.core.bound import pair_bound
from westofn.core.comparators import COMPARATORS, lower_confidence_margins, margins
from westofn.core.metrics import correctness
from westofn.core.seeds import derive_seed
from westofn.core.selection import BestWorst, default_sizes, exact_best_worst, nested_best_worst
from westofn.core.tournament import tournament_best_worst
from westofn.errors import ParameterError
from westofn.evaluation.candidate_rewards import judge_pools
from westofn.evaluation.judges import FloatArray, GoldJudge, sigmoid
from westofn.evaluation.records import Record
from westofn.models.ensemble import Ensemble
from westofn.models.reward import Scorer
from westofn.models.scoring import score_pools
from westofn.pairing.select import select
from westofn.params.comparator import ComparatorName
from westofn.params.reward import Learner
from westofn.study.inputs import mean_margins
from westofn.study.lab import Lab
from westofn.study.synthetic import from_selection, selector_draws
from westofn.training.recipe import Head

SMALLEST_POOL = 3
MEMBERS = 4
METHODS = (("single", 1, 0.0), ("ensemble", MEMBERS, 0.0), ("ensemble_lcb", MEMBERS, 1.0))
"""Name, number of members, weight of their standard deviation."""
PROMPTS_AT_ONCE = 4  # of (members, prompts, N, N) margins
JOINT_POOLS, JOINT_N = 12, 32  # exact comparison of a joint comparator is dear
QUANTILES = (0.5, 0.9, 0.95, 0.99, 1.0)
BINS = 10


def run(lab: Lab) -> None:
    """Teachers one by one.

    Raises:
        ParameterError: Pools are too small to count cycles.
    """
    if (count := lab.inputs.unlabeled.n_candidates) < SMALLEST_POOL:
        raise ParameterError(
            f"study: this part counts cycles of three candidates, sample.n_candidates is {count}; "
            f"raise it to at least {SMALLEST_POOL}"
        )
    joint = _comparators(lab)["joint"]
    _ensembles(lab)
    _tournaments(lab, joint)
    if isinstance(lab.inputs.judge, GoldJudge):
        _theorem(lab)


def _comparators(lab: Lab) -> dict[ComparatorName, Ensemble]:
    """embedding, pointwise, joint: as teachers, and what their pairs teach a student."""
    teachers: dict[ComparatorName, Ensemble] = {}
    inputs, base = lab.inputs, lab.inputs.params.base_rm
    comparators: tuple[ComparatorName, ...] = ("embedding", "pointwise", "joint")
    # Tokenised before a clock starts: no teacher is slower for being the first.
    inputs.encoder.prompts(inputs.unlabeled.prompts)
    inputs.encoder.responses([text for pool in inputs.unlabeled.responses for text in pool])
    for comparator in comparators:
        same = comparator == base.comparator
        head = Head(comparator, base.planes)
        teacher = teachers[comparator] = (
            inputs.base
            if same
            else Ensemble.of(
                lab.train(f"{comparator}-teacher", lab.labeled, head=head, params=base).scorer
            )
        )
        started = time.perf_counter()
        method = "tournament" if teacher.comparator.reads_pairs else "exact"
        selection = select(
            teacher, inputs.unlabeled, method=method, selector="west", seed=inputs.seed
        )
        seconds = time.perf_counter() - started
        measured = lab.remembered(
            f"{comparator}-measured", partial(lab.measure, comparator, teacher)
        )
        facts: Record = {
            f"teacher_{key}": measured[key]
            for key in ("accuracy", "on_policy_accuracy")
            if key in measured
        }
        facts |= {
            "forward_passes_a_prompt": selection.forward_passes // len(inputs.unlabeled.prompts),
            "select_seconds": round(seconds, 3),
        }
        pairs = from_selection(inputs.unlabeled, selection.pairs)
        lab.student(f"by_{comparator}", lab.labeled, pairs, note=facts)
    return teachers


def _ensembles(lab: Lab) -> None:
    """Several base models of the same data: does doubt help, and does it help more at large N?

    Students learn from pools of `sample.n_candidates`; how right the labels of deeper pools are is
    measured on fewer prompts. A joint comparator would need N² forward passes at the large N, so
    `embedding` stands for it.
    """
    inputs = lab.inputs
    base = inputs.params.base_rm
    reads_pairs = COMPARATORS[base.comparator].reads_pairs
    comparator = "embedding" if reads_pairs else base.comparator
    learner: Learner = "network" if reads_pairs else base.learner  # a linear head has no planes
    head = Head(comparator, base.planes)
    seeds = [derive_seed(inputs.seed, "study", "member", m) % 2**31 for m in range(MEMBERS)]
    members = [
        lab.train(
            f"member{m}", lab.labeled, head=head, params=base, seed=seed, learner=learner
        ).scorer
        for m, seed in enumerate(seeds)
    ]
    features = _features(members, inputs.unlabeled)
    for name, count, weight in METHODS:
        chosen = _select(features[:count], weight)
        lab.student(name, lab.labeled, from_selection(inputs.unlabeled, chosen))
    if not isinstance(inputs.judge, GoldJudge):
        return
    deep = inputs.deep_unlabeled
    features, gold = _features(members, deep), judge_pools(inputs.judge, deep)
    rows = np.arange(len(gold))
    for n in default_sizes(deep.n_candidates):
        for name, count, weight in METHODS:
            chosen = _select(features[:count, :, :n], weight)
            best, worst = gold[rows, chosen.best.numpy()], gold[rows, chosen.worst.numpy()]
            lab.record(
                "ensembles",
                method=name,
                n=n,
                correct=float(correctness(best - worst).mean()),
                gold_chosen=float(best.mean()),
                gold_rejected=float(worst.mean()),
            )


def _features(members: Sequence[Scorer], pools: Pools) -> Tensor:
    """(M, P, N, F) head outputs of every member."""
    return torch.stack(
        [torch.stack(score_pools(member, pools.prompts, pools.responses)) for member in members]
    )


def _select(features: Tensor, weight: float) -> BestWorst:
    """The West-of-N pair of members' features (M, P, N, F), by the lower confidence bound."""
    parts = [
        exact_best_worst(lower_confidence_margins(margins(features[:, rows]), weight))
        for rows in torch.split(torch.arange(features.shape[1]), PROMPTS_AT_ONCE)
    ]
    return BestWorst(
        *(torch.cat([getattr(part, key) for part in parts]) for key in ("best", "worst", "p_best"))
    )


def _tournaments(lab: Lab, joint: Ensemble) -> None:
    """How far an elimination tournament stays from the exact argmax, and cycles."""
    inputs = lab.inputs
    pools = inputs.unlabeled
    few = pools.head(JOINT_POOLS).cut(JOINT_N)
    base = inputs.params.base_rm
    for name, all_margins in (
        (base.comparator, inputs.base_margins),
        ("joint", mean_margins(joint, few)),
    ):
        prompts, count = all_margins.shape[:2]
        brackets = selector_draws(inputs.seed, pools.prompt_ids[:prompts], count)

        def compare(p: Tensor, a: Tensor, b: Tensor, m: Tensor = all_margins) -> Tensor:
            return m[p, a, b]

        result = tournament_best_worst(compare, prompts, count, brackets)
        lab.record(
            "tournament",
            comparator=name,
            n=count,
            cyclic_triads=float(cyclic_triads(all_margins).share.mean()),
            **asdict(agreement_with_exact(all_margins, result).rates()),
        )


def _theorem(lab: Lab) -> None:
    """ε of the base model over pools, the bound, and realised correctness by N and confidence."""
    inputs = lab.inputs
    pools = inputs.unlabeled
    gold = inputs.judge
    assert isinstance(gold, GoldJudge)
    rewards = judge_pools(gold, pools)
    base = inputs.base_margins
    upper = torch.triu_indices(pools.n_candidates, pools.n_candidates, 1)
    model = base[:, upper[0], upper[1]].double().numpy()
    truth = rewards[:, upper[0]] - rewards[:, upper[1]]
    gap = np.abs(sigmoid(model) - gold.p_from_margins(truth))
    for q in QUANTILES:
        lab.record("epsilon", quantile=q, epsilon=float(np.quantile(gap, q)))
    sup = float(gap.max())
    rows = np.arange(len(rewards))
    for n, chosen in nested_best_worst(base, default_sizes(pools.n_candidates)).items():
        margin = rewards[rows, chosen.best.numpy()] - rewards[rows, chosen.worst.numpy()]
        p = chosen.p_best.double().numpy()
        lab.record(
            "theorem",
            n=n,
            correct=float(correctness(margin).mean()),
            p_true=float(gold.p_from_margins(margin).mean()),
            p_model=float(p.mean()),
            bound=float(pair_bound(p, min(sup, 1.0)).mean()),
            bound_q95=float(pair_bound(p, float(np.quantile(gap, 0.95))).mean()),
        )
    sure = np.abs(model).ravel()
    agreed = (np.sign(model) * truth).ravel()
    right, p_right = correctness(agreed), gold.p_from_margins(agreed)
    for b, inside in enumerate(equal_bins(sure, BINS)):
        lab.record(
            "confidence",
            bin=b,
            p_model=float(sigmoid(sure[inside]).mean()),
            correct=float(right[inside].mean()),
            p_true=float(p_right[inside].mean()),
        )


def equal_bins(values: FloatArray, count: int) -> list[IndexArray]:
    """The rows of equally full bins, smallest values first; by rank, so ties leave no bin empty.

    >>> [rows.tolist() for rows in equal_bins(np.array([0.0, 2.0, 0.0, 0.0]), 2)]
    [[0, 2], [3, 1]]
    """
    order = np.argsort(values, kind="stable")
    return [rows for rows in np.array_split(order, count) if len(rows)]

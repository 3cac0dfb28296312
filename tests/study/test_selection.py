"""Arms of other pairs are what the stages `won_select` and `filter` would give."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.small_models import tiny_scorer
from westofn.artifacts.pools import Pools
from westofn.core.selection import SELECTORS
from westofn.errors import DataError, ParameterError
from westofn.models.ensemble import Ensemble
from westofn.pairing.filters import Filtered, filter_frames
from westofn.pairing.frames import pairs_frame
from westofn.pairing.select import Selection, select
from westofn.study.inputs import StudyInputs
from westofn.study.parts import selection, teachers
from westofn.study.synthetic import Pairs
from westofn.training.arms import preferences_from
from westofn.training.pairs import Preferences


@dataclass
class Recorder:
    """Stands in for `Lab`: keeps the pairs of every arm and trains nothing."""

    inputs: StudyInputs
    labeled: Preferences
    arms: dict[str, Pairs | Preferences | None] = field(default_factory=dict)

    def student(self, name: str, human: Preferences, pairs: Any = None, **options: object) -> None:
        del options
        self.arms[name] = human if pairs is None else pairs


@pytest.fixture
def run(inputs: StudyInputs) -> StudyInputs:
    """With a base model, and likelihoods that fall from pool to pool, so that some pairs stay."""
    inputs.__dict__["base"] = Ensemble.of(tiny_scorer(inputs.policy.encoder, "embedding"))
    pools = inputs.unlabeled
    n_tokens = pools.likelihoods[1]
    inputs.__dict__["unlabeled"] = replace(pools, logprob=-n_tokens * np.arange(1.0, 5.0)[:, None])
    return inputs


def chosen_by_stage(run: StudyInputs, selector: str) -> Selection:
    return select(run.base, run.unlabeled, method="exact", selector=selector, seed=run.seed)


def filtered_by_stage(run: StudyInputs, chosen: Selection, quantile: float, low: float) -> Filtered:
    params = run.params.filter.model_copy(update={"quantile": quantile, "likelihood_quantile": low})
    return filter_frames(pairs_frame(chosen), [run.unlabeled.as_rows()], params)


@pytest.mark.parametrize("selector", SELECTORS)
def test_every_selector_gives_the_stages_pairs(selector: str, run: StudyInputs) -> None:
    stage, arm = chosen_by_stage(run, selector).pairs, run.chosen_by(selector)
    assert torch.equal(stage.best, arm.best)
    assert torch.equal(stage.worst, arm.worst)


def test_an_arm_named_like_a_stages_setting_gives_the_stages_pairs(run: StudyInputs) -> None:
    lab = Recorder(run, preferences_from(run.labeled))
    selection.run(lab)  # type: ignore[arg-type]
    settings: dict[str, tuple[str, float, float]] = {
        **{name: (name, 0.0, 0.0) for name in selection.SELECTORS},
        "filter_c25": ("west", 0.25, 0.0),
        "filter_c50": ("west", 0.5, 0.0),
        "filter_c75": ("west", 0.75, 0.0),
        "filter_l25": ("west", 0.0, 0.25),
        "filter_l50": ("west", 0.0, 0.5),
        "filter_c25_l25": ("west", 0.25, 0.25),
    }
    assert {name for name in lab.arms if name.startswith("filter")} <= set(settings)
    for name, (selector, quantile, low) in settings.items():
        stage = filtered_by_stage(run, chosen_by_stage(run, selector), quantile, low)
        arm = lab.arms[name]
        assert isinstance(arm, Pairs)
        assert arm.preferences == preferences_from(stage.preferences("k1")), name


def test_an_arm_that_keeps_no_pair_says_what_the_study_needs(run: StudyInputs) -> None:
    needed = (
        r"study: the arm with quantiles 0.999 of confidence and 0.999 of .* more prompts of D_U"
    )
    with pytest.raises(DataError, match=needed):
        selection.filtered(run, 0.999, 0.999)


def test_pools_without_three_candidates_have_no_cycles(run: StudyInputs) -> None:
    run.__dict__["unlabeled"] = run.unlabeled.cut(2)
    with pytest.raises(ParameterError, match=r"n_candidates is 2; raise it to at least 3"):
        teachers.run(Recorder(run, preferences_from(run.labeled)))  # type: ignore[arg-type]


def test_the_quantile_is_of_pairs_that_can_teach(inputs: StudyInputs) -> None:
    # Of 0.6, 0.7, 0.8 and an identical pair of 0.95 the median of the first three is 0.7: two stay.
    # With the identical pair it would be 0.75, and one would stay.
    p = np.array([0.6, 0.7, 0.8, 0.95])
    logit = torch.tensor(np.log(p / (1 - p)), dtype=torch.float32)
    margins = torch.zeros(4, 2, 2)
    margins[:, 0, 1], margins[:, 1, 0] = logit, -logit
    names = ["p0", "p1", "p2", "p3"]
    responses = [["good", "bad"], ["good", "bad"], ["good", "bad"], ["same", "same"]]
    numbers = np.full((4, 2), -1.0), np.ones((4, 2), dtype=np.int64)
    inputs.__dict__["unlabeled"] = Pools(names, names, responses, *numbers)
    inputs.__dict__["base_margins"] = margins
    inputs.__dict__["base"] = Ensemble.of(tiny_scorer(inputs.policy.encoder, "embedding"))
    assert selection.filtered(inputs, 0.5, 0.0).prompt_ids == ["p1", "p2"]

"""The main pipeline's data, models and pools, read once for the study."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import polars as pl
import torch
from torch import Tensor

from westofn.artifacts.candidates import CANDIDATES
from westofn.artifacts.pools import Pools
from westofn.core.selection import BestWorst
from westofn.evaluation.candidate_rewards import judge_pools
from westofn.evaluation.judges import FloatArray, RewardJudge, load_judge
from westofn.models.card import read_card
from westofn.models.ensemble import Ensemble, load_reward_models
from westofn.models.folder import load_encoder
from westofn.models.policy import Policy, load_policy
from westofn.models.reward import Scorer
from westofn.models.scoring import pool_margins
from westofn.pairing.select import choose_pairs
from westofn.pairing.usable import Faults, find_faults
from westofn.params.whole import Params
from westofn.sources.human import HumanData
from westofn.study.pool_plan import PLAIN, deep_size, labeled_prompts
from westofn.study.synthetic import Pairs, from_selection
from westofn.text.encoding import Encoder


@dataclass(frozen=True)
class StudyInputs:
    """One seed's data, models and pools; what a part does not ask for is not read.

    Attributes:
        params: All of params.yaml.
        data: The pipeline's folder `data/`.
        device: Device of the models.
    """

    params: Params
    data: Path
    device: str

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.params.seed

    @property
    def policy_folder(self) -> Path:
        """The SFT policy, from whose weights every reward model starts."""
        return self.data / "loop" / "k0" / "policy"

    @property
    def base_folder(self) -> Path:
        """The base preference model of HF50."""
        return self.data / "loop" / "k0" / "rm"

    @cached_property
    def policy(self) -> Policy:
        """The SFT policy."""
        return load_policy(self.policy_folder, self.device)

    @cached_property
    def base(self) -> Ensemble:
        """The base preference model of HF50."""
        members = load_reward_models(self.base_folder, self.device).members
        return Ensemble.of(*map(self.reading_alike, members))

    @cached_property
    def base_margins(self) -> Tensor:
        """(P, N, N) the base model's margin of every ordered pair of `unlabeled`."""
        return mean_margins(self.base, self.unlabeled)

    @property
    def west(self) -> Pairs:
        """The West-of-N pairs of the base model."""
        return self.selected("west")

    def selected(self, selector: str) -> Pairs:
        """The pairs that `won_select` chooses with this selector, by the mean of the members."""
        return from_selection(self.unlabeled, self.chosen_by(selector))

    def chosen_by(self, selector: str) -> BestWorst:
        """(P,) candidates of `unlabeled` that `won_select` chooses with this selector."""
        return choose_pairs(
            self.base_margins,
            self.unlabeled.prompt_ids,
            selector,
            self.seed,
            torch.from_numpy(self.faults.usable),
        )

    @cached_property
    def faults(self) -> Faults:
        """The candidates of `unlabeled` that may form no pair."""
        return find_faults(self.unlabeled, self.base.encoder)

    @cached_property
    def encoder(self) -> Encoder:
        """The policy's encoder; it remembers what it has read, as all arms read the same pools."""
        card = read_card(self.policy_folder, "policy")
        return load_encoder(self.policy_folder, card).remembering()

    def reading_alike(self, scorer: Scorer) -> Scorer:
        """The model with the encoder that remembers, if that reads text as its own does."""
        if not self.encoder.reads_like(scorer.encoder):
            return scorer
        return replace(scorer, encoder=self.encoder)

    @cached_property
    def human(self) -> HumanData:
        """HF100."""
        return HumanData.read(self.data / "prepared")

    @cached_property
    def labeled(self) -> pl.DataFrame:
        """HF50, the paper's D_L (table preferences)."""
        return self.human.labeled_half().train

    @cached_property
    def test(self) -> pl.DataFrame:
        """Held-out human pairs (table preferences)."""
        return self.human.preferences.filter(pl.col("split") == "test")

    @cached_property
    def judge(self) -> RewardJudge:
        """The gold annotator, or the autorater."""
        return load_judge(
            self.data / "world" / "world.parquet", self.data / "autorater", self.device
        )

    @cached_property
    def unlabeled(self) -> Pools:
        """The pools of D_U that the main pipeline sampled for k1."""
        candidates = CANDIDATES.read(self.data / "loop" / "k1" / "candidates.parquet")
        return Pools.from_frames(candidates, self.human.prompts, self.params.sample.n_candidates)

    @cached_property
    def test_pools(self) -> Pools:
        """The pools of the test prompts that every reward model is measured on."""
        candidates = CANDIDATES.read(self.data / "eval_pool" / "candidates.parquet")
        return Pools.from_frames(candidates, self.human.prompts)

    @cached_property
    def test_pools_judged(self) -> FloatArray:
        """(P, N) the judge's rewards of `test_pools`."""
        return judge_pools(self.judge, self.test_pools)

    @property
    def verdicts(self) -> Path:
        """The AI judge's verdicts (table verdicts)."""
        return self.data / "study" / "verdicts.parquet"

    @cached_property
    def labeled_pools(self) -> Pools:
        """Two candidates for every prompt of D_L, from the SFT policy."""
        return self._pools("labeled", self.labeled_prompts, PLAIN)

    @cached_property
    def deep_unlabeled(self) -> Pools:
        """The pools of D_U with more candidates; the first are those of `unlabeled`."""
        size = deep_size(self.params.study.deep_candidates, self.params.sample.n_candidates)
        return self._pools("deep_unlabeled", self.human.prompts, size)

    @cached_property
    def deep_test(self) -> Pools:
        """Pools of some test prompts with more candidates."""
        return Pools.from_frames(CANDIDATES.read(self.file("deep_test")), self.human.prompts)

    def contrast(self, side: str, half: str) -> Pools:
        """One sample a prompt under a contrast prompt; the prompts are shown without the affix.

        Args:
            side: positive or negative.
            half: labeled (D_L) or unlabeled (D_U).
        """
        prompts = self.labeled_prompts if half == "labeled" else self.prompts_of("unlabeled")
        return self._pools(f"{side}_{half}", prompts, 1)

    def prompts_of(self, split: str) -> pl.DataFrame:
        """Rows of table prompts."""
        return self.human.prompts.filter(pl.col("split") == split)

    @cached_property
    def labeled_prompts(self) -> pl.DataFrame:
        """The prompts of D_L as columns prompt_id, prompt."""
        return labeled_prompts(self.human)

    def file(self, name: str) -> Path:
        """A table of candidates that study_pools wrote."""
        return self.data / "study" / "pools" / f"{name}.parquet"

    def _pools(self, name: str, prompts: pl.DataFrame, n_candidates: int) -> Pools:
        return Pools.from_frames(CANDIDATES.read(self.file(name)), prompts, n_candidates)


def west_of_n(base: Ensemble, pools: Pools) -> Pairs:
    """The pair of every pool of which the base model is surest."""
    usable = torch.from_numpy(find_faults(pools, base.encoder).usable)
    margins = mean_margins(base, pools)
    return from_selection(pools, choose_pairs(margins, pools.prompt_ids, "west", 0, usable))


def mean_margins(base: Ensemble, pools: Pools) -> Tensor:
    """(P, N, N) mean over the members of the margin of every ordered pair of every pool."""
    members = [pool_margins(member, pools.prompts, pools.responses) for member in base.members]
    return torch.stack(members).mean(0)

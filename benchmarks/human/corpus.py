"""One task with one seed: its policy, pools and features, made once and kept in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.human.data import HumanTexts
from benchmarks.human.settings import Task
from benchmarks.kept import kept_candidates, kept_policy
from westofn.artifacts.pools import Pools
from westofn.core.seeds import derive_seed
from westofn.generation.sample_pools import Draw
from westofn.models.features import FeatureReader
from westofn.models.policy import Policy, log_likelihood
from westofn.params.network import Readout
from westofn.params.reward_start import RewardStartParams
from westofn.params.sft import SftParams
from westofn.training.start import reward_start


@dataclass(frozen=True)
class Features:
    """Frozen features of a policy, divided by their deviation over the texts of train pairs.

    All that linear heads, κ and a forecast need, so that these take seconds and no model.

    Attributes:
        train: (pairs, width) chosen less rejected; so are the other splits.
        validation: See train.
        test: See train.
        autorater: See train; 0 rows in tasks without a judge.
        pools: (prompts, candidates, width) of D_U.
        test_pools: (prompts, candidates, width) of the policy's samples for test prompts.
        stances: (texts, width) of the human texts of test stances, stance after stance.
        train_nearness: (pairs,) log π per token of the less likely text of a pair; 0 rows where it
            is not measured.
        test_nearness: See train_nearness.
    """

    train: Tensor
    validation: Tensor
    test: Tensor
    autorater: Tensor
    pools: Tensor
    test_pools: Tensor
    stances: Tensor
    train_nearness: Tensor
    test_nearness: Tensor

    @classmethod
    def load(cls, path: Path) -> Features:
        """What `Corpus.features` wrote."""
        stored = load_file(path)
        scale = stored.pop("scale").double()
        return cls(
            **{
                name: tensor.double() if "nearness" in name else tensor.double() / scale
                for name, tensor in stored.items()
            }
        )


@dataclass(frozen=True)
class Corpus:
    """A policy on human texts, its samples and what a reward head would read.

    Attributes:
        task: Settings.
        texts: The task's texts with this seed.
        sft: How the policy is made.
        start: What features are read from, and where networks start.
        readout: What the features are read from, see `student_rm.readout`.
        temperature: At which the policy samples.
        seed: Decides the policy's training and its samples.
        shared: Where the policy and its samples for D_U are kept; tasks with equal demonstrations
            and D_U share it.
        folder: Where test samples and features are kept.
    """

    task: Task
    texts: HumanTexts
    sft: SftParams
    start: RewardStartParams
    readout: Readout
    temperature: float
    seed: int
    shared: Path
    folder: Path

    @property
    def policy_folder(self) -> Path:
        """The SFT policy."""
        return self.shared / "policy"

    @cached_property
    def policy(self) -> Policy:
        """The SFT policy; trained where the folder does not hold it yet."""
        return kept_policy(
            self.policy_folder, lambda: self.texts.demonstrations, self.sft, self.seed
        )

    @cached_property
    def pools(self) -> Pools:
        """Pools of D_U: the policy's samples, or human texts; as many as the sizes allow."""
        pools = self.texts.pools or self._sampled(self.shared, "unlabeled", self.texts.unlabeled)
        if self.task.sizes is None:
            return pools
        prompts, candidates = self.task.sizes.pools
        return pools.head(prompts).cut(candidates)

    @cached_property
    def test_pools(self) -> Pools:
        """The policy's samples for test prompts."""
        return self._sampled(self.folder, "test", self.texts.test_prompts)

    def features(self) -> Features:
        """Features of all texts; computed where the folder does not hold them yet."""
        path = self.folder / "features.safetensors"
        if not path.exists():
            partial = path.with_suffix(".partial")
            save_file(self._read_features(), partial)
            partial.replace(path)
        return Features.load(path)

    def _read_features(self) -> dict[str, Tensor]:
        pairs, sizes = self.texts.pairs, self.task.sizes
        pools, test_pools = self.pools, self.test_pools
        policy = self.policy  # its folder is there from now on
        origin = reward_start(self.start, self.policy_folder, "pointwise", self.seed)
        reader = FeatureReader(origin.model, origin.encoder, self.readout)
        stored = {}
        for split in ("train", "validation", "test", "autorater"):
            both = _both_sides(reader, pairs.get(split))
            stored[split] = both[:, 0] - both[:, 1]
            if split == "train":
                stored["scale"] = both.flatten(0, 1).std(0).clamp_min(1e-6)
        stored["pools"] = reader.pools(pools.prompts, pools.responses)
        stored["test_pools"] = reader.pools(test_pools.prompts, test_pools.responses)
        rows = [(prompt, [text]) for prompt, some in self.texts.stances.items() for text in some]
        texts = reader.pools([prompt for prompt, _ in rows], [pool for _, pool in rows])
        stored["stances"] = texts.view(-1, reader.width)
        for split in ("train", "test"):
            measured = pairs[split] if sizes is None or sizes.nearness else pairs[split].head(0)
            stored[f"{split}_nearness"] = _nearness(policy, measured)
        return {name: tensor.float().contiguous() for name, tensor in stored.items()}

    def _sampled(self, folder: Path, name: str, prompts: pl.DataFrame) -> Pools:
        if not prompts.height:
            return Pools([], [], [])
        draw = Draw(self.task.n_candidates, self.temperature, derive_seed(self.seed, "human", name))
        path = folder / f"{name}.parquet"
        description = f"{name} of seed {self.seed}"
        candidates = kept_candidates(path, self.policy, prompts, draw, description)
        return Pools.from_frames(candidates, prompts)


def _both_sides(reader: FeatureReader, pairs: pl.DataFrame | None) -> Tensor:
    """(pairs, 2, width) features of chosen and rejected."""
    if pairs is None:
        return torch.zeros(0, 2, reader.width, dtype=torch.float64)
    sides = zip(pairs["chosen"].to_list(), pairs["rejected"].to_list(), strict=True)
    return reader.pools(pairs["prompt"].to_list(), [list(pair) for pair in sides])


def _nearness(policy: Policy, pairs: pl.DataFrame) -> Tensor:
    """(pairs,) log π per token of the less likely text of each pair."""
    prompts = pairs["prompt"].to_list()
    sides = [
        log_likelihood(policy, prompts, pairs[side].to_list()) for side in ("chosen", "rejected")
    ]
    each = [side.logprob / side.n_tokens for side in sides]
    return torch.minimum(*each)

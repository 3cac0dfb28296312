"""Samples that vLLM draws from the policy, in a process of its own on this machine.

Prompts go to it as the token ids that the policy reads, and token ids come back. log π(y|x) is
computed by the policy here, by the one scorer, as it is for samples of a server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from westofn.artifacts.candidates import CANDIDATES
from westofn.artifacts.pools import Pools
from westofn.core.seeds import derive_seed
from westofn.execution.shards import shard_files
from westofn.execution.vllm_engine import Engine
from westofn.generation.file import scored
from westofn.generation.hf import never_drawn
from westofn.generation.sample_pools import Draw, prompts_a_shard, with_policy
from westofn.models.card import read_card
from westofn.models.policy import Policy, SavedPolicy
from westofn.networks.precision import DTYPES
from westofn.runtime import Runtime
from westofn.text.model_files import require_causal


@dataclass(frozen=True)
class VllmSampler:
    """Draws N responses to each prompt; the seed of a prompt depends on its id alone.

    Attributes:
        policy: vLLM reads its folder; it scores the responses here.
        draw: N, temperature and seed.
        runtime: Says which Python has vLLM, and what of the machine it takes.
    """

    policy: SavedPolicy
    draw: Draw
    runtime: Runtime

    def shards(self, prompts: pl.DataFrame, folder: Path, description: str) -> list[Path]:
        """Files of table candidates: N responses for every row of `prompts`.

        Args:
            prompts: Rows of table prompts.
            folder: Scratch folder that belongs to this work alone; its finished shards are used.
            description: Shown beside the progress bar.

        Raises:
            ModelError: The policy is no causal model.
            SamplingError: vLLM ends before it answers.
        """
        limits, model = self.policy.encoder.template, self.policy.folder
        require_causal(limits.family, str(model))
        longest = limits.max_prompt_tokens + limits.max_response_tokens + 1
        dtype = str(DTYPES[read_card(model, "policy").precision]).removeprefix("torch.")
        rows = prompts.sort("prompt_id").select("prompt_id", "prompt").rows()
        with Engine(model, dtype, longest, self.runtime, folder / "vllm.log") as engine:
            return shard_files(
                rows,
                with_policy(self.policy, partial(self._shard, engine)),
                table=CANDIDATES,
                folder=folder,
                size=prompts_a_shard(self.draw.n_candidates, limits.max_response_tokens),
                description=description,
            )

    def _shard(
        self, engine: Engine, policy: Policy, rows: Sequence[tuple[str, str]]
    ) -> pl.DataFrame:
        encoder = policy.encoder
        limit = encoder.template.max_response_tokens
        drawn = engine.ask(
            {
                "prompts": encoder.prompts([prompt for _, prompt in rows]),
                "seeds": [derive_seed(self.draw.seed, name) % 2**31 for name, _ in rows],
                "n": self.draw.n_candidates,
                "temperature": self.draw.temperature,
                # The limit counts without the end token, which alone may still come after it.
                "max_tokens": limit + 1,
                "end": encoder.eos_id,
                "never": never_drawn(policy),
            }
        )
        pools = Pools.of_rows(
            (name, prompt, encoder.decode([ids[:limit] for ids, _ in pool]))
            for (name, prompt), pool in zip(rows, drawn, strict=True)
        )
        return scored(policy, pools, [reason for pool in drawn for _, reason in pool])

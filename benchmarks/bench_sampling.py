"""Sampling N responses with their log-likelihoods, and scoring them: ours against transformers.

    python -m benchmarks.bench_sampling --policy data/loop/k0/policy --rm data/loop/k1/rm

The peer samples with `generate(num_return_sequences=N)` and needs a second, teacher-forced pass for
log π(y|x), the one by `labels`; it scores by one forward pass a (prompt, response) row. Ours and
the peer's runs alternate; the figures are ratios of medians on the same machine and batch.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import torch
import typer

from westofn.artifacts.prompts import PROMPTS
from westofn.generation.hf import decode, sample
from westofn.models.policy import Policy, load_policy
from westofn.models.reward import Scorer
from westofn.models.saved_reward import load_reward_model
from westofn.models.scoring import score_pools, score_rows
from westofn.runtime import set_up_torch
from westofn.text.encoding import pad


def main(
    policy: Annotated[Path, typer.Option()] = Path("data/loop/k0/policy"),
    rm: Annotated[Path, typer.Option()] = Path("data/loop/k1/rm"),
    prompts: Annotated[Path, typer.Option()] = Path("data/prepared/prompts.parquet"),
    count: Annotated[int, typer.Option(help="prompts in a batch")] = 64,
    n: Annotated[int, typer.Option(help="responses a prompt")] = 64,
    rounds: Annotated[int, typer.Option()] = 5,
) -> None:
    """Measure, alternating ours and the peer's, and print ratios."""
    set_up_torch()
    model, scorer = load_policy(policy), load_reward_model(rm)
    rows = PROMPTS.read(prompts).filter(pl.col("split") == "unlabeled").head(count)
    texts, ids = rows["prompt"].to_list(), rows["prompt_id"].to_list()

    def ours() -> Any:
        return sample(model, texts, ids, indices=range(n), temperature=1.0, seed=0)

    samples = ours()
    pools = decode(model, samples)
    print(f"{count} prompts × {n} responses, {int(samples.n_tokens.sum())} tokens")
    _compare("sample with log π", ours, lambda: _generate(model, texts, n), rounds)
    _compare(
        "score",
        lambda: score_pools(scorer, texts, pools),
        lambda: _score_each(scorer, texts, pools),
        rounds,
    )


@torch.inference_mode()
def _generate(policy: Policy, texts: list[str], n: int) -> None:
    """What transformers' users do: sample, then a second pass for the log-likelihoods."""
    encoder = policy.encoder
    batch = pad(encoder.prompts(texts), encoder.pad_id)
    limit = encoder.template.max_response_tokens
    model: Any = policy.model  # transformers' types refuse generate of a T5
    generated = model.generate(
        input_ids=batch.ids,
        attention_mask=batch.mask.long(),
        do_sample=True,
        top_k=0,
        num_return_sequences=n,
        max_new_tokens=limit,
    )
    labels = generated[:, 1:].masked_fill(generated[:, 1:] == encoder.pad_id, -100)
    for start in range(0, len(labels), 256):
        rows = torch.arange(start, min(start + 256, len(labels))) // n
        logits = policy.model(
            input_ids=batch.ids[rows],
            attention_mask=batch.mask[rows].long(),
            labels=labels[start : start + 256],
        ).logits
        logits.log_softmax(-1).gather(-1, labels[start : start + 256].clamp_min(0).unsqueeze(-1))


def _score_each(scorer: Scorer, texts: list[str], pools: list[list[str]]) -> None:
    """One (prompt, response) row at a time in batches of 256: every prompt is encoded N times."""
    flat = [response for pool in pools for response in pool]
    score_rows(scorer, [text for text, pool in zip(texts, pools, strict=True) for _ in pool], flat)


def _compare(
    what: str, ours: Callable[[], object], peer: Callable[[], object], rounds: int
) -> None:
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(rounds):
        for name, call in (("ours", ours), ("peer", peer)):
            started = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - started)
    mine, other = (statistics.median(seconds[name]) for name in ("ours", "peer"))
    ratios = sorted(b / a for a, b in zip(seconds["ours"], seconds["peer"], strict=True))
    print(
        f"{what}: ours {mine:.2f} s, transformers {other:.2f} s, "
        f"ratio {other / mine:.1f} (rounds {ratios[0]:.1f} to {ratios[-1]:.1f})"
    )


if __name__ == "__main__":
    typer.run(main)

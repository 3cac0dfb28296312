"""Supervised fine-tuning of the policy on (prompt, response) examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from westofn.artifacts.curve import Point
from westofn.core.seeds import derive_seed
from westofn.errors import TrainingError
from westofn.execution.account import LIMIT, Limit
from westofn.execution.processes import shards
from westofn.models.policy import Policy, log_likelihood, token_logprobs
from westofn.networks.adapters import add_adapters, facts_of, frozen_names, merge_adapters
from westofn.networks.families import build_scratch
from westofn.networks.precision import rounded
from westofn.networks.pretrained import load_pretrained
from westofn.networks.recompute import recomputing
from westofn.networks.sharding import fill, hollow_copy, whole
from westofn.params.sft import SftParams
from westofn.runtime import Runtime
from westofn.text.encoding import Encoder, Padded, pad
from westofn.text.tokenizer import train_tokenizer
from westofn.training.batches import plan_batches, sample_rows
from westofn.training.loop import Job, run

IGNORED = -100  # label of padding; transformers counts the others over the whole batch


@dataclass(frozen=True)
class Examples:
    """Prompts and the responses to learn, row by row."""

    prompts: list[str]
    responses: list[str]

    def __len__(self) -> int:
        return len(self.prompts)

    def take(self, rows: Sequence[int]) -> Examples:
        """The rows with these indices."""
        return Examples([self.prompts[i] for i in rows], [self.responses[i] for i in rows])


@dataclass(frozen=True)
class SftResult:
    """The trained policy, facts for its card and metrics, and the curve of its training."""

    policy: Policy
    facts: dict[str, float | int | str]
    curve: list[Point] = field(default_factory=list)


def build_policy(params: SftParams, texts: Sequence[str], seed: int) -> Policy:
    """The model to start from: from scratch with its own tokenizer, or pretrained.

    Args:
        params: The section `sft`.
        texts: What a tokenizer from scratch learns from.
        seed: Seed of the random weights.
    """
    mixed = params.precision == "bf16"
    if params.model != "scratch":
        backbone, encoder = load_pretrained(
            params.model,
            "sft.model",
            max_prompt_tokens=params.max_prompt_tokens,
            max_response_tokens=params.max_response_tokens,
            must_write=True,
            chat=params.chat_template == "model",
            # Adapters are small enough for fp32; what is frozen needs no more digits than it keeps.
            precision=params.precision if params.lora.rank else "fp32",
        )
        if params.lora.rank:
            torch.manual_seed(derive_seed(seed, "sft", "adapters") % 2**32)
            add_adapters(backbone, params.lora, "sft: lora")
        return Policy(backbone, encoder, mixed)
    scratch = params.scratch
    tokenizer = train_tokenizer(texts, scratch.tokenizer, scratch.vocabulary)
    encoder = Encoder(
        tokenizer, params.max_prompt_tokens, params.max_response_tokens, scratch.family
    )
    torch.manual_seed(derive_seed(seed, "sft", "weights") % 2**32)
    return Policy(build_scratch(scratch.family, scratch, encoder), encoder, mixed)


def train_sft(
    train: Examples,
    validation: Examples,
    params: SftParams,
    *,
    seed: int,
    scratch: Path,
    runtime: Runtime,
    live: Path | None = None,
) -> SftResult:
    """Train a policy; the last weights are kept, the validation loss is reported.

    Losses are means over tokens, in nats. Of more than `validation_rows` validation examples a
    sample is read. `live` is where DVCLive's files go.

    Raises:
        TrainingError: No example fits `max_response_tokens`, or the loss is not finite.
    """
    policy = build_policy(params, [*train.prompts, *train.responses], seed)
    given = len(validation)
    validation = validation.take(sample_rows(given, params.validation_rows, seed, "sft validation"))
    fitting, held_out = (_fitting(policy.encoder, part) for part in (train, validation))
    limit = Limit.of(params.max_response_tokens, policy.encoder.response_lengths(train.responses))
    if not len(fitting):
        raise TrainingError(
            f"sft: none of {len(train)} responses fits max_response_tokens "
            f"{params.max_response_tokens}; raise {LIMIT}: {limit.for_most} keeps 95 % of them"
        )
    rows = _encode(policy.encoder, fitting)

    def evaluate() -> dict[str, float]:
        likelihood = log_likelihood(policy, held_out.prompts, held_out.responses)
        tokens = float(likelihood.n_tokens.sum())
        return {"loss": -float(likelihood.logprob.sum()) / max(tokens, 1.0)}

    module, adapted = _Likelihood(policy), bool(params.lora.rank)
    job = Job(
        name="sft",
        module=module,
        rows=rows,
        collate=lambda rows: _collate(rows, policy.encoder.pad_id),
        plan=plan_batches(
            (len(rows),), (params.batch_size,), params.steps, derive_seed(seed, "sft")
        ),
        optimiser=params,
        evaluate=evaluate,
        best_by=None,
        evaluations=params.evaluations,
        seed=derive_seed(seed, "sft", "dropout"),
        scratch=scratch,
        constant=frozen_names(module, policy.model) if adapted else frozenset(),
        live=live,
    )
    kept = hollow_copy(policy.model) if shards(runtime) else policy.model
    with recomputing(policy.model, runtime.gradient_checkpointing):
        history = run(job, runtime)
    if kept is not policy.model:
        fill(kept, whole(policy.model.state_dict()))
        nn.Module.to(kept, policy.device)
        policy = replace(policy, model=kept)
    last = history.evaluations[-1]
    adapters = facts_of(policy.model, params.lora)
    if adapted:
        merge_adapters(policy.model)
    policy = Policy(rounded(policy.model, params.precision).eval(), policy.encoder)
    if adapted or params.precision == "bf16":  # both round: measure what is kept
        last = evaluate()
    facts: dict[str, float | int | str] = {
        "train_examples": len(rows),
        "dropped_too_long": len(train) - len(fitting),
        "validation_pairs": len(held_out),
        "validation_dropped_too_long": len(validation) - len(held_out),
        "validation_not_read": given - len(validation),
        "prompts_trimmed": sum(policy.encoder.trims(fitting.prompts)),
        "max_response_tokens": limit.value,
        "response_tokens_for_95_percent": limit.for_most,
        "steps": params.steps,
        "validation_loss_per_token": round(last["loss"], 4),
        **adapters,
    }
    return SftResult(policy, facts, history.curve)


class _Likelihood(nn.Module):
    """Mean negative log-likelihood of a batch's response tokens."""

    # The trainer then gives the tokens of the whole batch, so micro-batches weigh by their tokens.
    accepts_loss_kwargs = True

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.model = policy.model
        self._policy = policy

    def forward(
        self,
        prompt_ids: Tensor,
        prompt_mask: Tensor,
        response_ids: Tensor,
        labels: Tensor,
        num_items_in_batch: Tensor | None = None,
    ) -> dict[str, Tensor]:
        mask = labels != IGNORED
        logprobs = token_logprobs(
            self._policy,
            Padded(prompt_ids, prompt_mask),
            Padded(response_ids.unsqueeze(1), mask.unsqueeze(1)),
        )
        tokens = mask.sum() if num_items_in_batch is None else num_items_in_batch
        return {"loss": -logprobs.sum() / tokens}


Row = tuple[list[int], list[int]]


def _fitting(encoder: Encoder, examples: Examples) -> Examples:
    """The examples whose responses fit."""
    fits = encoder.fits(examples.responses)
    pairs = zip(examples.prompts, examples.responses, strict=True)
    kept = [pair for pair, fit in zip(pairs, fits, strict=True) if fit]
    return Examples([x for x, _ in kept], [y for _, y in kept])


def _encode(encoder: Encoder, examples: Examples) -> list[Row]:
    prompts, responses = encoder.prompts(examples.prompts), encoder.responses(examples.responses)
    return list(zip(prompts, responses, strict=True))


def _collate(rows: list[Row], pad_id: int) -> dict[str, Tensor]:
    prompts = pad([prompt for prompt, _ in rows], pad_id)
    responses = pad([response for _, response in rows], pad_id)
    return {
        "prompt_ids": prompts.ids,
        "prompt_mask": prompts.mask,
        "response_ids": responses.ids,
        "labels": responses.ids.masked_fill(~responses.mask, IGNORED),
    }

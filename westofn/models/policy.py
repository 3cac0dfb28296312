"""Policies: a language model, its tokenizer, and log-likelihoods of responses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from westofn.core.logprobs import chosen_logprobs
from westofn.models.card import Card, TemplateFacts, check_canaries, check_family, read_card
from westofn.models.folder import load_encoder, write_model
from westofn.networks.families import generator_of, load_backbone
from westofn.networks.limits import prompt_beside, shared_positions
from westofn.networks.network import AnyGenerator
from westofn.networks.precision import DTYPES, computing, precision_of
from westofn.text.encoding import Encoder, Padded, pad

SCORING_BATCH = 256


@dataclass(frozen=True)
class Policy:
    """A policy π(y|x): model, encoder, and the network that shares prompts.

    Attributes:
        model: Weights of the language model.
        encoder: Converts texts to token ids.
        mixed: Whether to compute matrix products of fp32 weights in bf16 (mixed-precision
            training).
    """

    model: PreTrainedModel
    encoder: Encoder
    mixed: bool = False

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Tokenizer of the encoder."""
        return self.encoder.tokenizer

    @property
    def network(self) -> AnyGenerator:
        """Network that computes K responses per prompt."""
        return generator_of(self.model)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.model.device

    def computing(self) -> AbstractContextManager[object]:
        """Return a context for one forward pass of the network, see `precision.computing`."""
        return computing(self.device, self.mixed)


def token_logprobs(policy: Policy, prompts: Padded, responses: Padded) -> Tensor:
    """Compute log π(y_t | x, y_<t) at temperature 1, with gradient.

    Args:
        policy: Policy π.
        prompts: (P, S), token ids of prompts and their mask.
        responses: (P, K, T), token ids of responses with the end token, and their mask.

    Returns:
        (P, K, T) fp32, log-probabilities; 0 at padding.
    """
    network = policy.network
    with policy.computing():
        states = network.prompt_states(prompts.ids, prompts.mask)
        logits = network.logits(network.hidden(states, responses.ids[..., :-1]))
    chosen = chosen_logprobs(logits.float(), responses.ids)
    return chosen.masked_fill(~responses.mask, 0.0)


@dataclass(frozen=True)
class Likelihood:
    """log π(y|x) of responses, with their numbers of tokens.

    Attributes:
        logprob: (rows,), sum over tokens, nats.
        n_tokens: (rows,), number of tokens, including the end token.
    """

    logprob: Tensor
    n_tokens: Tensor


@torch.inference_mode()
def log_likelihood(
    policy: Policy, prompts: Sequence[str], responses: Sequence[str], batch: int = SCORING_BATCH
) -> Likelihood:
    """Compute log π(y|x) of each prompt and response; it does not depend on the batch size.

    If a row exceeds the model's positions, its prompt is trimmed further from the left.
    """
    policy.model.eval()
    prompt_ids = policy.encoder.prompts(prompts)
    response_ids = policy.encoder.responses(responses)
    if shared_positions(network := policy.network) is not None:
        texts = zip(prompts, prompt_ids, response_ids, strict=True)
        prompt_ids = [prompt_beside(network, policy.encoder, *row) for row in texts]
    sums = []
    for start in range(0, len(prompt_ids), batch):
        padded_prompts = pad(prompt_ids[start : start + batch], policy.encoder.pad_id)
        padded_responses = pad(response_ids[start : start + batch], policy.encoder.pad_id)
        device = policy.device
        logprobs = token_logprobs(
            policy,
            Padded(padded_prompts.ids.to(device), padded_prompts.mask.to(device)),
            Padded(
                padded_responses.ids[:, None].to(device), padded_responses.mask[:, None].to(device)
            ),
        )
        sums.append(logprobs.sum(-1).squeeze(1).float().cpu())
    counts = torch.tensor([len(row) for row in response_ids])
    return Likelihood(torch.cat(sums) if sums else torch.zeros(0), counts)


def save_policy(
    policy: Policy,
    folder: Path,
    canaries: Sequence[tuple[str, str]],
    training: dict[str, float | int | str],
    curve: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write model, tokenizer, card and curve atomically."""
    write_model(
        folder,
        Card(
            role="policy",
            family=policy.network.family,
            template=cast(TemplateFacts, policy.encoder.template.to_json()),
            precision=precision_of(policy.model),
            training=training,
        ),
        tokenizer=policy.tokenizer,
        canaries=canaries,
        answer=partial(_answer, policy),
        write_weights=policy.model.save_pretrained,
        curve=curve,
    )


def load_policy(folder: Path, device: torch.device | str = "cpu") -> Policy:
    """Load a policy that `save_policy` wrote, and check it against its card.

    Raises:
        ModelError: The folder is missing or incomplete, or its files do not belong together.
    """
    card = read_card(folder, "policy")
    encoder = load_encoder(folder, card)
    model = load_backbone(str(folder), dtype=DTYPES[card.precision])
    model.to(device)  # type: ignore[arg-type]  # transformers wraps it without types
    model.eval()
    policy = Policy(model, encoder)
    check_family(folder, card, policy.network.family)
    check_canaries(folder, card, partial(_answer, policy))
    return policy


def _answer(policy: Policy, prompts: list[str], responses: list[str]) -> list[list[float]]:
    """Compute log π(y|x) of rows, for canaries."""
    return [[value] for value in log_likelihood(policy, prompts, responses).logprob.tolist()]

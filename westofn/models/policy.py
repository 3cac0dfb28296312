"""A policy: a language model, its tokenizer, and the log-likelihood of responses under it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from westofn.core.logprobs import chosen_logprobs
from westofn.models.card import Card, check_canaries, check_family, read_card
from westofn.models.folder import load_encoder, write_model
from westofn.networks.families import generator_of, load_backbone
from westofn.networks.limits import prompt_beside, shared_positions
from westofn.networks.network import AnyGenerator
from westofn.networks.precision import DTYPES, computing, precision_of
from westofn.text.encoding import Encoder, Padded, pad

SCORING_BATCH = 256


@dataclass(frozen=True)
class Policy:
    """π(y|x): model, encoder, and the network that shares prompts.

    Attributes:
        model: The weights.
        encoder: How it reads text.
        mixed: In training, to be bf16: matrix products of fp32 weights are taken in bf16.
    """

    model: PreTrainedModel
    encoder: Encoder
    mixed: bool = False

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The tokenizer."""
        return self.encoder.tokenizer

    @property
    def network(self) -> AnyGenerator:
        """The network over K responses a prompt."""
        return generator_of(self.model)

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.model.device

    def computing(self) -> AbstractContextManager[object]:
        """Where its network is to be used; one forward pass, see `precision.computing`."""
        return computing(self.device, self.mixed)


def token_logprobs(policy: Policy, prompts: Padded, responses: Padded) -> Tensor:
    """Log π(y_t | x, y_<t) at temperature 1, with gradient.

    Args:
        policy: The policy.
        prompts: (P, S).
        responses: (P, K, T) ids that end with the end token, and their mask.

    Returns:
        (P, K, T) fp32, 0 at padding.
    """
    network = policy.network
    with policy.computing():
        states = network.prompt_states(prompts.ids, prompts.mask)
        logits = network.logits(network.hidden(states, responses.ids[..., :-1]))
    chosen = chosen_logprobs(logits.float(), responses.ids)
    return chosen.masked_fill(~responses.mask, 0.0)


@dataclass(frozen=True)
class Likelihood:
    """log π(y|x) of responses, each with its number of tokens (the end token counts).

    Attributes:
        logprob: (rows,) natural logarithm, sum over tokens.
        n_tokens: (rows,).
    """

    logprob: Tensor
    n_tokens: Tensor


@torch.inference_mode()
def log_likelihood(
    policy: Policy, prompts: Sequence[str], responses: Sequence[str], batch: int = SCORING_BATCH
) -> Likelihood:
    """Log π(y|x) of texts, row by row; the same number whatever the batch size.

    Where positions end before a row does, its prompt loses more of its beginning.
    """
    policy.model.eval()
    prompt_ids = policy.encoder.prompts(prompts)
    response_ids = policy.encoder.responses(responses)
    if shared_positions(network := policy.network) is not None:
        texts = zip(prompts, prompt_ids, response_ids, strict=True)
        prompt_ids = [prompt_beside(network, policy.encoder, *row) for row in texts]
    sums = []
    for start in range(0, len(prompt_ids), batch):
        some = pad(prompt_ids[start : start + batch], policy.encoder.pad_id)
        rows = pad(response_ids[start : start + batch], policy.encoder.pad_id)
        device = policy.device
        logprobs = token_logprobs(
            policy,
            Padded(some.ids.to(device), some.mask.to(device)),
            Padded(rows.ids[:, None].to(device), rows.mask[:, None].to(device)),
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
    """Write model, tokenizer, card and curve; the folder appears only when it is whole."""
    write_model(
        folder,
        Card(
            role="policy",
            family=policy.network.family,
            template=policy.encoder.template.to_json(),
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
    """A policy that `save_policy` wrote, checked against its card.

    Raises:
        ModelError: The folder is missing or incomplete, or its parts do not belong together.
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
    """Log π(y|x) of rows, for canaries."""
    return [[value] for value in log_likelihood(policy, prompts, responses).logprob.tolist()]

"""Policies: a language model, its tokenizer, and log-likelihoods of responses."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from westofn.core.halving import in_halves
from westofn.core.logprobs import target_logprobs
from westofn.models.card import Card, TemplateFacts, check_canaries, check_family, read_card
from westofn.models.folder import load_encoder, write_model
from westofn.networks.families import generator_of, load_backbone
from westofn.networks.limits import prompt_beside, shared_positions
from westofn.networks.network import AnyGenerator
from westofn.networks.precision import DTYPES, computing, precision_of
from westofn.progress import working
from westofn.text.encoding import Encoder, Padded, in_blocks, pad

TOKENS_A_BATCH = 2**14


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
        return computing(self.model, self.mixed)


@dataclass(frozen=True)
class SavedPolicy:
    """A policy in its folder; a process that needs no weights reads its encoder alone.

    Attributes:
        folder: Where `save_policy` wrote it.
        encoder: Converts texts to token ids, as that of the policy.
    """

    folder: Path
    encoder: Encoder

    @classmethod
    def of(cls, folder: Path) -> SavedPolicy:
        """The policy of a folder.

        Raises:
            ModelError: The folder is missing or incomplete, or differs from its card.
        """
        return cls(folder, load_encoder(folder, read_card(folder, "policy")))


def token_logprobs(policy: Policy, prompts: Padded, responses: Padded) -> Tensor:
    """Compute log π(y_t | x, y_<t) at temperature 1, with gradient.

    Logits exist for a part of the tokens at a time, so that a vocabulary of 150,000 needs no more
    memory than one of 1,000; see `target_logprobs`.

    Args:
        policy: Policy π.
        prompts: (P, S), token ids of prompts and their mask.
        responses: (P, K, T), token ids of responses with the end token, and their mask.

    Returns:
        (P, K, T) fp32, log-probabilities; 0 at padding.
    """
    with policy.computing():
        states = policy.network.prompt_states(prompts.ids, prompts.mask)
        return _logprobs(policy, states, responses)


def _logprobs(policy: Policy, states: Any, responses: Padded) -> Tensor:
    """Compute what `token_logprobs` returns, from the states of the prompts."""
    network = policy.network
    hidden = network.hidden(states, responses.ids[..., :-1])
    return target_logprobs(
        network.logits, network.vocabulary, hidden, responses.ids, responses.mask
    )


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
    policy: Policy,
    prompts: Sequence[str],
    responses: Sequence[str],
    tokens_a_batch: int = TOKENS_A_BATCH,
    cut: Collection[int] = (),
) -> Likelihood:
    """Compute log π(y|x) of each prompt and response; it does not depend on the batches.

    Rows with the same prompt share its states, and rows of similar length share a batch. If memory
    runs out, a batch is halved. If a row exceeds the model's positions, its prompt is trimmed
    further from the left.

    Args:
        policy: Policy π.
        prompts: Prompts, one per row.
        responses: Responses, one per row.
        tokens_a_batch: Largest number of tokens in one forward pass, padding included; a single
            row may have more.
        cut: Indices of responses that the limit of tokens cut: they have no end token.
    """
    policy.model.eval()
    rows = _encoded(policy, prompts, responses)
    for row in cut:
        prompt, response = rows[row]
        rows[row] = prompt, response[:-1] or response
    sums = torch.zeros(len(rows))
    with working("log-likelihoods", len(rows), "rows") as task:
        for batch in _batches(policy, rows, tokens_a_batch):
            places = [place for group in batch for place in group.rows]
            sums[places] = torch.tensor(in_halves(batch, partial(_group_sums, policy, rows)))
            task.advance(len(places))
    return Likelihood(sums, torch.tensor([len(response) for _, response in rows]))


Row = tuple[list[int], list[int]]
"""Token ids of a prompt and of a response."""


@dataclass(frozen=True)
class _Group:
    """Rows with the same prompt that are in one batch.

    Attributes:
        prompt: Token ids of the prompt.
        rows: Indices of the rows, from short responses to long ones.
    """

    prompt: list[int]
    rows: list[int]


def _encoded(policy: Policy, prompts: Sequence[str], responses: Sequence[str]) -> list[Row]:
    encoder, network = policy.encoder, policy.network
    different = list(dict.fromkeys(prompts))
    ids_of = dict(zip(different, encoder.prompts(different), strict=True))
    response_ids = encoder.responses(responses)
    if shared_positions(network) is None:
        return [(ids_of[x], ids) for x, ids in zip(prompts, response_ids, strict=True)]
    return [
        (prompt_beside(network, encoder, prompt, ids_of[prompt], ids), ids)
        for prompt, ids in zip(prompts, response_ids, strict=True)
    ]


def _batches(policy: Policy, rows: Sequence[Row], limit: int) -> Iterator[list[_Group]]:
    """Yield groups whose padded forward pass has at most `limit` tokens, or that are one row."""
    by_prompt: dict[tuple[int, ...], list[int]] = {}
    for place in sorted(range(len(rows)), key=lambda place: len(rows[place][1])):
        by_prompt.setdefault(tuple(rows[place][0]), []).append(place)
    tokens = policy.network.tokens_read
    groups = []
    for prompt, places in by_prompt.items():
        longest = len(rows[places[-1]][1])
        size = len(places)
        while size > 1 and tokens(1, len(prompt), size, longest) > limit:
            size = (size + 1) // 2
        parts = (places[start : start + size] for start in range(0, len(places), size))
        groups += [_Group(list(prompt), part) for part in parts]
    groups.sort(
        key=lambda group: (len(group.rows), len(rows[group.rows[-1]][1]), len(group.prompt))
    )
    batch: list[_Group] = []
    for group in groups:
        longer = [*batch, group]
        longest_prompt = max(len(member.prompt) for member in longer)
        longest = max(len(rows[member.rows[-1]][1]) for member in longer)
        if batch and tokens(len(longer), longest_prompt, len(group.rows), longest) > limit:
            yield batch
            longer = [group]
        batch = longer
    if batch:
        yield batch


def _group_sums(policy: Policy, rows: Sequence[Row], groups: Sequence[_Group]) -> list[float]:
    """Compute log π(y|x) of the rows of some groups, in their order, in one forward pass."""
    pad_id = policy.encoder.pad_id
    prompts = pad([group.prompt for group in groups], pad_id).to(policy.device)
    pools = [[rows[place][1] for place in group.rows] for group in groups]
    with policy.computing():
        states = policy.network.prompt_states(prompts.ids, prompts.mask)
        blocks = [
            _logprobs(policy, states, block.to(policy.device)).sum(-1)
            for block in in_blocks(pools, pad_id)
        ]
    sums = torch.cat(blocks, dim=1).cpu().tolist()
    return [
        total for group, row in zip(groups, sums, strict=True) for total in row[: len(group.rows)]
    ]


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

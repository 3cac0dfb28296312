"""Sampling with log π(y|x), log π of given responses, and scoring, beside transformers.

The peer samples with `generate(num_return_sequences=N)` and needs a second pass for log π. It reads
a row of prompt and response for every response, sorted by length so that batches have little
padding; a reward model is read at the response's last token. Batches have 64 rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from benchmarks.speed.models import Case, cases
from benchmarks.speed.rounds import Timed, compare
from westofn.generation.hf import Samples, sample
from westofn.models.policy import log_likelihood
from westofn.models.scoring import score_pools
from westofn.text.encoding import pad

ROWS = 64
IGNORED = -100


def measure(rounds: int) -> list[Timed]:
    """Time the three loops with every model.

    Args:
        rounds: Number of rounds.
    """
    return [timed for case in cases() for timed in measure_case(case, rounds)]


def measure_case(case: Case, rounds: int) -> list[Timed]:
    """Time the three loops with one model.

    Args:
        case: The model and its texts.
        rounds: Number of rounds.
    """
    flat = [response for pool in case.pools for response in pool]
    prompts = [x for x, pool in zip(case.prompts, case.pools, strict=True) for _ in pool]
    scorer = case.scorer()
    weight = scorer.model.head.weight[0]
    return [
        *compare(
            f"{case.name}: sample and log π",
            lambda: drawn(case),
            {"`generate`, a forward pass": lambda: _generate(case)},
            rounds,
            lambda ours, theirs: _has_tokens(case, ours) and _has_tokens(case, theirs),
        ),
        *compare(
            f"{case.name}: log π of pools",
            lambda: log_likelihood(case.policy, prompts, flat).logprob,
            {"a forward pass a row, sorted": partial(_row_by_row, case, _logprobs)},
            rounds,
            _are_close,
        ),
        *compare(
            f"{case.name}: score pools",
            lambda: torch.cat(score_pools(scorer, case.prompts, case.pools))[:, 0],
            {"a forward pass a row, sorted": partial(_row_by_row, case, partial(_rewards, weight))},
            rounds,
            _are_close,
        ),
    ]


def drawn(case: Case) -> Samples:
    """N samples of every prompt, with log π."""
    indices = range(case.size.candidates)
    return sample(case.policy, case.prompts, case.ids, indices=indices, temperature=1.0, seed=0)


@torch.inference_mode()
def _generate(case: Case) -> Tensor:
    """Ids of samples (P·N, T); their log π is computed as well."""
    encoder = case.policy.encoder
    ids = encoder.prompts(case.prompts)
    rows = _padded(ids, encoder.pad_id, left=encoder.template.family == "causal")
    generated: Tensor = case.model.generate(
        input_ids=rows,
        attention_mask=_mask(ids, left=encoder.template.family == "causal"),
        do_sample=True,
        top_k=0,
        num_return_sequences=case.size.candidates,
        max_new_tokens=case.size.response,
        pad_token_id=encoder.pad_id,
        eos_token_id=encoder.eos_id,
    )
    start = rows.shape[1] if encoder.template.family == "causal" else 1
    responses = [_up_to_end(row, encoder.eos_id) for row in generated[:, start:].tolist()]
    prompts = [prompt for prompt in ids for _ in range(case.size.candidates)]
    _sorted_batches(case, _logprobs, prompts, responses)
    return generated[:, start:]


def _row_by_row(
    case: Case, read: Callable[[Case, list[list[int]], list[list[int]]], Tensor]
) -> Tensor:
    encoder = case.policy.encoder
    ids = encoder.prompts(case.prompts)
    prompts = [prompt for prompt, pool in zip(ids, case.pools, strict=True) for _ in pool]
    return _sorted_batches(
        case, read, prompts, encoder.responses([text for pool in case.pools for text in pool])
    )


@torch.inference_mode()
def _sorted_batches(
    case: Case,
    read: Callable[[Case, list[list[int]], list[list[int]]], Tensor],
    prompts: Sequence[list[int]],
    responses: Sequence[list[int]],
) -> Tensor:
    order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]) + len(responses[row]))
    result = torch.empty(len(order))
    for start in range(0, len(order), ROWS):
        rows = order[start : start + ROWS]
        result[rows] = read(case, [prompts[i] for i in rows], [responses[i] for i in rows])
    return result


def _logprobs(case: Case, prompts: list[list[int]], responses: list[list[int]]) -> Tensor:
    """Nats of every response, from the logits of transformers' forward pass."""
    pad_id = case.policy.encoder.pad_id
    if case.policy.encoder.template.family == "encoder_decoder":
        labels = _padded(responses, IGNORED)
        logits = case.model(
            input_ids=_padded(prompts, pad_id), attention_mask=_mask(prompts), labels=labels
        ).logits
    else:
        rows = [prompt + response for prompt, response in zip(prompts, responses, strict=True)]
        logits = case.model(input_ids=_padded(rows, pad_id), attention_mask=_mask(rows)).logits
        logits = logits[:, :-1]
        labels = _padded(
            [[IGNORED] * (len(x) - 1) + y for x, y in zip(prompts, responses, strict=True)],
            IGNORED,
        )
    chosen: Tensor = logits.float().log_softmax(-1).gather(-1, labels.clamp_min(0).unsqueeze(-1))
    return chosen.squeeze(-1).masked_fill(labels == IGNORED, 0.0).sum(-1)


def _rewards(
    weight: Tensor, case: Case, prompts: list[list[int]], responses: list[list[int]]
) -> Tensor:
    """The head's output at the response's last token, as a sequence classifier computes it."""
    pad_id = case.policy.encoder.pad_id
    if case.policy.encoder.template.family == "encoder_decoder":
        start = case.model.config.decoder_start_token_id
        rows = [[start, *response] for response in responses]
        mask = _mask(prompts)
        encoded = case.model.encoder(input_ids=_padded(prompts, pad_id), attention_mask=mask)
        states = case.model.decoder(
            input_ids=_padded(rows, pad_id),
            encoder_hidden_states=encoded.last_hidden_state,
            encoder_attention_mask=mask,
            use_cache=False,
        ).last_hidden_state
    else:
        rows = [prompt + response for prompt, response in zip(prompts, responses, strict=True)]
        states = case.model.base_model(
            input_ids=_padded(rows, pad_id), attention_mask=_mask(rows), use_cache=False
        ).last_hidden_state
    last = torch.tensor([len(row) - 1 for row in rows])
    rewards: Tensor = states[torch.arange(len(rows)), last] @ weight
    return rewards


def _padded(rows: Sequence[list[int]], value: int, *, left: bool = False) -> Tensor:
    if left:
        return _padded([row[::-1] for row in rows], value).flip(-1)
    return pad(rows, value).ids


def _mask(rows: Sequence[list[int]], *, left: bool = False) -> Tensor:
    return _padded([[1] * len(row) for row in rows], 0, left=left)


def _up_to_end(row: list[int], end: int) -> list[int]:
    return row[: row.index(end) + 1] if end in row else row


def _has_tokens(case: Case, result: object) -> bool:
    """Random numbers differ, so only the amount is compared: nine tenths of the limit or more."""
    ids = result.ids.flatten(0, 1) if isinstance(result, Samples) else result
    assert isinstance(ids, Tensor)
    tokens = (ids[:, : case.size.response] != case.policy.encoder.pad_id).sum(-1)
    return len(ids) == len(case.prompts) * case.size.candidates and bool(
        tokens.float().mean() > 0.9 * case.size.response
    )


def _are_close(ours: object, theirs: object) -> bool:
    assert isinstance(ours, Tensor)
    assert isinstance(theirs, Tensor)
    return torch.allclose(ours, theirs, rtol=1e-4, atol=1e-3)
